"""One public name for an app's own tests, and the OpenAPI document."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import fastapi.routing
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response, Security, WebSocket
from fastapi.exceptions import ResponseValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from moonkey_core import Auth, AuthenticatedAuth, ExpiredCredentials, Session, User, VerifiedSession
from moonkey_core.auth import new_auth
from moonkey_core.emulator import Emulator
from moonkey_core.models import Factor
from moonkey_starlette import MoonKeyMiddleware, shortcuts
from moonkey_starlette.fastapi import (
    CurrentAuth,
    CurrentSession,
    CurrentUser,
    RequireAuth,
    auth_source,
    describe_gates,
    document_cookies,
)
from moonkey_starlette.signatures import all_of

EITHER: list[Any] = [{"MoonKeyBearer": []}, {"MoonKeySessionToken": []}]


def signed_in(*factors: Factor) -> Auth:
    ends = datetime.now(UTC) + timedelta(days=1)
    return new_auth(verified=VerifiedSession(User("user_1"), Session("sess_1", "user_1", ends, factors=factors)))


def site() -> FastAPI:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, secret_key="sk_test_fastapi")

    @app.get("/auth")
    async def auth(auth: CurrentAuth) -> str:
        return auth.state

    @app.get("/user")
    async def user(user: CurrentUser, auth: CurrentAuth) -> str:
        return user.id

    @app.get("/session")
    async def session(session: CurrentSession) -> str:
        return session.id

    router = APIRouter(dependencies=[Depends(RequireAuth())])

    @router.get("/router")
    async def inside() -> str:
        return "inside"

    @router.get("/strong", dependencies=[Depends(RequireAuth(factors={"totp"}, max_staleness=0))])
    async def strong() -> str:
        return "strong"

    @app.get("/open", responses={401: {"description": "Never"}})
    async def everybody() -> str:
        return "open"

    @app.get("/told", responses={401: {"description": "As the app says"}})
    async def told(user: CurrentUser) -> str:
        return user.id

    @app.websocket("/live")
    async def live(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.send_text(user.id)

    app.include_router(router)
    return app


def test_one_name_reaches_all_dependencies() -> None:
    app = site()
    with TestClient(app) as client:
        paths = ("/user", "/session", "/router")
        assert [client.get(path).status_code for path in (*paths, "/strong")] == [401] * 4
        app.dependency_overrides[auth_source] = lambda: signed_in()
        assert client.get("/auth").json() == "authenticated"
        assert [client.get(path).json() for path in paths] == ["user_1", "sess_1", "inside"]
        with client.websocket_connect("/live") as websocket:
            assert websocket.receive_text() == "user_1"


def test_requirements_hold_for_it() -> None:
    app = site()
    with TestClient(app) as client:
        app.dependency_overrides[auth_source] = lambda: signed_in()
        assert client.get("/strong").json()["error"] == "insufficient_user_authentication"
        app.dependency_overrides[auth_source] = lambda: new_auth()
        assert client.get("/auth").json() == "anonymous"
        assert [client.get(path).status_code for path in ("/user", "/session", "/router")] == [401] * 3


def test_another_layer_keeps_its_refusal() -> None:
    app = FastAPI()

    @app.middleware("http")
    async def catch_all(request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            return await call_next(request)
        except Exception:
            return PlainTextResponse("theirs", 500)

    app.add_middleware(MoonKeyMiddleware, secret_key="sk_test_fastapi")

    @app.get("/user")
    async def user(user: CurrentUser) -> str:
        return user.id

    app.dependency_overrides[auth_source] = lambda: new_auth()
    with TestClient(app) as client:
        assert client.get("/user").headers["WWW-Authenticate"] == 'Bearer realm="moonkey"'


def test_it_needs_no_middleware() -> None:
    app = FastAPI()

    @app.get("/user")
    async def user(user: CurrentUser) -> str:
        return user.id

    app.dependency_overrides[auth_source] = lambda: signed_in()
    assert TestClient(app).get("/user").json() == "user_1"


def test_it_may_have_dependencies_of_its_own() -> None:
    app = site()

    async def by_header(x_test: str = Header("")) -> Auth:
        return signed_in() if x_test else new_auth()

    app.dependency_overrides[auth_source] = by_header
    with TestClient(app) as client:
        assert client.get("/user").status_code == 401
        assert client.get("/user", headers={"x-test": "1"}).json() == "user_1"


@pytest.mark.long
@pytest.mark.parametrize("path", ["/auth", "/user", "/session", "/router"])
def test_anything_else_is_told(path: str) -> None:
    app = site()
    app.dependency_overrides[auth_source] = lambda: User("user_1")
    with TestClient(app) as client, pytest.raises(TypeError, match="new_auth"):
        client.get(path)


def dependencies_of(app: FastAPI) -> dict[str, list[str]]:
    """Return all dependencies of each route by its path, direct and indirect."""
    found: dict[str, list[str]] = {}
    expand: Any = getattr(fastapi.routing, "iter_route_contexts", list)  # older versions list them all
    for route in expand(app.routes):
        if (dependant := getattr(route, "dependant", None)) is not None:
            found[str(route.path)] = [type(one.call).__name__ for one in all_of(dependant)][1:]
    return found


def test_only_overrides_bring_back_the_inner_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    app = site()
    in_full = dependencies_of(app)
    assert in_full["/user"] == ["_CurrentUser", "_InnerGate", "_AuthSource", "_CurrentAuth", "_AuthSource"]
    with TestClient(app) as client:
        assert client.get("/user").status_code == 401
        assert dependencies_of(app) == {
            "/auth": ["_CurrentAuth"],
            "/user": ["_CurrentUser", "_CurrentAuth"],
            "/session": ["_CurrentSession"],
            "/told": ["_CurrentUser"],
            "/router": ["RequireAuth"],
            "/strong": ["RequireAuth", "RequireAuth"],
            "/live": ["_CurrentUser"],
            "/open": [],
        }
        calls: list[str] = []

        async def given() -> Auth:
            calls.append("given")
            return signed_in()

        app.dependency_overrides[auth_source] = given
        assert client.get("/user").json() == "user_1"
        assert calls == ["given"]  # once in a request, whatever it depends on
        app.dependency_overrides = {RequireAuth(): lambda: signed_in()}
        assert [client.get(path).json() for path in ("/user", "/session")] == ["user_1", "sess_1"]
        app.dependency_overrides.clear()
        assert [client.get(path).status_code for path in ("/user", "/session", "/router")] == [401] * 3


def several_values(emulator: Emulator) -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        MoonKeyMiddleware, secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer
    )

    @app.get("/both")
    async def both(user: CurrentUser, session: CurrentSession, n: int = 0) -> list[str]:
        return [user.id, session.user_id]

    @app.get("/gated", dependencies=[Depends(RequireAuth())])
    async def gated(request: Request, connection: HTTPConnection, user: CurrentUser) -> list[str]:
        assert request is connection
        return [user.id, user.id]

    @app.get("/sync")
    def in_a_thread(user: CurrentUser, session: CurrentSession) -> list[str]:
        return [user.id, session.user_id]

    @app.get("/wrong")
    async def wrong(user: CurrentUser, session: CurrentSession) -> int:
        return user.id  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    router = APIRouter(dependencies=[Depends(RequireAuth())])

    @router.get("/router/{n}")
    async def inside(session: CurrentSession, auth: CurrentAuth, n: int) -> list[str]:
        assert auth.session == session
        return [session.user_id, session.user_id]

    @router.get("/machines", dependencies=[Depends(RequireAuth(allow_machines=True))])
    async def machines(user: CurrentUser, session: CurrentSession) -> list[str]:
        return [user.id, session.user_id]

    @app.websocket("/live")
    async def live(websocket: WebSocket, user: CurrentUser, session: CurrentSession) -> None:
        await websocket.accept()
        await websocket.send_json([user.id, session.user_id])

    class Handler:
        async def __call__(self, user: CurrentUser, session: CurrentSession) -> list[str]:
            return [user.id, session.user_id]

    handler: Any = Handler()

    @app.get("/object")
    @functools.wraps(handler)
    async def decorated(*args: Any, **given: Any) -> Any:
        return await handler(*args, **given)

    app.include_router(router)
    inner = FastAPI()
    inner.get("/both")(both)
    app.mount("/inner", inner)
    return app


def test_several_values_are_read_behind_one_gate(emulator: Emulator) -> None:
    app, ada = several_values(emulator), emulator.sign_in("ada@example.com")
    header, ids = {"Authorization": f"Bearer {ada.session_jwt}"}, [ada.user_id, ada.user_id]
    paths = ("/both", "/gated", "/sync", "/router/1", "/object", "/machines", "/inner/both")
    document = app.openapi()
    app.openapi_schema = None
    with TestClient(app) as client:
        for _ in range(2):
            assert [client.get(path).status_code for path in (*paths, "/both?n=x", "/router/x")] == [401] * 9
            assert [client.get(path, headers=header).json() for path in paths] == [ids] * 7
            assert client.get("/both?n=x", headers=header).status_code == 422
            with client.websocket_connect("/live", headers=header) as websocket:
                assert websocket.receive_json() == ids
        assert app.openapi() == document
        app.dependency_overrides[auth_source] = lambda: signed_in()
        assert [client.get(path, headers=header).json() for path in paths[:6]] == [["user_1", "user_1"]] * 6
        assert client.get("/inner/both", headers=header).json() == ids  # it has overrides of its own
        app.dependency_overrides = {RequireAuth(): lambda: signed_in()}
        assert client.get("/both", headers=header).json() == ["user_1", "user_1"]
        app.dependency_overrides.clear()
        assert [client.get(path, headers=header).json() for path in paths] == [ids] * 7
        with pytest.raises(ResponseValidationError, match=re.escape(__file__)):
            client.get("/wrong", headers=header)


class Forgetting:
    """A layer inside of the middleware, by which a request has no user any more."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"] == b"forget":
            scope["moonkey"].auth = new_auth()
        await self.app(scope, receive, send)


