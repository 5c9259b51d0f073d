"""The contract site in Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from contract.behaviour import ALLOWED, EXPOSED, HELD, ORIGIN, STREAM_PAUSE, TEN_MINUTES, Runs
from contract.kinds import FILE, KINDS
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from moonkey_core import Auth, ProviderUnavailable
from moonkey_starlette import MoonKeyMiddleware, get_auth, optional_auth, require_auth, session_routes
from moonkey_starlette import public as opened


def make_app(runs: Runs, options: Any) -> Starlette:
    def who(request: Request) -> dict[str, Any]:
        runs.append(request.method)
        auth: Auth = request.state.moonkey
        assert auth.user is not None
        assert auth.session is not None
        return {"user": auth.user.id, "session": auth.session.id}

    async def public(request: Request) -> Response:
        return PlainTextResponse("public")

    @opened
    async def marked(request: Request) -> Response:
        return PlainTextResponse("opened")

    @optional_auth
    def state(request: Request) -> Response:
        return PlainTextResponse(request.state.moonkey.state)

    @require_auth
    async def protected(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth()
    def other_colour(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(max_staleness=0)
    async def strict(request: Request) -> Response:
        return JSONResponse({**who(request), "source": request.state.moonkey.source})

    @require_auth(max_staleness=0)
    def other_strict(request: Request) -> Response:
        return JSONResponse({**who(request), "source": request.state.moonkey.source})

    @require_auth(grace_seconds=0)
    async def without_grace(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(factors={"totp"})
    async def totp(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(factor_max_age=TEN_MINUTES)
    def fresh_factor(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(factors={"totp", "webauthn"}, factor_count=2, factor_max_age=TEN_MINUTES)
    async def two_factors(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(session_max_age=TEN_MINUTES)
    async def young_session(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(claims={"plan": "pro"})
    async def paying(request: Request) -> Response:
        return JSONResponse(who(request))

    @require_auth(scopes={"write"}, factors={"totp"})
    async def writer(request: Request) -> Response:
        return JSONResponse(who(request))

    async def optional(request: Request) -> Response:
        return JSONResponse(optional_body(await get_auth(request)))

    @require_auth
    async def models(request: Request) -> Response:
        user, session = request.state.moonkey.user, request.state.moonkey.session
        return JSONResponse({"user": user.to_dict(), "session": session.to_dict()})

    @require_auth
    async def cached(request: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=60", "Vary": "Accept-Language"}
        return JSONResponse(who(request), headers=headers)

    @require_auth
    async def raises(request: Request) -> Response:
        raise ProviderUnavailable(retry_after=7)

    @requires("authenticated")
    async def foreign(request: Request) -> Response:
        return JSONResponse({"user": request.user.identity})

    @require_auth
    async def stream(request: Request) -> Response:
        return StreamingResponse(stream_parts(request.state.moonkey), media_type="text/plain")

    @require_auth
    async def upload(request: Request) -> Response:
        first = who(request)
        async with request.form() as form:
            content = await form["file"].read()  # type: ignore[union-attr]
        await asyncio.sleep(len(content) % 7 / 1000)
        return JSONResponse({**first, "again": request.state.moonkey.user.id})

    async def missing(request: Request) -> Response:
        raise HTTPException(404, (await get_auth(request)).state)

    async def moved(request: Request) -> Response:
        return RedirectResponse("/elsewhere", 302, {"X-State": (await get_auth(request)).state})

    async def failed(request: Request) -> Response:
        return PlainTextResponse((await get_auth(request)).state, 500)

    @require_auth
    async def broken(request: Request) -> Response:
        raise RuntimeError("a bug of the app")

    @require_auth
    def held(request: Request) -> Response:
        HELD.wait()
        return JSONResponse(who(request))

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"]
    return Starlette(
        routes=[
            *([session_routes(url_prefix="/auth")] if options.get("cookies") else []),
            session_routes(url_prefix="/header", mode="header"),
            Route("/public", public),
            Route("/opened", marked),
            Route("/opened/to-state", state),
            Route("/models", models),
            Route("/protected", protected, methods=methods),
            Route("/other-colour", other_colour),
            Route("/strict", strict),
            Route("/other-strict", other_strict),
            Route("/without-grace", without_grace),
            Route("/totp", totp, methods=["GET", "POST"]),
            Route("/fresh-factor", fresh_factor),
            Route("/two-factors", two_factors),
            Route("/young-session", young_session),
            Route("/paying", paying),
            Route("/writer", writer),
            Route("/optional", optional),
            Route("/cached", cached),
            Route("/raises", raises),
            Route("/foreign", foreign),
            Route("/stream", stream),
            Route("/late-stream", late_stream),
            Route("/kinds/{name}", kinds),
            Route("/missing", missing),
            Route("/moved", moved),
            Route("/failed", failed),
            Route("/broken", broken),
            Route("/held", held),
            Route("/upload", upload, methods=["POST"]),
            WebSocketRoute("/socket", require_auth(socket)),
            WebSocketRoute("/socket/public", bare_socket),
            WebSocketRoute("/socket/opened", opened(partial(bare_socket))),
            WebSocketRoute("/socket/totp", require_auth(factors={"totp"})(socket)),
            WebSocketRoute("/socket/strict", require_auth(max_staleness=0)(socket)),
        ],
        middleware=[
            Middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_headers=ALLOWED, expose_headers=EXPOSED),
            Middleware(MoonKeyMiddleware, **options),
        ],
    )


def optional_body(auth: Auth) -> dict[str, Any]:
    return {
        "state": auth.state,
        "reason": auth.error.reason if auth.error else None,
        "user": auth.user.id if auth.user else None,
    }


async def stream_parts(auth: Auth) -> AsyncIterator[str]:
    for _ in range(3):
        await asyncio.sleep(STREAM_PAUSE)
        yield f"{auth.user.id if auth.user else None}\n"


async def late_stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield (await get_auth(request)).state

    return StreamingResponse(parts(), media_type="text/plain")


async def kinds(request: Request) -> Response:
    if "read" in request.query_params:
        _ = (await get_auth(request)).state
    kind = KINDS[request.path_params["name"]]
    response: Response
    if kind.body == "file":
        response = FileResponse(FILE)
    elif kind.body == "whole":
        response = Response(kind.text, kind.status)
    else:
        response = StreamingResponse(iter(kind.text), kind.status)
    for name, value in (*kind.headers, *(("Set-Cookie", cookie) for cookie in kind.cookies)):
        response.headers.append(name, value)
    return response


async def bare_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("open")
    await websocket.close()


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    async for text in websocket.iter_text():
        await websocket.send_text(websocket.state.moonkey.user.id if text == "who?" else text)
