"""FastAPI with cookies: as Starlette, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI
from integrations.starlette_cookie_site import visiting
from integrations.starlette_visits import options
from starlette.requests import Request
from starlette.responses import StreamingResponse

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser, RequireAuth, document_cookies
from support.visitors import (
    FOREIGN,
    GONE,
    JWT,
    PAGE,
    SESSION,
    pair,
    set_by,
    signed_in_long_ago,
)


def fastapi_app(emulator: Emulator, **more: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **options(emulator, cookies=CookieSettings(), **more))

    @app.post("/me")
    @app.get("/me")
    async def me(user: CurrentUser) -> str:
        return user.id

    @app.get("/strong", dependencies=[Depends(RequireAuth(factors={"totp"}))])
    async def strong() -> str:
        return "strong"

    @app.get("/open")
    async def everybody() -> str:
        return "open"

    @app.get("/stream")
    async def stream(request: Request, user: CurrentUser) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield user.id

        return StreamingResponse(parts())

    return app


def test_a_lazy_app_does_the_same(emulator: Emulator) -> None:
    with visiting(
        fastapi_app(emulator, lazy=True, sign_in={"page": "/welcome", "step_up_page": "/more"})
    ) as browser:
        for path in ("/me", "/stream", "/strong"):
            person = signed_in_long_ago(emulator)
            response = browser.get(path, headers=pair(person))
            assert response.status_code == (401 if path == "/strong" else 200)
            assert set(set_by(response)) == {JWT}
        assert browser.get("/me", headers=PAGE).headers["location"] == "/welcome?next=%2Fme"
        more = browser.get("/strong", headers={**PAGE, **pair(person)})
        assert urlsplit(more.headers["location"]).path == "/more"
        assert browser.post("/me", headers={**pair(person), **FOREIGN}).json()["error"] == "cross_site_request"
        person = signed_in_long_ago(emulator)
        emulator.revoke(person.session_id)
        refused = browser.get("/me", headers=pair(person))
        assert (refused.status_code, set_by(refused)) == (401, GONE)


def test_the_openapi_document_names_the_cookie_where_asked(emulator: Emulator) -> None:
    app = fastapi_app(emulator)
    either: list[Any] = [{"MoonKeyBearer": []}, {"MoonKeySessionToken": []}]
    assert app.openapi()["paths"]["/me"]["get"]["security"] == either
    document_cookies(app)
    for _ in range(2):
        document = app.openapi()
        scheme = document["components"]["securitySchemes"]["MoonKeySessionCookie"]
        assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", SESSION)
        for method in ("get", "post"):
            operation = document["paths"]["/me"][method]
            assert operation["security"] == [*either, {"MoonKeySessionCookie": []}]
        assert "security" not in document["paths"]["/open"]["get"]
    nothing = FastAPI()
    document_cookies(nothing, CookieSettings(session_name="other"))
    assert "components" not in nothing.openapi()
