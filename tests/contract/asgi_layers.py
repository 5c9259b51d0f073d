"""Layers of Starlette and FastAPI between MoonKey and a gate."""

# No quoted annotations here: FastAPI reads them.

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Security
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from moonkey_core import Auth, AuthenticatedAuth
from moonkey_core.gate import require
from moonkey_starlette import MoonKeyMiddleware, get_auth, require_auth
from moonkey_starlette.fastapi import CurrentSession, CurrentUser, RequireAuth

Options = Mapping[str, Any]
WRITERS = require_auth(scopes={"write"})
GATES: dict[str, Any] = {"me": require_auth, "write": WRITERS}
FASTAPI_GATES = {"me": RequireAuth(), "write": RequireAuth(scopes={"write"})}


class CatchAll:
    """Middleware that makes a 500 of all exceptions."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:
            if scope["type"] == "http":
                await JSONResponse({"foreign": 500}, 500)(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).close(1011)


async def catching(request: Request, call_next: Callable[[Request], Any]) -> Response:
    try:
        found: Response = await call_next(request)
    except Exception:
        return JSONResponse({"foreign": 500}, 500)
    return found


def polite(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows HTTP exceptions, and makes a 500 of all others."""

    @functools.wraps(endpoint)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await endpoint(*args, **kwargs)
        except StarletteHTTPException:
            raise
        except Exception:
            return JSONResponse({"foreign": 500}, 500)

    return guarded


def shown(request: Request) -> Response:
    auth: Auth = request.state.moonkey
    return JSONResponse({"user": require(auth).user.id})


def sync_me(request: Request) -> Response:
    return shown(request)


async def async_me(request: Request) -> Response:
    return shown(request)


async def own(request: Request) -> Response:
    """No gate, but the core's function."""
    return JSONResponse({"user": require(await get_auth(request)).user.id})


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("here")
    await websocket.close()


def routes() -> list[Any]:
    found: list[Any] = [Route("/own/me", own)]
    for name, gate in GATES.items():
        found += [
            Route(f"/sync/{name}", gate(sync_me)),
            Route(f"/async/{name}", gate(async_me)),
            Route(f"/polite/{name}", polite(gate(async_me))),
            Route(f"/class/{name}", type("Me", (HTTPEndpoint,), {"get": gate(_method)})),
            Route(f"/sync-class/{name}", type("Me", (HTTPEndpoint,), {"get": gate(_sync_method)})),
            WebSocketRoute(f"/socket/{name}", gate(socket)),
            WebSocketRoute(f"/socket-class/{name}", greeting(gate)),
        ]
    return found


async def _method(self: HTTPEndpoint, request: Request) -> Response:
    return shown(request)


def _sync_method(self: HTTPEndpoint, request: Request) -> Response:
    return shown(request)


def greeting(gate: Any) -> Any:
    return type("Socket", (WebSocketEndpoint,), {"on_connect": gate(_on_connect)})


async def _on_connect(self: WebSocketEndpoint, websocket: WebSocket) -> None:
    await socket(websocket)


