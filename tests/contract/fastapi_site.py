"""The contract site in FastAPI."""

import asyncio
from typing import Annotated, Any

from contract.behaviour import ALLOWED, EXPOSED, HELD, ORIGIN, TEN_MINUTES, Runs
from contract.starlette_site import bare_socket, kinds, late_stream, optional_body, socket, stream_parts
from fastapi import Depends, FastAPI, HTTPException, Request, Response, UploadFile, WebSocket
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.authentication import requires
from starlette.middleware.cors import CORSMiddleware

from moonkey_core import Auth, ProviderUnavailable
from moonkey_starlette import MoonKeyMiddleware, optional_auth
from moonkey_starlette import public as opened
from moonkey_starlette.fastapi import CurrentAuth, CurrentSession, CurrentUser, RequireAuth, session_routes


def make_app(runs: Runs, options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **options)
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_headers=ALLOWED, expose_headers=EXPOSED)

    if options.get("cookies"):
        app.include_router(session_routes(url_prefix="/auth"))
    app.include_router(session_routes(url_prefix="/header", mode="header"))

    def who(request: Request) -> dict[str, Any]:
        runs.append(request.method)
        auth: Auth = request.state.moonkey
        assert auth.user is not None
        assert auth.session is not None
        return {"user": auth.user.id, "session": auth.session.id}

    @app.get("/public")
    async def public() -> str:
        return "public"

    @app.get("/opened")
    @opened
    async def marked() -> str:
        return "opened"

    @app.get("/opened/to-state")
    @optional_auth
    def state(request: Request) -> str:
        return str(request.state.moonkey.state)

    @app.api_route("/protected", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
    async def protected(request: Request, user: CurrentUser, session: CurrentSession) -> Any:
        runs.append(request.method)
        return {"user": user.id, "session": session.id}

    @app.get("/other-colour")
    def other_colour(request: Request, user: CurrentUser, session: CurrentSession) -> Any:
        runs.append(request.method)
        return {"user": user.id, "session": session.id}

    @app.get("/strict")
    async def strict(request: Request, auth: Annotated[Auth, Depends(RequireAuth(max_staleness=0))]) -> Any:
        assert auth is request.state.moonkey
        return {**who(request), "source": auth.source}

    @app.get("/other-strict", dependencies=[Depends(RequireAuth(max_staleness=0))])
    def other_strict(request: Request, user: CurrentUser) -> Any:
        return {**who(request), "source": request.state.moonkey.source}

    @app.get("/without-grace", dependencies=[Depends(RequireAuth(grace_seconds=0))])
    async def without_grace(request: Request) -> Any:
        return who(request)

    @app.api_route("/totp", methods=["GET", "POST"], dependencies=[Depends(RequireAuth(factors={"totp"}))])
    async def totp(request: Request) -> Any:
        return who(request)

    @app.get("/fresh-factor")
    def fresh_factor(
        request: Request, auth: Annotated[Auth, Depends(RequireAuth(factor_max_age=TEN_MINUTES))]
    ) -> Any:
        return who(request)

    strong = RequireAuth(factors={"totp", "webauthn"}, factor_count=2, factor_max_age=TEN_MINUTES)

    @app.get("/two-factors", dependencies=[Depends(strong)])
    async def two_factors(request: Request, user: CurrentUser) -> Any:
        return who(request)

    @app.get("/young-session", dependencies=[Depends(RequireAuth(session_max_age=TEN_MINUTES))])
    async def young_session(request: Request) -> Any:
        return who(request)

    @app.get("/paying", dependencies=[Depends(RequireAuth(claims={"plan": "pro"}))])
    async def paying(request: Request) -> Any:
        return who(request)

    @app.get("/writer", dependencies=[Depends(RequireAuth(scopes={"write"}, factors={"totp"}))])
    async def writer(request: Request) -> Any:
        return who(request)

    @app.get("/optional")
    async def optional(auth: CurrentAuth) -> Any:
        return optional_body(auth)

    @app.get("/models")
    async def models(user: CurrentUser, session: CurrentSession) -> Any:
        return {"user": user.to_dict(), "session": session.to_dict()}

    @app.get("/cached")
    async def cached(request: Request, user: CurrentUser, response: Response) -> Any:
        runs.append(request.method)
        response.headers["Cache-Control"] = "public, max-age=60"
        response.headers["Vary"] = "Accept-Language"
        return {"user": user.id}

    @app.get("/raises", dependencies=[Depends(RequireAuth())])
    async def raises() -> Any:
        raise ProviderUnavailable(retry_after=7)

    @app.get("/foreign")
    @requires("authenticated")
    async def foreign(request: Request) -> Any:
        return {"user": request.user.identity}

    @app.get("/stream")
    async def stream(auth: Annotated[Auth, Depends(RequireAuth())]) -> StreamingResponse:
        return StreamingResponse(stream_parts(auth), media_type="text/plain")

    app.get("/late-stream")(late_stream)
    app.get("/kinds/{name}")(kinds)

    @app.get("/missing")
    async def missing(auth: CurrentAuth) -> Any:
        raise HTTPException(404)

    @app.get("/moved")
    async def moved(auth: CurrentAuth) -> RedirectResponse:
        return RedirectResponse("/elsewhere", 302)

    @app.get("/failed")
    async def failed(auth: CurrentAuth, response: Response) -> Any:
        response.status_code = 500
        return "failed"

    @app.get("/broken")
    async def broken(user: CurrentUser) -> Any:
        raise RuntimeError("a bug of the app")

    @app.get("/held")
    def held(request: Request, user: CurrentUser) -> Any:
        HELD.wait()
        return who(request)

    @app.websocket("/socket")
    async def websocket(websocket: WebSocket, user: CurrentUser) -> None:
        await socket(websocket)

    app.websocket("/socket/public")(bare_socket)

    @app.websocket("/socket/opened")
    @opened
    async def opened_socket(websocket: WebSocket) -> None:
        await bare_socket(websocket)

    @app.websocket("/socket/totp", dependencies=[Depends(RequireAuth(factors={"totp"}))])
    async def totp_socket(websocket: WebSocket) -> None:
        await socket(websocket)

    @app.websocket("/socket/strict", dependencies=[Depends(RequireAuth(max_staleness=0))])
    async def strict_socket(websocket: WebSocket) -> None:
        await socket(websocket)

    @app.post("/upload")
    async def upload(request: Request, file: UploadFile, user: CurrentUser, session: CurrentSession) -> Any:
        runs.append(request.method)
        content = await file.read()
        await asyncio.sleep(len(content) % 7 / 1000)
        return {"user": user.id, "session": session.id, "again": request.state.moonkey.user.id}

    return app
