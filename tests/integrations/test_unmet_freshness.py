"""A gate asks for a JWT to be fresher than it has to be, and its provider cannot be asked: that is refused early.

That is at the start where the gate is among the routes, else at its first call, whatever the age of the JWT.
"""

from __future__ import annotations

import time
import types
from collections.abc import Callable
from typing import Annotated, Any

import flask_socketio  # type: ignore[import-untyped]
import pytest
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView, View
from fastapi import Depends, FastAPI, WebSocket
from flask import Blueprint, Flask
from flask.views import MethodView
from integrations.django_visits import Visit, visit_asgi, visit_wsgi
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey
from moonkey_core.client import Pending
from moonkey_core.gate import RequirementOptions, Requirements
from moonkey_core.provider import OIDC, Introspection, KeySource
from moonkey_flask import FlaskMoonKey, optional_auth
from moonkey_starlette import MoonKeyMiddleware, get_auth
from moonkey_starlette.fastapi import RequireAuth
from support.foreign_tokens import AUDIENCE, ISSUER, key_set, provider, token

SAID = r"max_staleness=60, but the provider 'plain' cannot be asked"
UNASKED: dict[str, Any] = {"provider": provider()}
STRICT: RequirementOptions = {"max_staleness": 60}
NOTHING: RequirementOptions = {}


def fresh() -> dict[str, str]:
    """A JWT of this moment, which even a strict gate would let pass."""
    now = int(time.time())
    return {"Authorization": f"Bearer {token(iat=now - 1, exp=now + 3600)}"}


def asked_issuer(**more: Any) -> OIDC:
    """A provider that can be asked about its JWTs. Nobody listens there."""
    url = "http://127.0.0.1:9/introspect"
    found = Introspection(url, client_id="app", client_secret="s" * 32)
    return OIDC(ISSUER, AUDIENCE, keys=key_set(), introspection=found, **more)


CLIENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "a provider that can be asked": lambda: {"provider": asked_issuer(), "cache_secret": "c" * 32},
    "MoonKey": lambda: {"secret_key": "sk_test_of_nobody"},
    "a short life": lambda: {"provider": provider(longest_life=50, leeway=10)},
}
"""Clients whose routes may have any of the requirements of this file."""


class TestTheClient:
    @pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
    def test_what_can_be_kept(self, options: Callable[[], dict[str, Any]]) -> None:
        with MoonKey(**options()) as client:
            client.check_requirements(Requirements(max_staleness=60, factors={"totp"}))

    @pytest.mark.parametrize("most", [0, 60, 86_400])
    def test_what_cannot(self, most: float) -> None:
        with MoonKey(provider=provider()) as client:
            for harmless in (Requirements(), Requirements(max_staleness=86_405), Requirements(grace_seconds=0)):
                client.check_requirements(harmless)
                assert client.authenticate(fresh(), harmless).is_authenticated
            asked = Requirements(max_staleness=most)
            with pytest.raises(ConfigurationError, match=f"max_staleness={most:g}, but"):
                client.check_requirements(asked)
            for headers in ({}, fresh()):
                with pytest.raises(ConfigurationError, match=f"max_staleness={most:g}, but"):
                    client.authenticate(headers, asked)

    def test_the_call_that_continues(self) -> None:
        """A gate is stricter than what the verification began with."""
        with MoonKey(provider=provider(KeySource(url="http://127.0.0.1:9/keys"))) as client:
            begun = client.begin(fresh())
            assert isinstance(begun, Pending)
            with pytest.raises(ConfigurationError, match="cannot be asked"):
                client.finish(begun, Requirements(max_staleness=60))

    def test_each_of_several_providers(self) -> None:
        """No credential of the other one is needed to find it."""
        other = OIDC("https://other.example.com", AUDIENCE, keys=key_set(), name="other")
        with MoonKey(providers=[provider(), other]) as client:
            for headers in ({}, fresh()):
                with pytest.raises(ConfigurationError, match="'plain'"):
                    client.authenticate(headers, Requirements(max_staleness=60))
        with MoonKey(providers=[asked_issuer(name="asked"), other], cache_secret="c" * 32) as client:
            with pytest.raises(ConfigurationError, match="'other'"):
                client.check_requirements(Requirements(max_staleness=60))
            assert client.authenticate(fresh(), Requirements()).is_authenticated


# --- Flask


def flask_app(**more: Any) -> Flask:
    app = Flask("unmet")
    FlaskMoonKey(app, **(more or UNASKED))
    app.get("/health", endpoint="health")(lambda: "up")
    return app


def flask_status(app: Flask, path: str = "/health") -> int:
    return app.test_client().get(path, headers=fresh()).status_code


