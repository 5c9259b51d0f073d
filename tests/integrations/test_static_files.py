"""A static file costs no call to the API under ASGI, and whatever may read the identity still gets it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import include, path, re_path
from django.utils.deprecation import MiddlewareMixin
from django.views.static import serve
from fastapi import FastAPI
from integrations.django_visits import Configure
from integrations.starlette_visits import options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django import require_auth
from moonkey_starlette import MoonKeyMiddleware
from support import quick
from support.servers import serve_asgi
from support.visitors import OURS as SAME_SITE
from support.visitors import SESSION, pair, signed_in_long_ago

CONTENT = "body { color: red }\n" * 100
OURS = "moonkey_django.MoonKeyMiddleware"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.css").write_text(CONTENT)
    return tmp_path


async def who(request: Request) -> Response:
    return PlainTextResponse(request.state.moonkey.state)


def mounted(middleware: list[Middleware], files: Path) -> ASGIApp:
    routes = [Mount("/static", StaticFiles(directory=files)), Route("/who", who)]
    return Starlette(routes=routes, middleware=middleware)


def nested(middleware: list[Middleware], files: Path) -> ASGIApp:
    inner = Starlette(routes=[Mount("/", StaticFiles(directory=files))])
    local = Host("127.0.0.1", app=Mount("/", routes=[Mount("/static", inner)]).app)
    return Starlette(routes=[Route("/who", who), local], middleware=middleware)


def of_fastapi(middleware: list[Middleware], files: Path) -> ASGIApp:
    app = FastAPI(middleware=middleware)
    app.mount("/static", StaticFiles(directory=files))
    app.add_route("/who", who)
    return app


def around(middleware: list[Middleware], files: Path) -> ASGIApp:
    ours: Any
    ours, *others = middleware
    return MoonKeyMiddleware(mounted(others, files), **ours.kwargs)


@pytest.fixture(params=[mounted, nested, of_fastapi, around], ids=lambda one: one.__name__)
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def presented(person: SignedIn) -> list[dict[str, str]]:
    """Credentials that could not be accepted without a call."""
    return [
        {"Authorization": f"Bearer {person.session_token}"},
        {"session-token": person.session_token},
        {"session-token": person.session_jwt},
        {"session-token": "dead"},
        pair(person),
        {"Cookie": f"{SESSION}={person.session_token}"},
    ]


class TestStarlette:
    @pytest.fixture(params=[False, True], ids=["eager", "lazy"])
    def ours(self, request: pytest.FixtureRequest, emulator: Emulator) -> Middleware:
        return Middleware(MoonKeyMiddleware, **options(emulator, cookies=True, lazy=request.param))

    @pytest.mark.parametrize("others", [[], [Middleware(CORSMiddleware), Middleware(GZipMiddleware)]], ids=len)
    def test_no_call(
        self, make: Any, ours: Middleware, files: Path, emulator: Emulator, others: list[Middleware]
    ) -> None:
        old = signed_in_long_ago(emulator)
        with serve_asgi(make([ours, *others], files)) as url, quick.Client(base_url=url) as browser:
            for headers in presented(old):
                assert browser.get("/static/a.css", headers={**SAME_SITE, **headers}).text == CONTENT
                assert browser.get("/static/none.css", headers={**SAME_SITE, **headers}).status_code == 404
                assert browser.post("/static/a.css", headers={**SAME_SITE, **headers}).status_code == 405
            assert emulator.requests() == {}
            unnamed = browser.get("/static/a.css", headers={"session-token": old.session_token})
            assert "cache-control" not in unnamed.headers or others

    def test_everything_else_is_verified(self, make: Any, files: Path, emulator: Emulator) -> None:
        ours = Middleware(MoonKeyMiddleware, **options(emulator, cookies=True))
        ada = emulator.sign_in()
        with serve_asgi(make([ours], files)) as url, quick.Client(base_url=url) as browser:
            for headers in ({"session-token": ada.session_token}, pair(ada)):
                assert browser.get("/who", headers=headers).text == "authenticated"
                assert browser.get("/nowhere", headers=headers).status_code == 404

    def test_required_refuses_before_the_file(self, make: Any, files: Path, emulator: Emulator) -> None:
        ours = Middleware(MoonKeyMiddleware, **options(emulator, required=True))
        ada = emulator.sign_in()
        with serve_asgi(make([ours], files)) as url, quick.Client(base_url=url) as browser:
            assert browser.get("/static/a.css").status_code == 401
            assert browser.get("/static/a.css", headers={"session-token": "dead"}).status_code == 401
            assert browser.get("/static/a.css", headers={"session-token": ada.session_token}).text == CONTENT


class Noting(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-who"] = request.state.moonkey.state
        return response


class Private(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["x-who"] = scope["state"]["moonkey"].state
        return response


def not_found(request: Request, error: Exception) -> Response:
    return PlainTextResponse("none", 404, {"x-who": request.state.moonkey.state})


def with_layer(ours: Middleware, files: Path) -> ASGIApp:
    return mounted([ours, Middleware(Noting)], files)


def with_outer_layer(ours: Middleware, files: Path) -> ASGIApp:
    return mounted([Middleware(Noting), ours], files)


def with_subclass(ours: Middleware, files: Path) -> ASGIApp:
    return Starlette(routes=[Mount("/static", Private(directory=files))], middleware=[ours])


def with_handler(ours: Middleware, files: Path) -> ASGIApp:
    routes = [Mount("/static", StaticFiles(directory=files / "none", check_dir=False))]
    (files / "none").mkdir()
    return Starlette(routes=routes, middleware=[ours], exception_handlers={404: not_found})


def with_inner_layer(ours: Middleware, files: Path) -> ASGIApp:
    inner = Starlette(routes=[Mount("/", StaticFiles(directory=files))], middleware=[Middleware(Noting)])
    return Starlette(routes=[Mount("/static", inner)], middleware=[ours])


@pytest.mark.parametrize("arrange", [with_layer, with_outer_layer, with_subclass, with_handler, with_inner_layer])
def test_whatever_may_read_it_gets_it(arrange: Any, files: Path, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    ours = Middleware(MoonKeyMiddleware, **options(emulator))
    with serve_asgi(arrange(ours, files)) as url:
        response = quick.get(f"{url}/static/a.css", headers={"session-token": ada.session_token})
    assert response.headers["x-who"] == "authenticated"


# --- Django


def reads_now(get_response: Any) -> Any:
    """An asynchronous middleware that reads the identity without a wait."""

    async def middleware(request: Any) -> HttpResponse:
        response: HttpResponse = await get_response(request)
        response.headers["x-who"] = request.moonkey.state
        return response

    return markcoroutinefunction(middleware)


reads_now.async_capable = True  # type: ignore[attr-defined]
reads_now.sync_capable = False  # type: ignore[attr-defined]


class ReadsInThread(MiddlewareMixin):
    def process_response(self, request: Any, response: HttpResponse) -> HttpResponse:
        response.headers["x-who"] = request.moonkey.state
        return response


def sync_only(get_response: Any) -> Any:
    return lambda request: get_response(request)


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.moonkey.state)  # type: ignore[attr-defined]


urlpatterns: list[Any] = []


@pytest.fixture
def project(configure: Configure, settings: Any, files: Path) -> None:
    configure(COOKIES={})
    settings.ROOT_URLCONF = type("urls", (), {"__name__": "urls"})()
    settings.ROOT_URLCONF.urlpatterns = [
        path("page", page),
        path("sub/", include([re_path(r"^static/(?P<path>.*)$", serve, {"document_root": str(files)})])),
        re_path(r"^gated/(?P<path>.*)$", require_auth(serve), {"document_root": str(files)}),
    ]
    settings.MIDDLEWARE = [OURS]


def get(where: str, **headers: str) -> Any:
    async def call() -> Any:
        response: Any = await AsyncClient(raise_request_exception=False).get(where, headers=headers)
        response.shown = b"".join([part async for part in response]) if response.streaming else response.content
        return response

    return asyncio.run(call())


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.usefixtures("project")
class TestDjango:
    @pytest.mark.parametrize(
        "others",
        [
            [],
            ["django.middleware.gzip.GZipMiddleware", "django.middleware.common.CommonMiddleware"],
            [f"{__name__}.sync_only"],
        ],
        ids=str,
    )
    def test_no_call(self, settings: Any, emulator: Emulator, others: list[str]) -> None:
        settings.MIDDLEWARE = [OURS, *others]
        for headers in presented(signed_in_long_ago(emulator)):
            response = get("/sub/static/a.css", **headers, **SAME_SITE)
            assert (response.status_code, response.shown) == (200, CONTENT.encode())
            assert get("/sub/static/none.css", **headers, **SAME_SITE).status_code == 404
        assert emulator.requests() == {}

    def test_everything_else_is_verified(self, emulator: Emulator) -> None:
        ada = emulator.sign_in()
        assert get("/page", **{"session-token": ada.session_token}).content == b"authenticated"
        assert get("/gated/a.css").status_code == 401
        assert get("/gated/a.css", **{"session-token": ada.session_token}).shown == CONTENT.encode()

    @pytest.mark.parametrize("reader", ["reads_now", "ReadsInThread"])
    def test_whatever_may_read_it_gets_it(self, settings: Any, emulator: Emulator, reader: str) -> None:
        ada = emulator.sign_in()
        settings.MIDDLEWARE = [OURS, f"{__name__}.{reader}"]
        response = get("/sub/static/a.css", **{"session-token": ada.session_token})
        assert (response.status_code, response.headers["x-who"]) == (200, "authenticated")