class PoliteRoute(APIRoute):
    """A class of routes that knows HTTP exceptions, as FastAPI's documentation shows it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await usual(request)
            except HTTPException:
                raise
            except Exception:
                return JSONResponse({"foreign": 500}, 500)

        return handle


async def transaction() -> AsyncIterator[None]:
    """A dependency with an exit that knows HTTP exceptions."""
    try:
        yield
    except HTTPException:
        raise
    except Exception as error:
        raise HTTPException(500, "foreign") from error


def add_fastapi(app: FastAPI) -> None:
    app.get("/current/me")(_current)
    app.get("/session/me")(_session)
    app.get("/sync-current/me")(_sync_current)
    app.websocket("/socket-current/me")(_current_socket)
    for name, gate in FASTAPI_GATES.items():
        app.get(f"/depends/{name}")(_depending(gate))
        app.get(f"/dependencies/{name}", dependencies=[Depends(gate)])(_state)
        for place, router in (
            ("router", APIRouter(dependencies=[Depends(gate)])),
            ("route-class", APIRouter(dependencies=[Depends(gate)], route_class=PoliteRoute)),
            ("transaction", APIRouter(dependencies=[Depends(transaction), Depends(gate)])),
        ):
            router.get(f"/{place}/{name}")(_state)
            app.include_router(router)
        app.websocket(f"/socket-depends/{name}", dependencies=[Depends(gate)])(_socket)


async def _current(user: CurrentUser) -> Any:
    return {"user": user.id}


def _sync_current(user: CurrentUser) -> Any:
    return {"user": user.id}


async def _session(session: CurrentSession) -> Any:
    return {"user": session.user_id}


async def _state(request: Request) -> Any:
    return {"user": request.state.moonkey.user.id}


async def _socket(websocket: WebSocket) -> None:
    await socket(websocket)


async def _current_socket(websocket: WebSocket, user: CurrentUser) -> None:
    await socket(websocket)


def _depending(gate: RequireAuth) -> Callable[..., Any]:
    async def me(auth: Annotated[AuthenticatedAuth, Security(gate)]) -> Any:
        return {"user": auth.user.id}

    return me


async def their_answer(request: Request, error: Exception) -> Response:
    return JSONResponse({"foreign": "handler"}, 418)


def their_sync_answer(request: Request, error: Exception) -> Response:
    return JSONResponse({"foreign": "handler"}, 418)


Make = Callable[..., Any]


def starlette_app(**more: Any) -> Starlette:
    return Starlette(routes=routes(), **more)


def fastapi_app(**more: Any) -> FastAPI:
    app = FastAPI(routes=routes(), **more)
    add_fastapi(app)
    return app


def alone(make: Make, options: Options) -> ASGIApp:
    app = make()
    app.add_middleware(MoonKeyMiddleware, **options)
    return app  # type: ignore[no-any-return]


def inside(make: Make, options: Options) -> ASGIApp:
    app = make()
    app.add_middleware(CatchAll)
    app.add_middleware(MoonKeyMiddleware, **options)
    return app  # type: ignore[no-any-return]


def inside_as_base(make: Make, options: Options) -> ASGIApp:
    app = make()
    app.add_middleware(BaseHTTPMiddleware, dispatch=catching)
    app.add_middleware(MoonKeyMiddleware, **options)
    return app  # type: ignore[no-any-return]


def outside(make: Make, options: Options) -> ASGIApp:
    app = make()
    app.add_middleware(MoonKeyMiddleware, **options)
    app.add_middleware(BaseHTTPMiddleware, dispatch=catching)
    app.add_middleware(CatchAll)
    return app  # type: ignore[no-any-return]


def mounted(make: Make, options: Options) -> ASGIApp:
    inner = make()
    inner.add_middleware(CatchAll)
    app = make()
    app.router.routes[:] = [Mount("/", inner)]
    app.add_middleware(CatchAll)
    app.add_middleware(MoonKeyMiddleware, **options)
    return app  # type: ignore[no-any-return]


def wrapped(make: Make, options: Options) -> ASGIApp:
    return MoonKeyMiddleware(CatchAll(make()), **options)


def hidden(make: Make, options: Options) -> ASGIApp:
    """Behind a layer that does not say what is inside."""
    inner = CatchAll(make())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    return MoonKeyMiddleware(app, **options)


class Copying:
    """Middleware that hands on a copy of the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(dict(scope), receive, send)


def copied(make: Make, options: Options) -> ASGIApp:
    app = make()
    app.add_middleware(CatchAll)
    app.add_middleware(Copying)
    app.add_middleware(MoonKeyMiddleware, **options)
    return app  # type: ignore[no-any-return]


def with_handlers(make: Make, options: Options) -> ASGIApp:
    handlers: dict[Any, Any] = {
        401: their_answer,
        403: their_sync_answer,
        503: their_answer,
        HTTPException: their_answer,
        StarletteHTTPException: their_sync_answer,
    }
    app = make(exception_handlers=handlers)
    app.add_middleware(CatchAll)
    app.add_middleware(MoonKeyMiddleware, **options)
    return app  # type: ignore[no-any-return]


def lazy(make: Make, options: Options) -> ASGIApp:
    return inside(make, {**options, "lazy": True})


ARRANGEMENTS = (alone, inside, inside_as_base, outside, mounted, wrapped, hidden, copied, with_handlers, lazy)
MAKERS: dict[str, Make] = {"starlette": starlette_app, "fastapi": fastapi_app}
GATED = {
    "starlette": ("sync", "async", "polite", "class", "sync-class"),
    "fastapi": ("async", "polite", "depends", "dependencies", "router", "route-class", "transaction"),
}
READING = {"starlette": ("own",), "fastapi": ("own", "current", "sync-current", "session")}
SOCKETS = {
    "starlette": ("socket", "socket-class"),
    "fastapi": ("socket", "socket-depends"),
}


def site(framework: str, options: Options) -> ASGIApp:
    """All arrangements, each below its name."""
    make = MAKERS[framework]
    return Starlette(
        routes=[Mount(f"/{arrange.__name__}", arrange(make, options)) for arrange in ARRANGEMENTS],
    )