def of_a_view(app: Flask) -> None:
    app.get("/me", endpoint="me")(moonkey_flask.require_auth(**STRICT)(lambda: "open"))


def of_an_optional_view(app: Flask) -> None:
    app.get("/me", endpoint="me")(optional_auth(max_staleness=60)(lambda: "open"))


def of_a_class(app: Flask) -> None:
    class Me(MethodView):
        decorators = [moonkey_flask.require_auth(**STRICT)]

        def get(self) -> str:
            return "open"

    app.add_url_rule("/me", view_func=Me.as_view("me"))


def of_a_method(app: Flask) -> None:
    class Me(MethodView):
        @moonkey_flask.require_auth(**STRICT)
        def get(self) -> str:
            return "open"

    app.add_url_rule("/me", view_func=Me.as_view("me"))


def of_a_blueprint(app: Flask) -> None:
    inner = Blueprint("inner", __name__)
    inner.before_request(moonkey_flask.require_auth(**STRICT)(lambda: None))
    inner.get("/me", endpoint="me")(lambda: "open")
    app.register_blueprint(inner)


FLASK = [of_a_view, of_an_optional_view, of_a_class, of_a_method, of_a_blueprint]


@pytest.mark.parametrize("write", FLASK)
def test_flask_refuses_every_request(write: Callable[[Flask], None], caplog: pytest.LogCaptureFixture) -> None:
    app = flask_app()
    write(app)
    app.testing = False
    assert [flask_status(app), flask_status(app)] == [500, 500]
    assert "max_staleness=60, but the provider 'plain'" in caplog.text


@pytest.mark.parametrize("write", FLASK)
@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
def test_flask_starts_where_it_can_be_kept(write: Callable[[Flask], None], options: Callable[[], Any]) -> None:
    app = flask_app(**options())
    write(app)
    assert flask_status(app) == 200


@pytest.mark.parametrize("reads_first", [False, True])
def test_flask_refuses_a_gate_that_is_made_in_a_view_at_its_first_call(reads_first: bool) -> None:
    app = flask_app()

    @app.get("/me")
    def me() -> Any:
        assert not reads_first or moonkey_flask.current_auth.is_authenticated
        return moonkey_flask.require_auth(**STRICT)(lambda: "open")()

    assert [flask_status(app), flask_status(app, "/me")] == [200, 500]


def test_socketio_refuses_a_gate_that_is_made_in_a_handler_at_its_first_call() -> None:
    app = flask_app()
    socketio = flask_socketio.SocketIO(app, async_mode="threading")
    for namespace, demand in (("/", NOTHING), ("/strict", STRICT)):

        def connect(auth: Any = None, demand: RequirementOptions = demand) -> Any:
            return moonkey_flask.require_auth(**demand)(lambda: None)()  # made too late to be found before

        socketio.on("connect", namespace=namespace)(connect)
    client = socketio.test_client(app, namespace="/", headers=fresh())
    client.connect("/strict", headers=fresh())
    assert (client.is_connected("/"), client.is_connected("/strict")) == (True, False)


def on_an_event(sockets: Any) -> None:
    sockets.on("news")(moonkey_flask.require_auth(**STRICT)(lambda: None))


def in_a_namespace(sockets: Any) -> None:
    gate: Any = moonkey_flask.require_auth(**STRICT)
    gated = gate(lambda self: None)
    sockets.on_namespace(type("News", (flask_socketio.Namespace,), {"on_news": gated})("/news"))