@pytest.mark.parametrize("path", ["/both", "/gated", "/bare", "/auth"])
def test_no_endpoint_runs_for_a_user_who_was_only_known_before(path: str, emulator: Emulator) -> None:
    app, ran = FastAPI(), list[str]()
    app.add_middleware(Forgetting)
    app.add_middleware(
        MoonKeyMiddleware, secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer
    )

    @app.get("/both")
    async def both(user: CurrentUser, session: CurrentSession) -> None:
        ran.append(user.id)

    @app.get("/gated", dependencies=[Depends(RequireAuth())])
    async def gated(user: CurrentUser) -> None:
        ran.append(user.id)

    @app.get("/bare", dependencies=[Depends(RequireAuth())])
    async def bare() -> None:
        ran.append("bare")

    @app.get("/auth")
    async def auth(auth: Annotated[AuthenticatedAuth, Depends(RequireAuth())]) -> None:
        ran.append(auth.user.id)

    ada = emulator.sign_in("ada@example.com")
    with TestClient(app, headers={"Authorization": f"Bearer {ada.session_jwt}"}) as client:
        assert client.get(path).status_code == 200
        assert client.get(f"{path}?forget").status_code == 401
        assert client.get(path).status_code == 200
    assert len(ran) == 2


def test_the_document_is_the_same_whoever_asks_for_it_first(emulator: Emulator) -> None:
    app, ada = several_values(emulator), emulator.sign_in("ada@example.com")
    header = {"Authorization": f"Bearer {ada.session_jwt}"}
    document = several_values(emulator).openapi()
    assert document["paths"]["/gated"]["get"]["security"] == EITHER
    with TestClient(app) as client:
        assert client.get("/gated", headers=header).status_code == 200
        assert client.get("/openapi.json", headers=header).json() == document


