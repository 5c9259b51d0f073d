"""A portal: an app of Starlette with tokens of Auth0, mounted below another one that knows nothing of it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from moonkey_core import Auth0
from moonkey_starlette import AuthenticatedRequest, MoonKeyMiddleware, public, require_auth

AUTH0 = Auth0("acme.eu.auth0.com", "https://api.acme.example", roles_claim="https://acme.example/roles")


@require_auth
async def me(request: AuthenticatedRequest) -> JSONResponse:
    return JSONResponse({"user_id": request.state.moonkey.user.id})


@require_auth(scopes={"reports:read"}, roles={"analyst"})
async def reports(request: Request) -> JSONResponse:
    return JSONResponse([])


@require_auth
async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.state.moonkey.user.id)
    await websocket.close()


@public(reason="a probe")
async def status(request: Request) -> PlainTextResponse:
    return PlainTextResponse("up")


portal = Starlette(
    routes=[Route("/me", me), Route("/reports", reports), WebSocketRoute("/live", live)],
    middleware=[Middleware(MoonKeyMiddleware, provider=AUTH0)],
)
app = Starlette(routes=[Route("/status", status), Mount("/portal", portal)])