@pytest.mark.parametrize("write", [on_an_event, in_a_namespace])
@pytest.mark.parametrize("first", ["a connection", "a request"])
def test_socketio_refuses_from_the_start_what_another_event_asks(
    write: Callable[[Any], None], first: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = flask_app()
    app.testing = False
    socketio = flask_socketio.SocketIO(app, async_mode="threading")
    socketio.on("connect")(lambda auth=None: None)
    write(socketio)
    if first == "a request":
        assert flask_status(app) == 500
    else:
        assert not socketio.test_client(app, headers=fresh()).is_connected()
    assert "max_staleness=60, but the provider 'plain'" in caplog.text


@pytest.mark.parametrize("write", [on_an_event, in_a_namespace])
@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
def test_socketio_connects_where_it_can_be_kept(write: Callable[[Any], None], options: Callable[[], Any]) -> None:
    app = flask_app(**options())
    socketio = flask_socketio.SocketIO(app, async_mode="threading")
    socketio.on("connect")(lambda auth=None: None)
    write(socketio)
    assert socketio.test_client(app, headers=fresh()).is_connected()


# --- Django


@method_decorator(moonkey_django.require_auth(max_staleness=60), name="dispatch")
class Decorated(TemplateView):
    pass


@method_decorator([never_cache, moonkey_django.require_auth(max_staleness=60)], name="get")
class OneMethod(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("open")


class OnItself(View):
    @method_decorator(moonkey_django.require_auth(max_staleness=60))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("open")


class Inherited(Decorated):
    pass


def health(_: HttpRequest) -> HttpResponse:
    return HttpResponse("up")


def view(_: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


async def aview(_: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


class Mixed(moonkey_django.RequireAuthMixin, TemplateView):
    max_staleness = 60


def late(request: HttpRequest) -> HttpResponse:
    """The gate is made in a view."""
    found: HttpResponse = moonkey_django.require_auth(max_staleness=60)(view)(request)
    return found


def late_after_a_read(request: Any) -> HttpResponse:
    assert request.moonkey.is_authenticated
    return late(request)


async def alate(request: Any) -> HttpResponse:
    assert (await request.amoonkey()).is_authenticated
    gate: Any = moonkey_django.require_auth(max_staleness=60)(aview)
    found: HttpResponse = await gate(request)
    return found


@pytest.fixture
def serve(settings: Any) -> Callable[..., None]:
    def serve(view: Any, **options: Any) -> None:
        urls: Any = types.ModuleType("urls_of_a_test")
        urls.urlpatterns = [path("me", view), path("health", health)]
        settings.ROOT_URLCONF = urls
        settings.MOONKEY = {name.upper(): one for name, one in (options or UNASKED).items()}

    return serve


@pytest.fixture(params=[visit_wsgi, visit_asgi], ids=["wsgi", "asgi"])
def visit(request: pytest.FixtureRequest) -> Visit:
    found: Visit = request.param
    return found


def checks() -> list[str]:
    return [str(one.id) for one in run_checks() if str(one.id).startswith("moonkey.E")]


DJANGO: dict[str, Callable[[], Any]] = {
    "function": lambda: moonkey_django.require_auth(max_staleness=60)(view),
    "coroutine": lambda: moonkey_django.require_auth(max_staleness=60)(aview),
    "mixin": lambda: Mixed.as_view(template_name="none"),
    "decorated class": lambda: Decorated.as_view(template_name="none"),
    "decorated by a list": lambda: OneMethod.as_view(),
    "decorated method": lambda: OnItself.as_view(),
    "inherited": lambda: Inherited.as_view(template_name="none"),
}


@pytest.mark.parametrize("make", DJANGO.values(), ids=DJANGO)
def test_django_refuses_every_request(
    make: Callable[[], Any], serve: Callable[..., None], visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    serve(make())
    assert [visit(one, **fresh()).status_code for one in ("/health", "/me")] == [500, 500]
    assert "/me: A route has max_staleness=60, but the provider 'plain'" in caplog.text
    assert checks() == ["moonkey.E007"]


@pytest.mark.parametrize("make", DJANGO.values(), ids=DJANGO)
@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
def test_django_starts_where_it_can_be_kept(
    make: Callable[[], Any], options: Callable[[], Any], serve: Callable[..., None]
) -> None:
    serve(make(), **options())
    assert visit_wsgi("/health").status_code == 200
    assert checks() == []


@pytest.mark.parametrize("made_in", [late, late_after_a_read, alate])
def test_django_refuses_a_gate_that_is_made_in_a_view_at_its_first_call(
    made_in: Any, serve: Callable[..., None], visit: Visit
) -> None:
    serve(made_in)
    assert [visit(one, **fresh()).status_code for one in ("/health", "/me")] == [200, 500]


# --- Starlette and FastAPI


def starts(app: Any) -> bool:
    with TestClient(app):
        return True


def asked(app: Any, path: str) -> int:
    """The status of a GET without any credential."""
    return TestClient(app, raise_server_exceptions=False).get(path).status_code


def refuses(app: Any, caplog: pytest.LogCaptureFixture) -> str:
    """Whether an app neither starts nor answers; what is said about it."""
    with pytest.raises(ConfigurationError) as caught, TestClient(app):
        raise AssertionError
    assert [asked(app, one) for one in ("/health", "/health")] == [500, 500]
    assert str(caught.value) in caplog.text
    return str(caught.value)


async def me(request: Request) -> Response:
    return PlainTextResponse("open")


async def up(request: Request) -> Response:
    return PlainTextResponse("up")


def gated() -> Any:
    return moonkey_starlette.require_auth(max_staleness=60)(me)


class Class(HTTPEndpoint):
    @moonkey_starlette.require_auth(max_staleness=60)
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("open")


def ours(**options: Any) -> Middleware:
    return Middleware(MoonKeyMiddleware, **(options or UNASKED))


def as_route(app: FastAPI) -> None:
    app.router.routes.append(Route("/me", gated()))


def as_class(app: FastAPI) -> None:
    app.router.routes.append(Route("/me", Class))


def as_mounted(app: FastAPI) -> None:
    app.mount("/in", Starlette(routes=[Route("/me", gated())]))


def as_middleware(app: FastAPI) -> None:
    gate: Any = moonkey_starlette.require_auth(max_staleness=60)

    async def dispatch(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=gate(dispatch))


def as_dependency(app: FastAPI) -> None:
    app.get("/me", dependencies=[Depends(RequireAuth(max_staleness=60))])(lambda: "open")


def as_inner_dependency(app: FastAPI) -> None:
    def inner(auth: Annotated[Any, Depends(RequireAuth(max_staleness=60))]) -> Any:
        return auth

    app.get("/me", dependencies=[Depends(inner)])(lambda: "open")


def as_websocket(app: FastAPI) -> None:
    @app.websocket("/me", dependencies=[Depends(RequireAuth(max_staleness=60))])
    async def me(websocket: WebSocket) -> None:
        await websocket.accept()


STARLETTE = [as_route, as_class, as_mounted, as_middleware, as_dependency, as_inner_dependency, as_websocket]


def fastapi_app(write: Callable[[FastAPI], None], **options: Any) -> FastAPI:
    app = FastAPI()
    write(app)
    app.router.routes.append(Route("/health", up))
    app.add_middleware(MoonKeyMiddleware, **(options or UNASKED))
    return app


@pytest.mark.parametrize("write", STARLETTE)
def test_starlette_does_not_start(write: Callable[[FastAPI], None], caplog: pytest.LogCaptureFixture) -> None:
    assert "max_staleness=60, but the provider 'plain'" in refuses(fastapi_app(write), caplog)


@pytest.mark.parametrize("write", STARLETTE)
@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS)
def test_starlette_starts_where_it_can_be_kept(
    write: Callable[[FastAPI], None], options: Callable[[], Any]
) -> None:
    app = fastapi_app(write, **options())
    assert starts(app)


@pytest.mark.parametrize("around", [lambda app: MoonKeyMiddleware(app, provider=provider()), None])
def test_starlette_wherever_the_middleware_stands(around: Any, caplog: pytest.LogCaptureFixture) -> None:
    routes = [Route("/me", gated()), Route("/health", up)]
    app = Starlette(routes=routes, middleware=[] if around else [ours()])
    assert "GET /me: A route has max_staleness=60" in refuses(around(app) if around else app, caplog)


@pytest.mark.parametrize("wrap", [False, True])
def test_starlette_leaves_the_routes_of_another_client_to_it(wrap: bool) -> None:
    """The mounted app has a client of its own, whose provider can be asked."""
    routes = [Route("/me", gated()), Route("/health", up)]
    options = CLIENTS["a provider that can be asked"]()
    inner: Any = Starlette(routes=routes, middleware=[] if wrap else [ours(**options)])
    inner = MoonKeyMiddleware(inner, **options) if wrap else inner
    app = Starlette(routes=[Route("/health", up), Mount("/in", inner)], middleware=[ours()])
    assert starts(app)
    assert [asked(app, one) for one in ("/health", "/in/health", "/in/me")] == [200, 200, 401]
    # The other way round, the mounted app is refused by its own middleware.
    inner = Starlette(routes=routes, middleware=[ours()])
    app = Starlette(routes=[Route("/health", up), Mount("/in", inner)], middleware=[ours(**options)])
    assert starts(app)
    assert [asked(app, one) for one in ("/health", "/in/health", "/in/me")] == [200, 500, 500]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("reads_first", [False, True])
def test_starlette_refuses_a_gate_that_is_made_in_an_endpoint_at_its_first_call(
    lazy: bool, reads_first: bool
) -> None:
    async def endpoint(request: Request) -> Any:
        assert not reads_first or (await get_auth(request)).is_authenticated
        return await gated()(request)

    async def socket(websocket: WebSocket) -> None:
        await RequireAuth(max_staleness=60)(websocket)
        await websocket.accept()

    app = FastAPI()
    app.router.routes += [Route("/late", endpoint), Route("/health", up)]
    app.add_api_websocket_route("/socket", socket)
    client = AsyncMoonKey(provider=provider())
    app.add_middleware(MoonKeyMiddleware, client=client, lazy=lazy)
    with TestClient(app, raise_server_exceptions=False) as web:
        assert [web.get(one, headers=fresh()).status_code for one in ("/health", "/late")] == [200, 500]
        with pytest.raises(WebSocketDenialResponse) as caught, web.websocket_connect("/socket", headers=fresh()):
            raise AssertionError
        assert caught.value.status_code == 500