def test_the_installed_fastapi_serves_shortened_routes() -> None:
    """Where it fails, apps work as before, and slower: ``moonkey_starlette.shortcuts`` has to follow FastAPI."""
    assert shortcuts.fits_fastapi()


@pytest.mark.parametrize("way", ["shortened", "whole", "never tells"])
def test_whether_routes_are_shortened_changes_no_answer(
    way: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a FastAPI that does not go along at all, and in one that calls something else than ``app``."""
    if way == "whole":
        monkeypatch.setattr(shortcuts, "fits_fastapi", lambda: False)
    elif way == "never tells":
        monkeypatch.setattr(shortcuts, "_entrance", lambda app, left_out: app)
    asked, call = list[str](), RequireAuth.__call__

    async def counted(self: RequireAuth, connection: HTTPConnection, given: Any = None) -> AuthenticatedAuth:
        asked.append(connection.scope["path"])
        return await call(self, connection) if given is None else await call(self, connection, given)

    app, ada = several_values(emulator), emulator.sign_in("ada@example.com")
    monkeypatch.setattr(RequireAuth, "__call__", counted)
    header, ids = {"Authorization": f"Bearer {ada.session_jwt}"}, [ada.user_id, ada.user_id]
    with TestClient(app) as client:
        for path in ("/gated", "/router/1"):
            assert client.get(path, headers=header).json() == ids
            assert client.get(path).status_code == 401
            assert client.get("/router/x", headers=header).status_code == 422
    assert (asked.count("/gated"), asked.count("/router/1")) == ((1, 1) if way == "shortened" else (2, 2))


@pytest.mark.parametrize("kind", ["own", "included"])
def test_a_document_that_an_endpoint_makes_is_whole(kind: str, emulator: Emulator) -> None:
    app, ada = several_values(emulator), emulator.sign_in("ada@example.com")
    router = app.router if kind == "own" else APIRouter(dependencies=[Depends(RequireAuth())])

    @router.get("/document")
    async def document(user: CurrentUser) -> dict[str, Any]:
        return describe_gates(get_openapi(title="Own", version="1", routes=app.routes))

    if kind == "included":
        app.include_router(router)
    with TestClient(app, headers={"Authorization": f"Bearer {ada.session_jwt}"}) as client:
        assert client.post("/document").status_code == 405
        paths = client.get("/document").json()["paths"]
        assert paths == app.openapi()["paths"]
    assert paths["/document"]["get"]["security"] == EITHER


def test_where_the_user_is_known_other_dependencies_remain(emulator: Emulator) -> None:
    app, ran = FastAPI(), list[str]()
    app.add_middleware(
        MoonKeyMiddleware, secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer
    )

    async def own(user: CurrentUser) -> str:
        ran.append("own")
        return user.id

    @app.get("/own")
    async def mine(user: CurrentUser, given: str = Depends(own)) -> bool:  # a local name
        return user.id == given

    @app.get("/strong", dependencies=[Depends(RequireAuth()), Depends(RequireAuth(roles={"admin"}))])
    async def strong() -> None:
        ran.append("strong")

    ada = emulator.sign_in("ada@example.com")
    with TestClient(app) as client:
        assert client.get("/own").status_code == 401
        assert ran == []
        client.headers["Authorization"] = f"Bearer {ada.session_jwt}"
        assert client.get("/own").json() is True
        assert client.get("/strong").status_code == 403
    assert ran == ["own"]


def test_only_the_first_of_several_values_is_a_dependency_of_a_request(emulator: Emulator) -> None:
    app = several_values(emulator)
    expand: Any = getattr(fastapi.routing, "iter_route_contexts", list)
    with TestClient(app):
        found = {
            str(route.path): [type(one.call).__name__ for one in route.dependant.dependencies]
            for route in expand(app.routes)
            if getattr(route, "dependant", None) is not None
        }
    assert found["/both"] == ["_CurrentUser"]
    assert found["/gated"] == ["RequireAuth"]
    assert found["/router/{n}"] == ["RequireAuth", "_CurrentAuth"]
    assert found["/object"] == ["_CurrentUser"]
    assert found["/machines"] == ["RequireAuth", "RequireAuth"]
    assert found["/sync"] == ["_CurrentUser", "_CurrentSession"]


def test_a_subclass_keeps_the_dependencies_of_its_own() -> None:
    own: Any = Security(auth_source)

    class WithHeader(RequireAuth):
        async def __call__(
            self, connection: HTTPConnection, given: Any = own, x_test: str = Header("")
        ) -> AuthenticatedAuth:
            assert x_test == "1"
            return await super().__call__(connection, given)

    class InFull(RequireAuth):
        async def __call__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            self, connection: HTTPConnection, given: Annotated[Any, Security(auth_source)]
        ) -> AuthenticatedAuth:
            assert given is None or isinstance(given, Auth)
            return await super().__call__(connection, given)

    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, secret_key="sk_test_fastapi")
    for number, gate in enumerate((WithHeader(), InFull())):
        app.get(f"/{number}", dependencies=[Depends(gate)])(lambda: "in")
    with TestClient(app, headers={"x-test": "1"}) as client:
        assert [client.get(path).status_code for path in ("/0", "/1")] == [401, 401]
        assert dependencies_of(app) == {"/0": ["WithHeader"], "/1": ["InFull", "_AuthSource"]}
        app.dependency_overrides[auth_source] = lambda: signed_in()
        assert [client.get(path).json() for path in ("/0", "/1")] == ["in", "in"]


@pytest.mark.parametrize("is_started", [False, True])
def test_the_document_without_a_server(is_started: bool) -> None:
    app = site()
    if is_started:
        with TestClient(app) as client:  # the middleware has changed the routes
            client.get("/user")
    document = app.openapi()
    operations: dict[str, Any] = {path: one["get"] for path, one in document["paths"].items()}
    assert operations["/auth"]["security"] == [{}, *EITHER]
    assert set(operations["/auth"]["responses"]) == {"200"}
    for path in ("/user", "/session", "/router", "/strong", "/told"):
        assert operations[path]["security"] == EITHER
        assert set(operations[path]["responses"]) == {"200", "400", "401", "403", "503"}
    assert "security" not in operations["/open"]
    assert set(operations["/open"]["responses"]) == {"200", "401"}
    assert operations["/told"]["responses"]["401"]["description"] == "As the app says"
    refused = operations["/user"]["responses"]["401"]
    reference = refused["content"]["application/problem+json"]["schema"]["$ref"]
    assert reference.rpartition("/")[2] in document["components"]["schemas"]
    assert "WWW-Authenticate" in refused["headers"]
    assert "Retry-After" in operations["/user"]["responses"]["503"]["headers"]
    assert set(document["components"]["securitySchemes"]) == {"MoonKeyBearer", "MoonKeySessionToken"}
    assert app.openapi() is document
    assert operations["/auth"]["security"] == [{}, *EITHER]


@pytest.mark.long
def test_the_problem_model_is_that_of_a_refusal() -> None:
    app = site()
    model = app.openapi()["components"]["schemas"]["MoonKeyProblem"]
    with TestClient(app) as client:
        for who in (new_auth(), signed_in(), new_auth(error=ExpiredCredentials())):
            app.dependency_overrides[auth_source] = lambda who=who: who
            problem = client.get("/strong").json()
            assert set(model["required"]) <= set(problem) <= set(model["properties"])


def test_a_document_that_the_app_makes_itself() -> None:
    app = site()
    assert (
        describe_gates(get_openapi(title="Own", version="1", routes=app.routes))["paths"] == app.openapi()["paths"]
    )
    assert describe_gates({"paths": {}}) == {"paths": {}}


def test_with_cookies_in_it() -> None:
    app = site()
    document_cookies(app)
    document = app.openapi()
    cookie: Any = {"MoonKeySessionCookie": []}
    assert document["paths"]["/auth"]["get"]["security"] == [{}, *EITHER, cookie]
    assert document["paths"]["/user"]["get"]["security"] == [*EITHER, cookie]


def test_an_app_without_gates_keeps_its_document() -> None:
    app = FastAPI()

    @app.get("/open")
    async def everybody() -> str:
        return "open"

    assert "components" not in app.openapi()
    assert set(app.openapi()["paths"]["/open"]["get"]["responses"]) == {"200"}
