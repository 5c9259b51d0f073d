"""One small app for each stack, called without a server, for what one request costs.

Each has one protected route, whose view reads the user and the session, and one open route. The view calls what
it is given as ``at_view``: the moment at which everything has been made that the request needs. Without options,
this project has no part in the app; then the open route is what to compare with. Without options, this
project has no part in the app, and its open route is what to compare with.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Options = dict[str, Any]
AtView = Callable[[], None]
Visit = Callable[[str, str], int]
"""Sends one request with a path and a JWT in a header, and returns its status."""


class _View:
    """What the views of one app do."""

    def __init__(self) -> None:
        self.at_view: AtView = _nothing
        self.look: Callable[[Any, Any], object] = _no_look

    def answer(self, user: Any, session: Any) -> dict[str, str]:
        """Read both, and tell that the view runs."""
        found = {"user": user.id, "session": session.id}
        self.at_view()
        self.look(user, session)
        return found


def _nothing() -> None:
    """Observe nothing."""


def _no_look(user: Any, session: Any) -> None:
    """Do no more with them."""


view = _View()  # one for all: the views of a Django project are module-level


def environ(path: str, jwt: str) -> dict[str, Any]:
    """Return the WSGI environ of a request."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_HOST": "app.example",
        "HTTP_AUTHORIZATION": f"Bearer {jwt}",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def scope(path: str, jwt: str) -> dict[str, Any]:
    """Return the ASGI scope of the same request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"app.example"), (b"authorization", f"Bearer {jwt}".encode())],
        "client": ("192.0.2.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def wsgi_visit(app: Any) -> Visit:
    """Call a WSGI app as a server does."""

    def visit(path: str, jwt: str) -> int:
        found: list[str] = []
        body = app(environ(path, jwt), lambda status, *_: found.append(status))
        list(body)
        if hasattr(body, "close"):
            body.close()
        return int(found[0].split()[0])

    return visit


@contextmanager
def asgi_visit(app: Any) -> Iterator[Visit]:
    """Call an ASGI app as a server does, on an event loop in this thread."""

    async def call(path: str, jwt: str) -> int:
        found: list[int] = []
        body = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not body:
                await asyncio.Event().wait()  # the client stays connected; the app gives this up at its end
            return body.pop()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        await app(scope(path, jwt), receive, send)
        return found[0]

    with asyncio.Runner() as runner:
        yield lambda path, jwt: runner.run(call(path, jwt))


def _own(request_class: type[Any]) -> type[Any]:
    """Return a class like this one, of which there is no object yet."""
    return type(request_class.__name__, (request_class,), {})


@contextmanager
def flask(options: Options | None) -> Iterator[Visit]:
    from flask import Flask

    from moonkey_flask import FlaskMoonKey, current_session, current_user, require_auth

    app = Flask("warm")
    app.request_class = _own(app.request_class)
    if options is not None:
        FlaskMoonKey(app, **options)

    @app.get("/protected")
    @require_auth
    def protected() -> Any:
        return view.answer(current_user, current_session)

    @app.get("/open")
    def anyone() -> Any:
        return {}

    yield wsgi_visit(app)


@contextmanager
def _django(options: Options | None, urls: str) -> Iterator[None]:
    from django.core.signals import request_finished, request_started
    from django.db import close_old_connections
    from django.test import override_settings

    # As Django's own test client does: a test before may have left a connection, which no other one may use.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    with override_settings(
        ROOT_URLCONF=urls,
        MIDDLEWARE=[] if options is None else ["moonkey_django.MoonKeyMiddleware"],
        ALLOWED_HOSTS=["*"],
        DEBUG=False,
        MOONKEY={name.upper(): value for name, value in (options or {}).items()},
    ):
        try:
            yield
        finally:
            for signal in signals:
                signal.connect(close_old_connections)


@contextmanager
def django_wsgi(options: Options | None) -> Iterator[Visit]:
    from django.core.handlers.wsgi import WSGIHandler

    with _django(options, "contract.warm_django_urls"):
        handler = WSGIHandler()
        handler.request_class = _own(handler.request_class)
        yield wsgi_visit(handler)


@contextmanager
def django_asgi(options: Options | None) -> Iterator[Visit]:
    from django.core.handlers.asgi import ASGIHandler

    with _django(options, "contract.warm_django_async_urls"):
        handler = ASGIHandler()
        handler.request_class = _own(handler.request_class)
        with asgi_visit(handler) as visit:
            yield visit


@contextmanager
def starlette(options: Options | None) -> Iterator[Visit]:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from moonkey_starlette import MoonKeyMiddleware, require_auth

    @require_auth
    async def protected(request: Request) -> JSONResponse:
        auth = request.state.moonkey
        return JSONResponse(view.answer(auth.user, auth.session))

    async def anyone(request: Request) -> JSONResponse:
        return JSONResponse({})

    routes = [Route("/protected", protected), Route("/open", anyone)]
    ours = [] if options is None else [Middleware(MoonKeyMiddleware, **options)]
    app = Starlette(routes=routes, middleware=ours)
    with asgi_visit(app) as visit:
        yield visit


@contextmanager
def fastapi(options: Options | None) -> Iterator[Visit]:
    from fastapi import FastAPI

    from moonkey_starlette import MoonKeyMiddleware
    from moonkey_starlette.fastapi import CurrentSession, CurrentUser

    app = FastAPI()
    if options is not None:
        app.add_middleware(MoonKeyMiddleware, **options)

    async def protected(user: Any, session: Any) -> Any:
        return view.answer(user, session)

    protected.__annotations__.update(user=CurrentUser, session=CurrentSession)
    app.get("/protected")(protected)

    async def anyone() -> Any:
        return {}

    app.get("/open")(anyone)
    with asgi_visit(app) as visit:
        yield visit
