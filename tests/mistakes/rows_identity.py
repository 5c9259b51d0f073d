"""Mistakes of code that reads who has sent the request."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path
from fastapi import FastAPI
from flask import Flask, request
from mistakes.lab import FRAMEWORKS, Lab, Row, visit_asgi
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_starlette.fastapi import CurrentUser


def gate_without_setup(lab: Lab, framework: str) -> None:
    if framework == "flask":
        app = Flask("shop")
        app.testing = True
        app.add_url_rule("/", "view", moonkey_flask.require_auth(lambda: "open"))
        with lab.at("first request"):
            app.test_client().get("/")
    elif framework == "django":
        view = moonkey_django.require_auth(lambda request: HttpResponse("open"))
        with lab.urls(path("", view), MIDDLEWARE=[]), lab.at("first request"):
            lab.visit_django()
    elif framework == "starlette":

        async def endpoint(request: Request) -> Response:
            return PlainTextResponse("open")

        visit_asgi(lab, Starlette(routes=[Route("/", moonkey_starlette.require_auth(endpoint))]))
    else:
        api = FastAPI()

        def account(user: CurrentUser) -> str:
            return "open"

        api.get("/")(account)
        visit_asgi(lab, api)


def read_without_setup(lab: Lab, framework: str) -> None:
    if framework == "flask":
        app = Flask("shop")
        app.testing = True
        app.add_url_rule("/", "view", lambda: request.user.id)  # type: ignore[attr-defined]
        with lab.at("first request"):
            app.test_client().get("/")
    elif framework == "django":
        with lab.urls(path("", lambda request: request.moonkey.user), MIDDLEWARE=[]), lab.at("first request"):
            lab.visit_django()
    else:

        async def endpoint(request: Request) -> Response:
            await moonkey_starlette.get_auth(request)
            return PlainTextResponse("open")

        kind: Any = Starlette if framework == "starlette" else FastAPI
        visit_asgi(lab, kind(routes=[Route("/", endpoint)]))


def outside_of_a_request(lab: Lab, _: str) -> None:
    with lab.at("construction"):
        str(moonkey_flask.current_user.id)


def client_outside_of_an_app(lab: Lab, _: str) -> None:
    with lab.at("construction"):
        moonkey_flask.get_client()


def before_it_is_known(lab: Lab, framework: str) -> None:
    lab.visit(framework, lambda auth: auth.user, gate=False, lazy=True)


def user_of_starlette(read: Any) -> Any:
    def provoke(lab: Lab, framework: str) -> None:
        async def endpoint(request: Request) -> Response:
            return PlainTextResponse(str(read(request.user)))

        app: Any = Starlette if framework == "starlette" else FastAPI
        made = app(routes=[Route("/", endpoint)])
        made.add_middleware(moonkey_starlette.MoonKeyMiddleware, **lab.base)
        visit_asgi(lab, made)

    return provoke


def anonymous(lab: Lab, framework: str) -> None:
    lab.visit(framework, lambda auth: auth.user.id, gate=False, signed_in=False)


def request_of_a_factory(lab: Lab, _: str) -> None:
    with lab.at("first request"):
        moonkey_django.require_auth(lambda request: HttpResponse("open"))(RequestFactory().get("/"))


def login_without_session(lab: Lab, framework: str) -> None:
    lab.visit(framework, lambda auth: _login(lab).session.id)


def _login(lab: Lab) -> Any:
    with MoonKey(**lab.base) as client:
        sent = client.otps.login_or_create(email="new@example.com")
        return client.otps.verify(lab.emulator.outbox()[0].code, method_id=sent.method_id)


def cookies_of_a_login_without_session(lab: Lab, framework: str) -> None:
    kind: Any = MoonKey if framework == "sync" else AsyncMoonKey
    client = kind(**lab.base, cookies=True, trusted_proxies="none")
    with lab.at("construction"):
        client.sign_in_cookies(_login(lab))


_NO_MIDDLEWARE = (
    "This request has not passed MoonKey. Add the line app.add_middleware(MoonKeyMiddleware), with MoonKeyMiddleware "
    "from moonkey_starlette."
)
_NOT_IN_MIDDLEWARE = 'This request has not passed MoonKey. Add "moonkey_django.MoonKeyMiddleware" to MIDDLEWARE.'
_OF_STARLETTE = (
    "It is Starlette's user, with is_authenticated, identity (the id) and display_name. MoonKey's is "
    "request.state.moonkey.user: write request.state.moonkey.user.id."
)

ROWS = (
    Row(
        "a gate in an app without MoonKey",
        FRAMEWORKS,
        "first request",
        {
            "flask": "MoonKey is not set up for this app. Add: FlaskMoonKey(app)",
            "django": _NOT_IN_MIDDLEWARE,
            "starlette": _NO_MIDDLEWARE,
            "fastapi": _NO_MIDDLEWARE,
        },
        "Add the extension or the middleware.",
        gate_without_setup,
    ),
    Row(
        "the identity is read in an app without MoonKey",
        FRAMEWORKS,
        "first request",
        {
            "flask": "MoonKey is not set up for this app, so its requests have no user and session. Add: FlaskMoonKey(app)",
            "django": _NOT_IN_MIDDLEWARE,
            "starlette": _NO_MIDDLEWARE,
            "fastapi": _NO_MIDDLEWARE,
        },
        "Add the extension or the middleware.",
        read_without_setup,
    ),
    Row(
        "a test calls a view with a request of `RequestFactory`",
        ("django",),
        "first request",
        "A request of RequestFactory passes no middleware: in a test, take django.test.Client, or call "
        "MoonKeyMiddleware(view)(request).",
        "Use `django.test.Client`.",
        request_of_a_factory,
    ),
    Row(
        "`current_user` is read outside of a request",
        ("flask",),
        "construction",
        "current_user, current_session and current_auth belong to a request. In a job or thread, pass on what it needs, "
        "such as user.id; in a test, read them inside of `with app.test_request_context(headers=…):`.",
        "Pass the id on.",
        outside_of_a_request,
    ),
    Row(
        "`get_client()` is called outside of an app",
        ("flask",),
        "construction",
        "get_client() needs an app: call it inside of `with app.app_context():`, as in a job or a shell.",
        "`with app.app_context():`.",
        client_outside_of_an_app,
    ),
    Row(
        "with `lazy=True`, the identity is read before it is known",
        ("starlette", "fastapi"),
        "first request",
        "The identity of this request was read before it was known. Write `auth = await get_auth(request)` first, or "
        "remove lazy=True from MoonKeyMiddleware.",
        "`await get_auth(request)`.",
        before_it_is_known,
    ),
    Row(
        "`request.user.id` in Starlette",
        ("starlette", "fastapi"),
        "first request",
        f"request.user has no attribute 'id'. {_OF_STARLETTE}",
        "`request.state.moonkey.user.id`.",
        user_of_starlette(lambda user: user.id),
    ),
    Row(
        '`request.user["id"]` in Starlette',
        ("starlette", "fastapi"),
        "first request",
        f"request.user is an object and no dict. {_OF_STARLETTE}",
        "`request.state.moonkey.user.id`.",
        user_of_starlette(lambda user: user["id"]),
    ),
    Row(
        "the user of an anonymous request is read without a gate",
        FRAMEWORKS,
        "first request",
        "The request has no verified user, so its user and session are None. Put @require_auth (in FastAPI: the parameter "
        "`user: CurrentUser`) in front of this code, or ask `if auth.user is not None` first.",
        "Put a gate in front.",
        anonymous,
    ),
    Row(
        "`login.session` is `None`: `verify()` was not asked for a session",
        FRAMEWORKS,
        "first request",
        "If this is the session of a login: a session comes only where one is asked for. Pass session_expires_in=… to "
        "verify().",
        "`verify(…, session_expires_in=timedelta(days=7))`.",
        login_without_session,
    ),
    Row(
        "cookies are made of a login without a session",
        ("sync", "async"),
        "construction",
        "This login has no session. Ask for one with session_expires_in.",
        "`verify(…, session_expires_in=timedelta(days=7))`.",
        cookies_of_a_login_without_session,
    ),
)
