"""A Starlette app with cookies, and a browser in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from integrations.starlette_visits import options
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from moonkey_core import CookieSettings, PermissionDenied
from moonkey_core.emulator import Emulator
from moonkey_starlette import MoonKeyMiddleware, get_auth, get_client, require_auth
from support import quick
from support.servers import serve_asgi
from support.visitors import JWT


@require_auth
async def me(request: Request) -> Response:
    auth = request.state.moonkey
    return JSONResponse({"user": auth.user.id, "source": auth.source})


@require_auth(max_staleness=0)
async def strict(request: Request) -> Response:
    return PlainTextResponse("strict")


async def public(request: Request) -> Response:
    auth = await get_auth(request)
    return PlainTextResponse(auth.state, headers={"Cache-Control": "public, max-age=60"})


async def unread(request: Request) -> Response:
    return PlainTextResponse("unread")


async def redirect(request: Request) -> Response:
    await get_auth(request)
    return RedirectResponse("/elsewhere")


async def missing(request: Request) -> Response:
    await get_auth(request)
    raise HTTPException(404)


async def own_401(request: Request) -> Response:
    await get_auth(request)
    return JSONResponse({"error": "of the app's own"}, status_code=401)


async def own_500(request: Request) -> Response:
    await get_auth(request)
    return PlainTextResponse("own", status_code=500)


async def denied(request: Request) -> Response:
    await get_auth(request)
    raise PermissionDenied


async def broken(request: Request) -> Response:
    await get_auth(request)
    raise RuntimeError("a bug of the app")


async def own_cookie(request: Request) -> Response:
    await get_auth(request)
    return PlainTextResponse("", headers={"Set-Cookie": f"{JWT}=; Max-Age=0; Path=/; Secure"})


@require_auth
async def ends(request: Request) -> Response:
    client = get_client(request)
    client.revocations.add(session_id=request.state.moonkey.session.id)  # as if somebody signed out meanwhile
    return PlainTextResponse("over")


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "it is "
        yield (await get_auth(request)).state

    return StreamingResponse(parts())


async def stream_500(request: Request) -> Response:
    response = await stream(request)
    response.status_code = 500
    return response


ENDPOINTS = (me, strict, public, unread, redirect, missing, own_401, own_500, denied, broken, own_cookie, ends)
ROUTES = [Route(f"/{one.__name__}", one, methods=["GET", "POST"]) for one in (*ENDPOINTS, stream, stream_500)]


def app_of(emulator: Emulator, *routes: BaseRoute, **more: Any) -> Starlette:
    found = options(emulator, **{"cookies": CookieSettings(), **more})
    return Starlette(routes=[*routes, *ROUTES], middleware=[Middleware(MoonKeyMiddleware, **found)])


@contextmanager
def visiting(app: ASGIApp) -> Iterator[httpx.Client]:
    """A browser in front of the app: it follows no redirects and keeps no cookies."""
    with serve_asgi(app) as url, quick.Client(base_url=url) as browser:
        yield browser
