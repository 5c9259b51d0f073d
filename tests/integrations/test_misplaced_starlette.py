"""Starlette and FastAPI: gates that protect nothing keep the app from starting, and from answering."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Security, WebSocket
from integrations.starlette_visits import drive, plain, scope
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import moonkey_django
import moonkey_flask
from moonkey_core import Auth, ConfigurationError, Session, User
from moonkey_starlette import MoonKeyMiddleware, require_auth, session_routes
from moonkey_starlette.fastapi import CurrentAuth, CurrentSession, CurrentUser, RequireAuth

SETTINGS: dict[str, Any] = {"secret_key": "sk_test_of_nobody", "base_url": "http://127.0.0.1:9"}
OURS = Middleware(MoonKeyMiddleware, **SETTINGS)

Write = Callable[[FastAPI], None]


def made(**more: Any) -> FastAPI:
    app = FastAPI(**more)
    app.add_middleware(MoonKeyMiddleware, **SETTINGS)
    return app


def started(app: ASGIApp) -> Message:
    """What the server is told of the start."""
    sent: list[Message] = []

    async def start() -> None:
        left = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Message:
            return left.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        raised: str | None = None
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        except ConfigurationError as error:
            raised = str(error)
        # What neither starts nor raises may be waited for.
        assert sent[0] == (
            {"type": "lifespan.startup.complete"}
            if raised is None
            else {"type": "lifespan.startup.failed", "message": raised}
        )

    asyncio.run(start())
    return sent[0]


def asked(app: ASGIApp, path: str = "/me", body: bytes = b"", **more: Any) -> int:
    """The status of a GET without any credential."""
    events: list[Message] = [
        {"type": "http.request", "body": body, "more_body": False},
        {"type": "http.disconnect"},
    ]
    headers = [(b"host", b"inner.example"), (b"content-type", b"application/json")]
    sent = asyncio.run(drive(app, scope(path=path, headers=headers, **more), events))
    status: int = next(one["status"] for one in sent if one["type"] == "http.response.start")
    return status


def refuses(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> str:
    """Whether an app neither starts nor answers; what is said about it."""
    told = started(app)
    assert told["type"] == "lifespan.startup.failed"
    with pytest.raises(ConfigurationError) as caught, TestClient(app):  # which would wait for the app for ever
        raise AssertionError
    assert str(caught.value) == told["message"]
    for path in ("/health", "/me", "/me"):
        assert asked(app, path) == 500
    assert told["message"] in caplog.text
    return str(told["message"])


def timed(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return await endpoint(*args, **kwargs)

    return inner


def opaque(app: ASGIApp) -> ASGIApp:
    """A layer of which nothing is known."""

    async def layer(asgi_scope: Scope, receive: Receive, send: Send) -> None:
        await app(asgi_scope, receive, send)

    return layer


def directly(app: FastAPI) -> None:
    @require_auth
    @app.get("/me")
    async def me(request: Request) -> str:
        return "open"


def blocking(app: FastAPI) -> None:
    @require_auth(max_staleness=0)
    @app.api_route("/me", methods=["GET", "POST"])
    def me(request: Request) -> str:
        return "open"


def in_routers(app: FastAPI) -> None:
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")

    @require_auth
    @inner.get("/me")
    async def me(request: Request) -> str:
        return "open"

    outer.include_router(inner)
    app.include_router(outer)


def in_a_mounted_app(app: FastAPI) -> None:
    inner = FastAPI()
    directly(inner)
    app.mount("/inner", opaque(inner))


def of_a_websocket(app: FastAPI) -> None:
    @require_auth
    @app.websocket("/me")
    async def me(websocket: WebSocket) -> None:
        await websocket.accept()


def of_middleware(app: FastAPI) -> None:
    @require_auth
    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Any:
        return await call_next(request)


def below_another(app: FastAPI) -> None:
    @timed
    @require_auth
    @app.get("/me")
    async def me(request: Request) -> str:
        return "open"


def above_another(app: FastAPI) -> None:
    @require_auth
    @app.get("/me")
    @timed
    async def me(request: Request) -> str:
        return "open"


def above_another_and_the_route(app: FastAPI) -> None:
    @require_auth
    @timed
    @app.get("/me")
    async def me(request: Request) -> str:
        return "open"


def stricter_than_the_one_below(app: FastAPI) -> None:
    @require_auth(roles={"admin"})
    @app.get("/me")
    @require_auth
    async def me(request: Request) -> str:
        return "open"


def on_a_dependency(app: FastAPI) -> None:
    async def guard(request: Request) -> None:
        return None

    require_auth(guard)

    @app.get("/me", dependencies=[Depends(guard)])
    async def me() -> str:
        return "open"


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("write", "said"),
    [
        (directly, 'GET /me is open to everybody.*first @app.get\\("/me"\\), then @require_auth, then def me'),
        (blocking, 'GET/POST /me is open.*first @app.route\\("/me"\\)'),
        (in_routers, "GET /outer/inner/me is open"),
        (in_a_mounted_app, "GET /inner/me is open"),
        (of_a_websocket, 'WEBSOCKET /me is open.*first @app.websocket\\("/me"\\)'),
        (of_middleware, "first @app.middleware"),
        (above_another_and_the_route, "GET /me is open"),
        (stricter_than_the_one_below, "GET /me is open"),
        (below_another, "GET /me is open"),
        (above_another, "GET /me is open"),
        (on_a_dependency, "calls on_a_dependency.guard .*without the @require_auth"),
    ],
)
def test_s26_a_gate_that_nobody_calls(write: Write, said: str, caplog: pytest.LogCaptureFixture) -> None:
    import re

    app = made()
    write(app)
    message = refuses(app, caplog)
    assert re.search(said, message)
    assert "test_misplaced_starlette.py, line " in message


@pytest.mark.long
@pytest.mark.parametrize("mount", [lambda route: route, lambda route: Mount("/x", routes=[route])])
def test_a_gate_that_came_after_the_route(mount: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def me(request: Request) -> Response:
        return PlainTextResponse("open")

    app = Starlette(routes=[mount(Route("/me", me))], middleware=[OURS])
    me = require_auth(me)
    assert "me is open" in refuses(app, caplog)


@pytest.mark.parametrize(
    "around",
    [
        lambda route: MoonKeyMiddleware(opaque(Router([route])), **SETTINGS),
        lambda route: Starlette(routes=[Host("inner.example", Router([route]))], middleware=[OURS]),
        lambda route: Starlette(routes=[Mount("", Router([route]), middleware=[OURS])]),
        lambda route: Starlette(routes=[Route("/me", route.endpoint, middleware=[OURS])]),
    ],
)
def test_wherever_the_middleware_stands(around: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def me(request: Request) -> Response:
        return PlainTextResponse("open")

    app = around(Route("/me", me))
    me = require_auth(me)
    assert asked(app) == 500
    assert "is open to everybody" in caplog.text


def test_routes_that_are_added_while_the_app_starts(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        directly(app)
        yield

    app = made(lifespan=lifespan)
    assert started(app)["type"] == "lifespan.startup.complete"
    assert asked(app) == 500


@pytest.mark.parametrize("make", [made, lambda: Starlette(middleware=[OURS])])
def test_an_endpoint_that_is_replaced(make: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    async def me(request: Request) -> Response:
        return PlainTextResponse("open")

    app = make()
    app.get("/me")(me) if isinstance(app, FastAPI) else app.router.add_route("/me", me)
    app.routes[-1].endpoint = require_auth(me)
    assert "still calls it without" in refuses(app, caplog)


# --- Parameters of FastAPI


def alias_as_default(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user=CurrentUser) -> str:  # type: ignore[no-untyped-def]
        return "open"


def alias_as_typed_default(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user: User = CurrentUser) -> str:  # type: ignore[assignment]
        return "open"


def auth_as_default(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user=CurrentAuth) -> str:  # type: ignore[no-untyped-def]
        return "open"


def gate_as_default(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user=RequireAuth()) -> str:  # type: ignore[no-untyped-def]  # noqa: B008
        return "open"


def class_as_default(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user=RequireAuth) -> str:  # type: ignore[no-untyped-def]
        return "open"


def function_as_default(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user=require_auth) -> str:  # type: ignore[no-untyped-def]
        return "open"


def user_from_the_body(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user: User) -> str:
        return "open"


def session_from_the_body(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user: Session | None = None) -> str:
        return "open"


def optional_alias(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user: CurrentUser | None = None) -> str:
        return "open"


def alias_in_metadata(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user: Annotated[User, CurrentUser]) -> str:
        return "open"


def in_a_dependency(app: FastAPI) -> None:
    async def name(user=CurrentUser) -> str:  # type: ignore[no-untyped-def]
        return "open"

    @app.get("/me")
    async def me(user: str = Depends(name)) -> str:
        return "open"


def unreadable(app: FastAPI) -> None:
    async def me(user: Any) -> str:
        return "open"

    me.__annotations__["user"] = "nowhere.CurrentUser"
    app.get("/me")(me)


def of_a_router(app: FastAPI) -> None:
    async def guard(user=CurrentUser) -> None:  # type: ignore[no-untyped-def]
        return None

    router = APIRouter()

    @router.get("/me")
    async def me() -> str:
        return "open"

    app.include_router(router, dependencies=[Depends(guard)])


def depends_on_an_alias(app: FastAPI) -> None:
    @app.get("/me")
    async def me(user=Depends(CurrentUser)) -> str:  # type: ignore[no-untyped-def]  # noqa: B008
        return "open"


def on_a_websocket(app: FastAPI) -> None:
    @app.websocket("/me")
    async def me(websocket: WebSocket, user=CurrentUser) -> None:  # type: ignore[no-untyped-def]
        await websocket.accept()


PARAMETERS: list[tuple[Write, str]] = [
    (alias_as_default, "`user: CurrentUser`, without a default"),
    (alias_as_typed_default, "`user: CurrentUser`, without a default"),
    (auth_as_default, "`user: CurrentAuth`, without"),
    (gate_as_default, "`user: Annotated[Auth, Depends(RequireAuth())]`"),
    (class_as_default, "`user: Annotated[Auth, Depends(RequireAuth())]`"),
    (function_as_default, "`user: Annotated[Auth, Depends(RequireAuth())]`"),
    (user_from_the_body, "`user: CurrentUser`"),
    (session_from_the_body, "`user: CurrentSession`"),
    (optional_alias, "`auth: CurrentAuth`, and auth.user"),
    (alias_in_metadata, "`user: CurrentUser`"),
    (in_a_dependency, "of in_a_dependency.name ("),
    (unreadable, "Import CurrentUser, and all that stands with it"),
    (of_a_router, "of of_a_router.guard ("),
    (depends_on_an_alias, "Depends(CurrentUser) protects nothing"),
    (on_a_websocket, "WEBSOCKET /me: the parameter `user`"),
]


@pytest.mark.rule("S26")
@pytest.mark.parametrize(("write", "said"), PARAMETERS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_parameter_that_asks_nobody(write: Write, said: str, caplog: pytest.LogCaptureFixture) -> None:
    app = made()
    write(app)
    assert said in refuses(app, caplog)
    assert asked(app, body=b'{"id": "user_of_somebody_else"}') == 500


@pytest.mark.parametrize(
    "write",
    [
        lambda app: app.get("/me", dependencies=[RequireAuth()]),
        lambda app: app.get("/me", dependencies=[RequireAuth]),
        lambda app: app.get("/me", dependencies=[Depends(require_auth)]),
        lambda app: app.get("/me", dependencies=[Depends(require_auth())]),
        lambda app: app.get("/me", dependencies=[Depends(require_auth(max_staleness=0))]),
        lambda app: app.get("/me", dependencies=[Depends(RequireAuth)]),
    ],
)
def test_what_is_no_dependency(write: Any) -> None:
    async def me() -> str:
        return "open"

    with pytest.raises(TypeError, match=r"Depends\(RequireAuth\(…?\)\)"):
        write(made())(me)


@pytest.mark.parametrize("annotation", [RequireAuth, RequireAuth(), Annotated[User, RequireAuth()]])
def test_what_is_no_annotation(annotation: Any) -> None:
    async def me(user: Any) -> str:
        return "open"

    me.__annotations__["user"] = annotation
    with pytest.raises(TypeError, match=r"Write `auth: Annotated\[Auth, Depends\(RequireAuth\(\)\)\]`"):
        made().get("/me")(me)


# --- What is right


async def own_user(auth: CurrentAuth) -> User | None:
    return auth.user


@pytest.mark.rule("S26")
def test_apps_in_order() -> None:
    app = made(dependencies=[Depends(own_user)])
    router = APIRouter(dependencies=[Depends(RequireAuth())])
    public = made()

    @app.get("/alias")
    async def alias(user: CurrentUser, session: CurrentSession) -> str:
        return "seen"

    @app.get("/gate")
    @timed
    @require_auth
    async def gate(request: Request) -> str:
        return "seen"

    @app.get("/depends")
    async def depends(user: User = Depends(RequireAuth()), auth: Auth = Security(RequireAuth())) -> str:  # noqa: B008
        return "seen"

    @app.get("/default")
    async def default(user: CurrentUser = None) -> str:  # type: ignore[assignment]
        return "seen"

    @app.post("/bodies")
    async def bodies(user: Annotated[User, Body()], others: list[User]) -> int:
        return len(others)

    @app.get("/open")
    async def open_to_all(user: Annotated[User | None, Depends(own_user)]) -> User | None:
        return user

    @router.get("/router")
    async def routed() -> str:
        return "seen"

    async def both(request: Request) -> str:
        return "seen"

    app.get("/private")(require_auth(both))
    app.get("/public")(both)
    public.get("/public")(both)
    app.include_router(router)
    app.mount("/inner", Starlette(routes=[Route("/", require_auth(plain))]))
    assert started(app)["type"] == started(public)["type"] == "lifespan.startup.complete"
    closed = ("/alias", "/gate", "/depends", "/default", "/router", "/private", "/inner/")
    assert [asked(app, path) for path in closed] == [401] * len(closed)
    assert [asked(app, path) for path in ("/open", "/public")] == [200, 200]
    assert asked(public, "/public") == 200


class Page(HTTPEndpoint):
    @require_auth
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("seen")


def test_a_view_that_is_protected_in_another_app() -> None:
    public = Starlette(routes=[Route("/me", plain), Route("/page", Page)], middleware=[OURS])
    private = Starlette(routes=[Route("/me", require_auth(plain))], middleware=[OURS])
    assert [asked(app) for app in (public, private)] == [200, 401]
    assert asked(public, "/page") == 401


def test_session_routes_and_what_is_no_app_of_starlettes() -> None:
    app = Starlette(routes=[session_routes(), Mount("/raw", opaque(PlainTextResponse("raw")))])
    around = MoonKeyMiddleware(app, cookies=True, **SETTINGS)
    assert [asked(around, path) for path in ("/auth/sessions", "/raw/")] == [401, 200]


# --- What is no endpoint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("admin",), r"@require_auth\(roles=\{'admin'\}\)"),
        (("admin", "staff"), "by keyword"),
        ((Page,), "Page is a class: in an endpoint class, decorate its methods"),
        ((staticmethod(plain),), "Write @staticmethod above"),
        ((property(plain),), "Write @property above"),
        ((require_auth,), "was given require_auth"),
        ((Route("/", plain),), "goes on a function or a method, not on a Route"),
        ((Request(scope()),), "was given a Request"),
    ],
)
def test_what_no_gate_can_stand_in_front_of(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        require_auth(*given)


def test_a_dependency_takes_what_it_asks_for_by_keyword() -> None:
    with pytest.raises(TypeError, match=r"RequireAuth takes .*write RequireAuth\(roles=\{'admin'\}\)"):
        RequireAuth(*cast(Any, ("admin",)))


@pytest.mark.parametrize("wrong", [require_auth, require_auth(max_staleness=0)])
def test_the_gate_itself_is_no_endpoint(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = Starlette(routes=[Route("/me", wrong), WebSocketRoute("/ws", plain)], middleware=[OURS])
    assert "calls require_auth itself" in refuses(app, caplog)


@pytest.mark.parametrize(
    "gate", [moonkey_django.require_auth, moonkey_flask.require_auth, moonkey_flask.optional_auth]
)
def test_another_frameworks_gate_is_named(gate: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def me(request: Request) -> Response:
        return PlainTextResponse("open")

    app = Starlette(routes=[Route("/me", timed(gate(me)))], middleware=[OURS])
    message = refuses(app, caplog)
    assert (
        f"the {gate.__name__} of {gate.__module__.partition('.')[0]}, which does not work in Starlette" in message
    )
