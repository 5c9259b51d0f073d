"""Where the session routes are mounted, and how: under other paths, in other apps, with other templates."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from integrations.starlette_cookie_site import app_of, me, visiting
from integrations.starlette_visits import options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from moonkey_core import ConfigurationError, CookieSettings
from moonkey_core._repeated_log import reset
from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware, session_routes
from moonkey_starlette.fastapi import session_routes as fastapi_routes
from support import quick
from support.patience import PATIENCE
from support.servers import serve_asgi
from support.visitors import PAGE, Visitor


def with_cookies(emulator: Emulator, **more: Any) -> Middleware:
    return Middleware(MoonKeyMiddleware, **options(emulator, **{"cookies": CookieSettings(), **more}))


async def link(request: Request) -> Response:
    return PlainTextResponse(request.url_for("moonkey:sign_out").path)


# --- under which path


def under_a_root_path(emulator: Emulator) -> tuple[ASGIApp, dict[str, Any], str]:
    return app_of(emulator, session_routes(url_prefix="/my auth")), {"root_path": "/shop"}, ""


def in_an_app_that_is_mounted(emulator: Emulator) -> tuple[ASGIApp, dict[str, Any], str]:
    inner = Starlette(routes=[session_routes(url_prefix="/my auth"), Route("/me", me)])
    return Starlette(routes=[Mount("/shop", inner)], middleware=[with_cookies(emulator)]), {}, "/shop"


def in_an_app_that_is_mounted_with_all(emulator: Emulator) -> tuple[ASGIApp, dict[str, Any], str]:
    return (
        Starlette(routes=[Mount("/shop", app_of(emulator, session_routes(url_prefix="/my auth/")))]),
        {},
        "/shop",
    )


def in_a_router_of_fastapi(emulator: Emulator) -> tuple[ASGIApp, dict[str, Any], str]:
    app, router = FastAPI(), APIRouter()
    app.add_middleware(MoonKeyMiddleware, **options(emulator, cookies=CookieSettings()))
    router.include_router(fastapi_routes(url_prefix="/my auth"))
    router.add_route("/me", me)
    app.include_router(router, prefix="/shop")
    return app, {}, "/shop"


@pytest.mark.parametrize(
    "arrangement",
    [
        under_a_root_path,
        in_an_app_that_is_mounted,
        in_an_app_that_is_mounted_with_all,
        in_a_router_of_fastapi,
    ],
    ids=lambda arrangement: arrangement.__name__,
)
def test_mounted_somewhere_else(emulator: Emulator, arrangement: Any) -> None:
    app, serving, prefix = arrangement(emulator)
    with serve_asgi(app, **serving) as url, quick.Client(base_url=url) as browser:
        goes_through(emulator, browser, called=prefix, seen="/shop")


def goes_through(emulator: Emulator, browser: httpx.Client, *, called: str, seen: str) -> None:
    """``called`` stands before the paths that reach the server, ``seen`` before those that the browser has."""
    routes = f"{seen}/my%20auth"
    visitor = Visitor(browser, f"{called}/my%20auth")
    sent = visitor.get(f"{called}/me?x=%20")
    target = urlsplit(sent.headers["location"])
    assert target.path == f"{routes}/sign-in"
    assert parse_qs(target.query) == {"next": [f"{seen}/me?x=%20"]}
    page = visitor.get(f"{called}/my%20auth/sign-in")
    assert f'href="{routes}/style.css"' in page.text
    assert browser.get(f"{called}/my%20auth/style.css").status_code == 200
    assert visitor.sign_in(emulator, next=f"{seen}/me").headers["location"] == f"{seen}/me"
    assert visitor.get(f"{called}/me").status_code == 200
    assert f'action="{routes}/sessions/' in visitor.get(f"{called}/my%20auth/sessions").text
    session = visitor.get(f"{called}/my%20auth/session", Accept="application/json").json()["session"]
    assert visitor.post(f"/sessions/{session['id']}/revoke").status_code == 303


@pytest.mark.filterwarnings("ignore:The `root_path` parameter")  # newer versions want it from the server
def test_behind_a_proxy_that_cuts_the_prefix_off(emulator: Emulator) -> None:
    """FastAPI then has it from its own ``root_path`` alone; routes of a router are found all the same."""
    app = FastAPI(root_path="/shop")
    app.add_middleware(MoonKeyMiddleware, **options(emulator, cookies=CookieSettings()))
    app.include_router(fastapi_routes(url_prefix="/my auth"))
    app.add_route("/me", me)
    with visiting(app) as browser:
        goes_through(emulator, browser, called="", seen="/shop")


def test_at_the_root_of_a_host(emulator: Emulator) -> None:
    routes = [Route("/link", link), Route("/me", me), session_routes(url_prefix="/")]
    with visiting(Starlette(routes=routes, middleware=[with_cookies(emulator)])) as browser:
        assert Visitor(browser, "").sign_in(emulator).status_code == 303
        assert browser.get("/link").text == "/sign-out"
        assert browser.get("/me", headers=PAGE).headers["location"] == "/sign-in?next=%2Fme"


def test_a_mounting_point_that_differs_from_request_to_request(emulator: Emulator) -> None:
    with visiting(app_of(emulator, session_routes(url_prefix="/{tenant}/auth"))) as browser:
        assert Visitor(browser, "/blue/auth").sign_in(emulator).status_code == 303
        page = browser.get("/red%22/auth/sign-in", headers=PAGE)
        assert 'action="/red%22/auth/sign-in/otp"' in page.text
        assert browser.get("/me", headers=PAGE).status_code == 401  # which tenant's page it would be, nobody says


@pytest.mark.rule("S47")
@pytest.mark.parametrize("target", ["//evil.example/auth/sign-in", "///evil.example/auth/sign-in"])
def test_no_path_leads_to_another_host(emulator: Emulator, target: str) -> None:
    app = app_of(
        emulator, session_routes(url_prefix="/{anything:path}/auth"), required=True, sign_in={"page": "/welcome"}
    )
    with serve_asgi(app) as url:
        for path in (target, target.replace("/auth/sign-in", "/me")):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
            connection.request("GET", path, headers=PAGE)
            response = connection.getresponse()
            assert response.status in (200, 303, 404)  # 200: the page itself, which older releases route to
            assert response.headers["location"] in (None, "/welcome")
            assert "//evil.example" not in response.read().decode()
            connection.close()


def test_links_by_name(emulator: Emulator) -> None:
    routers = FastAPI()
    routers.add_middleware(MoonKeyMiddleware, **options(emulator, cookies=CookieSettings()))
    routers.include_router(fastapi_routes(url_prefix="/auth"))
    routers.add_route("/link", link)
    assert not any("/auth" in path for path in routers.openapi()["paths"])
    for app in (routers, app_of(emulator, Route("/link", link), session_routes())):
        with visiting(app) as browser:
            assert browser.get("/link").text == "/auth/sign-out"


# --- with required=True


def test_a_site_for_members_lets_everybody_sign_in(emulator: Emulator) -> None:
    app = app_of(emulator, session_routes(url_prefix="/auth"), required=True)
    with visiting(app) as browser:
        visitor = Visitor(browser)
        assert visitor.get("/public").headers["location"] == "/auth/sign-in?next=%2Fpublic"
        for path in ("/auth/style.css", "/auth/sign-in", "/auth/sign-in/magic?token=x"):
            assert browser.get(path, headers=PAGE).status_code == 200
        assert browser.post("/auth/sessions/sess_1/revoke").status_code == 403  # by the route itself
        for path in (
            "/auth",
            "/auth/",
            "/auth/sign-in/",
            "/auth/other",
            "/auth/sessions/a/b/revoke",
            "/auth/sign-ins",
        ):
            assert browser.get(path).status_code == 401
        assert browser.get("/auth/" + quote("sign-in\n", safe="")).status_code == 401
        assert visitor.sign_in(emulator).status_code == 303
        assert visitor.get("/public").status_code == 200


@pytest.mark.parametrize("cookies", [None, CookieSettings()])
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_and_every_program(emulator: Emulator, framework: str, cookies: CookieSettings | None) -> None:
    """The routes without cookies are open too, alone or beside the others; no browser is sent to them."""
    middleware = Middleware(
        MoonKeyMiddleware, **options(emulator, **({"cookies": cookies} if cookies else {})), required=True
    )
    app: Starlette
    if framework == "starlette":
        both = [session_routes(mode="header", url_prefix="/api"), *([session_routes()] if cookies else [])]
        app = Starlette(routes=[*both, Route("/me", me)], middleware=[middleware])
    else:
        app = FastAPI(middleware=[middleware])
        app.include_router(fastapi_routes(mode="header", url_prefix="/api"))
        if cookies:
            app.include_router(fastapi_routes())
    with visiting(app) as browser:
        sent = browser.post("/api/sign-in/otp", json={"email": "ada@example.com"}).json()
        code = {"method_id": sent["method_id"], "code": emulator.outbox()[0].code}
        found = browser.post("/api/sign-in/otp/verify", json=code).json()
        headers = {"Authorization": f"Bearer {found['session_token']}"}
        assert browser.get("/api/session", headers=headers).json()["authenticated"]
        assert browser.get("/api/other", headers=PAGE).status_code == (303 if cookies else 401)
        if cookies:
            assert browser.get("/me", headers=PAGE).headers["location"] == "/auth/sign-in?next=%2Fme"


def test_through_layers_of_the_app_s_own(emulator: Emulator) -> None:
    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    layers = [Middleware(Passing), with_cookies(emulator, required=True), Middleware(Passing), Middleware(Passing)]
    with visiting(Starlette(routes=[session_routes(), Route("/me", me)], middleware=layers)) as browser:
        visitor = Visitor(browser)
        assert visitor.get("/me").headers["location"] == "/auth/sign-in?next=%2Fme"
        assert visitor.sign_in(emulator).status_code == 303
        assert visitor.get("/me").status_code == 200


# --- templates


def write(folder: Path, brand: str) -> Path:
    (folder / brand / "moonkey").mkdir(parents=True)
    base = f"<b>{brand}</b>{{% block content %}}{{% endblock %}}"
    (folder / brand / "moonkey" / "base.html").write_text(base)
    return folder / brand


def test_templates_of_the_app_s_own_win(emulator: Emulator, tmp_path: Path) -> None:
    acme, other = write(tmp_path, "acme"), write(tmp_path, "other")
    for routes, brand in ((session_routes(), "acme"), (session_routes(templates=other), "other")):
        with visiting(app_of(emulator, routes, templates=acme)) as browser:
            page = browser.get("/auth/sign-in?next=/%22%3E<script>", headers=PAGE)
            assert f"<b>{brand}</b>" in page.text
            assert 'action="/auth/sign-in/otp?next=%2F%22%3E%3Cscript%3E"' in page.text
            assert "<script>" not in page.text
            refused = browser.post("/me", headers=PAGE)
            assert (refused.status_code, "<b>acme</b>" in refused.text) == (401, True)


def test_without_jinja_the_routes_speak_json(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moonkey_core.web.jinja", None)
    with visiting(app_of(emulator, session_routes())) as browser:
        visitor = Visitor(browser)
        assert visitor.get("/auth/sign-in").json()["authenticated"] is False
        assert visitor.sign_in(emulator).json()["authenticated"] is True
        assert visitor.get("/auth/session").json()["authenticated"] is True
        assert visitor.post("/sign-out").json()["signed_out"] is True


# --- wrong setups


def test_routes_without_cookies_stop_the_start(emulator: Emulator) -> None:
    fastapi = FastAPI()
    fastapi.include_router(fastapi_routes())
    for app in (
        Starlette(routes=[session_routes()]),
        Starlette(routes=[Mount("/x", routes=[session_routes()])]),
        fastapi,
    ):
        with pytest.raises(ConfigurationError, match="MOONKEY_COOKIES=true"):
            MoonKeyMiddleware(app, **options(emulator))


@pytest.mark.parametrize(("proxies", "warns"), [(None, True), ("none", False), ("10.0.0.7", False)])
def test_a_warning_at_the_start(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, proxies: str | None, warns: bool
) -> None:
    """Where the addresses of clients are not known, no limit counts by them."""
    chosen = options(emulator, cookies=True, trusted_proxies=proxies)
    MoonKeyMiddleware(Starlette(routes=[]), **chosen)
    assert not caplog.records  # an app without the routes has no use for them
    fastapi = FastAPI()
    fastapi.include_router(fastapi_routes())
    for app in (Starlette(routes=[session_routes()]), Starlette(routes=[session_routes(mode="header")]), fastapi):
        reset()
        caplog.clear()
        MoonKeyMiddleware(app, **chosen)
        assert ["clients_unknown" in record.__dict__.values() for record in caplog.records] == [True] * warns


def test_routes_that_come_later_say_so_at_their_first_use(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    app = Starlette(routes=[])
    site = MoonKeyMiddleware(app, **options(emulator))
    app.routes.append(session_routes())
    with visiting(site) as browser:
        assert browser.get("/auth/sign-in").status_code == 500
    assert "MOONKEY_COOKIES=true" in caplog.text


def test_routes_without_the_middleware(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with visiting(Starlette(routes=[session_routes()])) as browser:
        assert browser.get("/auth/sign-in").status_code == 500
    assert "app.add_middleware(MoonKeyMiddleware)" in caplog.text
