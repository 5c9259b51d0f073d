"""Where a mistake is provoked: what is said, in an exception or in the log, and at which moment."""

from __future__ import annotations

import logging
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_starlette.fastapi import RequireAuth

FRAMEWORKS = ("flask", "django", "starlette", "fastapi")
EVERYWHERE = ("sync", "async", *FRAMEWORKS)
MADE: Mapping[str, str] = {
    **dict.fromkeys(("sync", "async", "flask"), "construction"),
    **dict.fromkeys(("django", "starlette", "fastapi"), "start"),
}
"""When each framework makes its client: Django with its handler, Starlette with its middleware."""


@dataclass(frozen=True)
class Row:
    """One mistake.

    Attributes:
        mistake: What was done: the cause.
        frameworks: Where it is provoked; ``sync`` and ``async`` are the clients by themselves.
        moment: When it is answered, of each framework or of all.
        sentence: The answer of each framework or of all, or its fixed part; ``{}`` stands for what varies.
        mend: What to do, for the document.
        provoke: Makes the mistake.
    """

    mistake: str
    frameworks: tuple[str, ...]
    moment: str | Mapping[str, str]
    sentence: str | Mapping[str, str]
    mend: str
    provoke: Callable[[Lab, str], object]

    def moment_in(self, framework: str) -> str:
        return self.moment if isinstance(self.moment, str) else self.moment[framework]

    def sentence_in(self, framework: str) -> str:
        return self.sentence if isinstance(self.sentence, str) else self.sentence[framework]


class Heard(Exception):
    """Something was said."""

    def __init__(self, moment: str, text: str) -> None:
        super().__init__(moment, text)
        self.moment, self.text = moment, text


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@dataclass
class Lab:
    """What the rows provoke their mistakes with."""

    emulator: Emulator
    monkeypatch: Any
    over_asgi: bool = False  # how Django is visited
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> dict[str, Any]:
        """The settings of an app without mistakes."""
        return {"secret_key": self.emulator.secret_key, "base_url": self.emulator.base_url}

    @contextmanager
    def at(self, moment: str) -> Iterator[None]:
        """Note what is said meanwhile, by an exception or else in the log.

        Raises:
            Heard: It was something.
        """
        logger, lines = logging.getLogger("moonkey"), _Lines()
        level = logger.level
        logger.addHandler(lines)
        logger.setLevel(logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                yield
        except Exception as error:
            raise Heard(moment, "\n".join([*lines.texts, said_by(error)])) from error
        finally:
            logger.removeHandler(lines)
            logger.setLevel(level)
        if lines.texts:
            raise Heard(moment, "\n".join(lines.texts))

    def settings(self, framework: str, **options: Any) -> None:
        """Make a client, or an app with one, of these settings beside the usual ones."""
        options = {**self.base, **options}
        if framework == "sync":
            with self.at("construction"), MoonKey(**options):
                pass
        elif framework == "async":
            with self.at("construction"):
                AsyncMoonKey(**options)
        elif framework == "flask":
            with self.at("construction"):
                moonkey_flask.FlaskMoonKey(Flask("shop"), **options)
        elif framework == "django":
            with override_settings(MOONKEY=_upper(options)), self.at("start"):
                self.django_handler()
        else:
            app = FastAPI() if framework == "fastapi" else Starlette()
            app.add_middleware(moonkey_starlette.MoonKeyMiddleware, **options)
            with self.at("start"), TestClient(app):
                pass

    def visit(
        self,
        framework: str,
        body: Callable[[Any], Any],
        *,
        gate: bool = True,
        signed_in: bool = True,
        **options: Any,
    ) -> None:
        """Serve a view that calls ``body(auth)``, and visit it."""
        headers = dict(self.headers)
        if signed_in:
            headers["session-token"] = self.emulator.sign_in().session_token
        serve = {"flask": _flask, "django": _django, "starlette": _starlette, "fastapi": _fastapi}[framework]
        serve(self, body, gate, headers, options)

    def visit_django(self, headers: Mapping[str, str] | None = None) -> None:
        """Visit the project of the current settings, over WSGI or over ASGI."""
        if not self.over_asgi:
            Client(headers=dict(headers or {})).get("/")
            return

        async def visit() -> None:
            await AsyncClient().get("/", headers=dict(headers or {}))

        async_to_sync(visit)()

    def django_handler(self) -> None:
        """Start the project of the current settings."""
        if self.over_asgi:
            ASGIHandler()
        else:
            WSGIHandler()

    def urls(self, *patterns: Any, **more: Any) -> Any:
        """Django's settings with these URL patterns."""
        urls: Any = types.ModuleType("urls_of_a_mistake")
        urls.urlpatterns = list(patterns)
        return override_settings(**{"ROOT_URLCONF": urls, "MOONKEY": _upper(self.base), **more})


def said_by(error: BaseException) -> str:
    """The text of an exception with its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _upper(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name.upper(): value for name, value in options.items()}


def _flask(lab: Lab, body: Any, gate: bool, headers: dict[str, str], options: dict[str, Any]) -> None:
    app = Flask("shop")
    app.testing = True
    moonkey_flask.FlaskMoonKey(app, **{**lab.base, **options})

    def view() -> Any:
        return body(moonkey_flask.current_auth)

    app.add_url_rule("/", "view", moonkey_flask.require_auth(view) if gate else view)
    with lab.at("first request"):
        app.test_client().get("/", headers=headers)


def _django(lab: Lab, body: Any, gate: bool, headers: dict[str, str], options: dict[str, Any]) -> None:
    def view(request: HttpRequest) -> Any:
        found = body(request.moonkey)  # type: ignore[attr-defined]
        return found if isinstance(found, HttpResponse) else HttpResponse(str(found))

    views = moonkey_django.require_auth(view) if gate else view
    with lab.urls(path("", views), MOONKEY=_upper({**lab.base, **options})), lab.at("first request"):
        lab.visit_django(headers)


def _starlette(lab: Lab, body: Any, gate: bool, headers: dict[str, str], options: dict[str, Any]) -> None:
    async def endpoint(request: Request) -> Response:
        found = body(request.state.moonkey)
        return found if isinstance(found, Response) else PlainTextResponse(str(found))

    app = Starlette(routes=[Route("/", moonkey_starlette.require_auth(endpoint) if gate else endpoint)])
    _asgi(lab, app, headers, options)


def _fastapi(lab: Lab, body: Any, gate: bool, headers: dict[str, str], options: dict[str, Any]) -> None:
    app = FastAPI()

    async def endpoint(request: Request) -> Response:
        found = body(request.state.moonkey)
        return found if isinstance(found, Response) else PlainTextResponse(str(found))

    app.add_api_route("/", endpoint, dependencies=[Depends(RequireAuth())] if gate else [], response_model=None)
    _asgi(lab, app, headers, options)


def _asgi(lab: Lab, app: Any, headers: dict[str, str], options: dict[str, Any]) -> None:
    app.add_middleware(moonkey_starlette.MoonKeyMiddleware, **{**lab.base, **options})
    visit_asgi(lab, app, headers=headers)


def visit_asgi(lab: Lab, app: Any, url: str = "/", headers: Mapping[str, str] | None = None) -> None:
    """Start an app and visit it; both moments are noted."""
    client = TestClient(app)
    with lab.at("start"):
        client.__enter__()
    try:
        with lab.at("first request"):
            client.get(url, headers=dict(headers or {}))
    finally:
        client.__exit__(None, None, None)
