"""Mistakes with cookies and the session routes."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlencode

from django.conf import ENVIRONMENT_VARIABLE
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils.functional import empty
from fastapi import FastAPI
from flask import Flask
from mistakes.lab import FRAMEWORKS, MADE, Lab, Row, visit_asgi
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import CookieSettings
from moonkey_starlette import fastapi as moonkey_fastapi

ROUTES: dict[str, Any] = {
    "flask": moonkey_flask.session_routes,
    "django": moonkey_django.session_routes,
    "starlette": moonkey_starlette.session_routes,
    "fastapi": moonkey_fastapi.session_routes,
}


def mounted(lab: Lab, framework: str, routes: Any, **options: Any) -> None:
    """Give routes to a framework, and start the app."""
    options = {**lab.base, "trusted_proxies": "none", **options}
    if framework == "flask":
        app = Flask("shop")
        moonkey_flask.FlaskMoonKey(app, **options)
        with lab.at("construction"):
            app.register_blueprint(routes)
    elif framework == "django":
        with lab.urls(), lab.at("construction"):
            include(routes)
    elif framework == "starlette":
        made = Starlette(routes=[routes])
        made.add_middleware(moonkey_starlette.MoonKeyMiddleware, **options)
        visit_asgi(lab, made)
    else:
        api = FastAPI()
        api.add_middleware(moonkey_starlette.MoonKeyMiddleware, **options)
        with lab.at("construction"):
            api.include_router(routes)
        visit_asgi(lab, api)


def without_cookies(lab: Lab, framework: str) -> None:
    if framework == "django":
        usual = {name.upper(): value for name, value in lab.base.items()}
        with lab.urls(MOONKEY={**usual, "TRUSTED_PROXIES": "none"}), lab.at("construction"):
            moonkey_django.session_routes()
    mounted(lab, framework, ROUTES[framework]())


def uncalled(lab: Lab, framework: str) -> None:
    mounted(lab, framework, ROUTES[framework])


def for_a_list(lab: Lab, _: str) -> None:
    routes: Any = moonkey_starlette.session_routes(mode="header")
    with lab.at("construction"):
        Starlette(routes=routes)


def of_another(other: str) -> Any:
    def provoke(lab: Lab, framework: str) -> None:
        mounted(lab, framework, ROUTES[other](mode="header"))

    return provoke


def of_django(lab: Lab, framework: str) -> None:
    lab.monkeypatch.delitem(os.environ, ENVIRONMENT_VARIABLE, raising=False)
    lab.monkeypatch.setattr("django.conf.settings._wrapped", empty)
    with lab.at("construction"):
        mounted(lab, framework, moonkey_django.session_routes(mode="header"))


def no_origin(lab: Lab, framework: str) -> None:
    """A POST with cookies, and without what a browser says of its page."""
    emulator, options = (
        lab.emulator,
        {
            **lab.base,
            "cookies": True,
            "trusted_proxies": "none",
            "jwt_issuer": lab.emulator.issuer,
        },
    )
    cookie = f"__Host-moonkey_session={emulator.sign_in().session_token}"
    if framework == "flask":
        app = Flask("shop")
        app.testing = True
        moonkey_flask.FlaskMoonKey(app, **options)
        app.add_url_rule("/", "view", moonkey_flask.require_auth(lambda: "open"), methods=["POST"])
        with lab.at("first request"):
            app.test_client(use_cookies=False).post("/", headers={"cookie": cookie})
    elif framework == "django":
        view = moonkey_django.require_auth(lambda request: HttpResponse("open"))
        usual = {name.upper(): value for name, value in options.items()}
        with lab.urls(path("", view), MOONKEY=usual), lab.at("first request"):
            Client(headers={"cookie": cookie}).post("/")
    else:

        @moonkey_starlette.require_auth
        async def endpoint(request: Request) -> Response:
            return PlainTextResponse("open")

        app_of: Any = Starlette if framework == "starlette" else FastAPI
        made = app_of(routes=[Route("/", endpoint, methods=["POST"])])
        made.add_middleware(moonkey_starlette.MoonKeyMiddleware, **options)
        with TestClient(made) as client, lab.at("first request"):
            client.post("/", headers={"cookie": cookie})


def sign_in_over_http(lab: Lab, framework: str) -> None:
    lab.monkeypatch.setattr("moonkey_core.web.cookies._warned", set())
    options, form = {**lab.base, "cookies": True, "trusted_proxies": "none"}, {"email": "ada@example.com"}
    where, headers = "/auth/sign-in/otp", {"sec-fetch-site": "same-origin"}
    if framework == "flask":
        app = Flask("shop")
        moonkey_flask.FlaskMoonKey(app, **options)
        app.register_blueprint(moonkey_flask.session_routes())
        with lab.at("first request"):
            app.test_client().post(where, data=form, headers=headers)
    elif framework == "django":
        usual = {name.upper(): value for name, value in options.items()}
        with lab.urls(MOONKEY=usual):
            routes = path("auth/", include(moonkey_django.session_routes()))
            with lab.urls(routes, MOONKEY=usual), lab.at("first request"):
                Client(headers=headers).post(where, urlencode(form), "application/x-www-form-urlencoded")
    else:
        made: Any = FastAPI() if framework == "fastapi" else Starlette(routes=[moonkey_starlette.session_routes()])
        if framework == "fastapi":
            made.include_router(moonkey_fastapi.session_routes())
        made.add_middleware(moonkey_starlette.MoonKeyMiddleware, **options)
        with TestClient(made) as client, lab.at("first request"):
            client.post(where, data=form, headers=headers)


def given(**options: Any) -> Any:
    return lambda lab, framework: lab.settings(framework, trusted_proxies="none", **options)


def wrong_cookies(**arguments: Any) -> Any:
    def provoke(lab: Lab, _: str) -> None:
        with lab.at("construction"):
            CookieSettings(**arguments)

    return provoke


ROWS = (
    Row(
        "the session routes, and no cookies",
        FRAMEWORKS,
        {"flask": "construction", "django": "construction", "starlette": "start", "fastapi": "start"},
        {
            **dict.fromkeys(
                ("flask", "starlette", "fastapi"),
                "The session routes need cookies. Set cookies=CookieSettings(), or MOONKEY_COOKIES=true; or {} "
                'session_routes(mode="header").',
            ),
            "django": 'The session routes need cookies. Set MOONKEY["COOKIES"] = {}',
        },
        'Set `cookies`, or use `mode="header"`.',
        without_cookies,
    ),
    Row(
        "`session_routes` without parentheses",
        FRAMEWORKS,
        {"flask": "construction", "django": "construction", "starlette": "start", "fastapi": "construction"},
        {
            "flask": "session_routes is a function, and was not called. Write: app.register_blueprint(session_routes())",
            "django": 'session_routes is a function, and was not called. Write: path("auth/", include(session_routes()))',
            "starlette": "session_routes is a function, and was not called. Write: Starlette(routes=[session_routes(), "
            "…])",
            "fastapi": "session_routes is a function, and was not called. Write: app.include_router(session_routes())",
        },
        "`session_routes()`.",
        uncalled,
    ),
    *(
        Row(
            f"the `session_routes` of {name} in another framework",
            # Newer versions of FastAPI make a router that Starlette serves as well.
            tuple(one for one in FRAMEWORKS if one != other and (other, one) != ("fastapi", "starlette")),
            {"flask": "construction", "django": "construction", "starlette": "start", "fastapi": "construction"},
            f"These session_routes are {name}'s{{}}: from moonkey_{{}} import session_routes",
            "Import it from the package of your framework.",
            of_another(other),
        )
        for other, name in (("flask", "Flask"), ("starlette", "Starlette"), ("fastapi", "FastAPI"))
    ),
    Row(
        "`session_routes()` of Starlette for the list of all routes",
        ("starlette",),
        "construction",
        "session_routes() is a single route and no list. Write: Starlette(routes=[session_routes(), …])",
        "Put it into the list.",
        for_a_list,
    ),
    Row(
        "the `session_routes` of Django in another framework",
        ("flask", "starlette", "fastapi"),
        "construction",
        "These session_routes are Django's, and no Django project is set up here. In Flask: from moonkey_flask import "
        "session_routes; in Starlette: from moonkey_starlette import session_routes; in FastAPI: from "
        "moonkey_starlette.fastapi import session_routes.",
        "Import it from the package of your framework.",
        of_django,
    ),
    Row(
        "a POST with cookies says nothing of the page that it comes from",
        FRAMEWORKS,
        "first request",
        "Sec-Fetch-Site: none, Origin: none; own origin: {}. Send the Origin header, as browsers do, or the credential in "
        "a header in place of cookies.",
        "Send `Origin`, as a browser does; a program sends the credential in a header.",
        no_origin,
    ),
    Row(
        "Secure cookies on a site of plain http",
        FRAMEWORKS,
        "first request",
        "a Secure cookie was set on plain http (this site is {}): {} browsers will not keep it. In development set "
        "insecure_development=True in the cookie settings; behind a proxy that ends TLS, set trusted_proxies, or origin in "
        "the cookie settings",
        "`CookieSettings(insecure_development=True)` in development, else https.",
        sign_in_over_http,
    ),
    Row(
        "cookies without Secure beside the public API",
        FRAMEWORKS,
        MADE,
        "MOONKEY_COOKIES (cookies) must not be insecure_development ones while base_url or an issuer is a public https "
        "address.",
        "Leave `insecure_development` out, and serve the app over https.",
        given(base_url="https://api.moonkey.fun", cookies={"insecure_development": True}),
    ),
    Row(
        "an argument of the cookies is misspelt",
        FRAMEWORKS,
        MADE,
        "cookies: 'samesite' is unknown or there twice. Did you mean 'same_site'?",
        "`same_site`.",
        given(cookies={"samesite": "Lax"}),
    ),
    Row(
        "the same of `CookieSettings`",
        ("sync",),
        "construction",
        "CookieSettings has no argument 'samesite'. Did you mean 'same_site'?",
        "`same_site`.",
        wrong_cookies(samesite="Lax"),
    ),
    Row(
        "`SameSite=None` without Secure",
        ("sync",),
        "construction",
        "cookies: browsers refuse SameSite=None without Secure. Leave insecure_development out, and use https.",
        "Leave `insecure_development` out.",
        wrong_cookies(same_site="None", insecure_development=True),
    ),
    Row(
        "a setting of the cookies stands at the top level",
        FRAMEWORKS,
        MADE,
        "There is no setting 'cookie_domain'. It belongs inside 'cookies': cookies=CookieSettings(domain=…).",
        "`cookies=CookieSettings(domain=…)`.",
        given(cookie_domain="example.com"),
    ),
)
