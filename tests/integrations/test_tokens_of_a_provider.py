"""Tokens of an OpenID Connect issuer in each framework: refusals, machines, who acts, connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path
from fastapi import Depends, FastAPI, WebSocket
from flask import Flask, Response
from integrations.stream_items import silent, ticks
from rest_framework.permissions import IsAuthenticated
from rest_framework.views import APIView
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey, Auth, MoonKeyError, PermissionDenied
from moonkey_core.emulator.oidc.server import OidcEmulator
from moonkey_core.provider import OIDC
from moonkey_django.rest_framework import MoonKeyAuthentication
from moonkey_flask import FlaskMoonKey, current_auth, current_user
from moonkey_starlette import MoonKeyMiddleware, bound_session, get_auth
from moonkey_starlette.fastapi import CurrentAuth, CurrentUser, RequireAuth
from support import quick
from support.servers import serve_asgi, serve_wsgi

GATES: dict[str, dict[str, Any]] = {
    "/user": {},
    "/machine": {"allow_machines": True},
    "/reader": {"allow_machines": True, "scopes": {"read"}},
    "/strong": {"acr_values": ["phr", "2"], "max_age": timedelta(minutes=5)},
    "/own": {"allow_actor": False},
}

AnyPrincipal = Annotated[Auth, Depends(RequireAuth(allow_machines=True))]

streams: list[Any] = []


def shown(auth: Auth) -> dict[str, Any]:
    return {
        "state": auth.state,
        "user": auth.user.id if auth.is_authenticated else None,
        "session": auth.session.id if auth.is_authenticated else None,
        "machine": auth.machine.id if auth.machine is not None else None,
        "actor": auth.actor,
    }


def kept(stream: Any) -> Any:
    streams.append(stream)
    return stream


def provider(oidc: OidcEmulator) -> OIDC:
    return OIDC(oidc.issuer, oidc.audience, keys=oidc.jwks(), allow_machines=True, leeway=0)


@contextmanager
def flask(oidc: OidcEmulator, _: Any) -> Iterator[str]:
    app = Flask("tokens")
    FlaskMoonKey(app, provider=provider(oidc))
    for where, asked in GATES.items():
        view = moonkey_flask.require_auth(**asked)(lambda: shown(current_auth))
        app.add_url_rule(where, where, view)
    app.add_url_rule("/optional", "optional", lambda: shown(current_auth))
    app.add_url_rule("/reads", "reads", lambda: current_user.id)

    def events() -> Response:
        return Response(kept(moonkey_flask.bound_stream(ticks())))

    app.add_url_rule("/events", "events", events)
    gated = moonkey_flask.require_auth(allow_machines=True)(events)
    app.add_url_rule("/machine-events", "machine-events", gated)
    with serve_wsgi(app) as url:
        yield url


class Rest(APIView):
    authentication_classes = [MoonKeyAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request: Any) -> JsonResponse:
        return JsonResponse({"user": request.user.moonkey.id})


def django_reads(request: HttpRequest) -> HttpResponseBase:
    return Rest.as_view()(request)


def django_views(*, is_asgi: bool) -> list[Any]:
    def gated(asked: dict[str, Any]) -> Any:
        def view(request: Any) -> JsonResponse:
            return JsonResponse(shown(request.moonkey))

        return moonkey_django.require_auth(**asked)(view)

    async def optional_async(request: Any) -> JsonResponse:
        return JsonResponse(shown(await request.amoonkey()))

    def events(request: HttpRequest) -> StreamingHttpResponse:
        made: Any = silent() if is_asgi else ticks()
        return StreamingHttpResponse(kept(moonkey_django.bound_stream(request, made)))

    async def events_async(request: HttpRequest) -> StreamingHttpResponse:
        return events(request)

    found = [path(where[1:], gated(asked)) for where, asked in GATES.items()]
    found.append(
        path("optional", optional_async if is_asgi else lambda request: JsonResponse(shown(request.moonkey)))
    )
    streaming: Any = events_async if is_asgi else events
    gate = moonkey_django.require_auth(allow_machines=True)
    found += [path("events", streaming), path("machine-events", gate(streaming))]
    return [*found, path("reads", django_reads)]


class AsgiUrls:
    urlpatterns = django_views(is_asgi=True)


class WsgiUrls:
    urlpatterns = django_views(is_asgi=False)


@contextmanager
def django(oidc: OidcEmulator, settings: Any, *, is_asgi: bool) -> Iterator[str]:
    settings.ROOT_URLCONF = AsgiUrls if is_asgi else WsgiUrls
    settings.MOONKEY = {"PROVIDER": provider(oidc)}
    with serve_asgi(ASGIHandler(), lifespan="off") if is_asgi else serve_wsgi(WSGIHandler()) as url:
        yield url


async def starlette_optional(request: Request) -> JSONResponse:
    return JSONResponse(shown(await get_auth(request)))


async def starlette_reads(request: Request) -> JSONResponse:
    if not request.user.is_authenticated:
        raise PermissionDenied
    return JSONResponse({"user": request.user.identity})


async def starlette_events(request: Request) -> StreamingResponse:
    return StreamingResponse(kept(moonkey_starlette.bound_stream(request, silent())))


@contextmanager
def starlette(oidc: OidcEmulator, _: Any) -> Iterator[str]:
    routes = [
        Route(where, moonkey_starlette.require_auth(**asked)(starlette_optional)) for where, asked in GATES.items()
    ]
    routes += [
        Route("/optional", starlette_optional),
        Route("/reads", starlette_reads),
        Route("/events", starlette_events),
        Route("/machine-events", moonkey_starlette.require_auth(allow_machines=True)(starlette_events)),
    ]
    client = AsyncMoonKey(provider=provider(oidc))
    with serve_asgi(Starlette(routes=routes, middleware=[Middleware(MoonKeyMiddleware, client=client)])) as url:
        yield url


def fastapi_app(oidc: OidcEmulator) -> FastAPI:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, client=AsyncMoonKey(provider=provider(oidc)))
    for where, asked in GATES.items():

        def endpoint(auth: Any = Depends(RequireAuth(**asked))) -> dict[str, Any]:  # noqa: B008
            return shown(auth)

        app.get(where)(endpoint)

    @app.get("/optional")
    def optional(auth: CurrentAuth) -> dict[str, Any]:
        return shown(auth)

    @app.get("/reads")
    def reads(user: CurrentUser) -> str:
        return user.id

    @app.get("/events")
    async def events(request: Request) -> StreamingResponse:
        return await starlette_events(request)

    @app.get("/machine-events")
    async def machine_events(request: Request, _: AnyPrincipal) -> StreamingResponse:
        return await starlette_events(request)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, auth: AnyPrincipal) -> None:
        await websocket.accept()
        await websocket.send_json(shown(auth))
        async for text in websocket.iter_text():
            try:
                renewed = await bound_session(websocket).renew(text)
            except MoonKeyError as error:
                await websocket.send_json({"refused": error.reason})
            else:
                await websocket.send_json(shown(renewed))

    return app


@contextmanager
def fastapi(oidc: OidcEmulator, _: Any) -> Iterator[str]:
    with serve_asgi(fastapi_app(oidc)) as url:
        yield url


STACKS: dict[str, Callable[[OidcEmulator, Any], Any]] = {
    "flask": flask,
    "fastapi": fastapi,
    "starlette": starlette,
    "django-wsgi": lambda oidc, settings: django(oidc, settings, is_asgi=False),
    "django-asgi": lambda oidc, settings: django(oidc, settings, is_asgi=True),
}


@pytest.fixture(
    params=[name if name == "flask" else pytest.param(name, marks=pytest.mark.long) for name in STACKS]
)
def url(request: pytest.FixtureRequest, oidc: OidcEmulator, settings: Any) -> Iterator[str]:
    streams.clear()
    with STACKS[request.param](oidc, settings) as url:
        yield url


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def refused(url: str, token: str) -> tuple[int, str | None, str | None]:
    response = quick.get(url, headers=bearer(token))
    body = response.json()
    if "status" in body:
        assert body["status"] == response.status_code
    return response.status_code, body.get("error"), body.get("reason")


@pytest.mark.rule("S29", "S30")
def test_only_age_is_told(url: str, oidc: OidcEmulator) -> None:
    """A client learns whether to renew its token, or to sign in; not which check has failed."""
    old: dict[str, Any] = {"age": 100, "life": 60}
    assert refused(url + "/user", oidc.token(**old)) == (401, "invalid_token", "expired")
    assert refused(url + "/machine", oidc.token(kind="machine", **old)) == (401, "invalid_token", "expired")
    for fault in (
        oidc.token(key="foreign"),
        oidc.token(key="foreign", **old),
        oidc.token(aud="https://other.example"),
        oidc.token(aud="https://other.example", **old),
        oidc.token(kind="id", **old),
        oidc.token(kind="dpop", **old),
        oidc.token(iss="https://evil.example", **old),
        oidc.token(drop=["sub"], **old),
        oidc.token(algorithm="HS256", **old),
        oidc.token(algorithm="none"),
        oidc.token()[:-8] + "AAAAAAAA",
        "an-opaque-token",
    ):
        assert refused(url + "/user", fault) == (401, "invalid_token", "invalid"), fault
    assert quick.get(url + "/user").json().get("reason") is None


def test_who_acts_is_shown_and_may_be_refused(url: str, oidc: OidcEmulator) -> None:
    token = oidc.token(kind="delegated", user_id="u1", session_id="s1")
    expected = {
        "state": "authenticated",
        "user": "u1",
        "session": "s1",
        "machine": None,
        "actor": "support@example.com",
    }
    for where in ("/user", "/optional"):
        assert quick.get(url + where, headers=bearer(token)).json() == expected
    assert refused(url + "/own", token)[:2] == (403, "insufficient_scope")
    assert quick.get(url + "/own", headers=bearer(oidc.token())).status_code == 200


def test_a_machine_is_no_user(url: str, oidc: OidcEmulator) -> None:
    token = oidc.token(kind="machine", scope="read")
    for where in ("/user", "/own", "/strong"):
        assert refused(url + where, token)[:2] == (403, "insufficient_scope"), where
    for where in ("/reads", "/events"):
        assert quick.get(url + where, headers=bearer(token)).status_code == 403, where
    for where in ("/optional", "/machine", "/reader"):
        found = quick.get(url + where, headers=bearer(token)).json()
        assert (found["state"], found["user"], found["session"]) == ("machine", None, None), where
        assert found["machine"] == "demo-client"
    assert refused(url + "/reader", oidc.token(kind="machine", scope="write"))[:2] == (403, "insufficient_scope")
    assert quick.get(url + "/machine", headers=bearer(oidc.token(scope="read"))).json()["state"] == "authenticated"


@pytest.mark.rule("S50")
def test_stepping_up_at_the_issuer(url: str, oidc: OidcEmulator) -> None:
    """RFC 9470: the front end sends the user there with the values of the challenge."""
    for claims in ({"acr": "1"}, {"acr": "1", "auth_time": None}, {"acr": "phr", "auth_time": 1_000_000_000}):
        usual: dict[str, Any] = {"drop": [name for name, value in claims.items() if value is None]}
        token = oidc.token(**usual, claims={name: value for name, value in claims.items() if value is not None})
        response = quick.get(url + "/strong", headers=bearer(token))
        assert response.status_code == 401
        challenge = response.headers["www-authenticate"]
        assert 'error="insufficient_user_authentication"' in challenge
        assert 'acr_values="phr 2"' in challenge
        assert 'max_age="300"' in challenge
        body = response.json()
        assert (body["acr_values"], body["max_age"]) == (["phr", "2"], 300)
    assert quick.get(url + "/strong", headers=bearer(oidc.token(acr="2"))).status_code == 200


@pytest.mark.rule("S52", "connection")
@pytest.mark.parametrize("where", ["/events", "/machine-events"])
def test_a_stream_ends_with_its_token(url: str, oidc: OidcEmulator, where: str) -> None:
    token = oidc.token(kind="machine" if "machine" in where else "user", life=3)
    with quick.stream("GET", url + where, headers=bearer(token)) as response:
        assert response.status_code == 200
        assert all("tick" in chunk for chunk in response.iter_text())


def say(websocket: Any, text: str) -> Any:
    websocket.send(text)
    return json.loads(websocket.recv(10))


@pytest.mark.rule("S52", "connection")
def test_a_websocket_is_renewed(oidc: OidcEmulator) -> None:
    with serve_asgi(fastapi_app(oidc)) as own:
        url = own.replace("http", "ws") + "/socket"
        mine: dict[str, Any] = {"user_id": "u1", "session_id": "s1"}
        with connect(url, additional_headers=bearer(oidc.token(life=60, **mine))) as websocket:
            assert json.loads(websocket.recv(10))["user"] == "u1"
            for wrong, reason in (
                (oidc.token(user_id="u2", session_id="s1"), "renewal_refused"),
                (oidc.token(user_id="u1", session_id="s2"), "renewal_refused"),
                (oidc.token(user_id="u1", session_id="s1", age=20), "renewal_refused"),
                (oidc.token(age=100, life=60, **mine), "expired_credentials"),
                (oidc.token(kind="machine"), "machine_refused"),
                (oidc.token(aud="other", **mine), "jwt_audience"),
                ("opaque", "opaque_credential"),
            ):
                assert say(websocket, wrong) == {"refused": reason}
            renewed = say(websocket, oidc.token(life=3, claims={"act": {"sub": "support"}}, **mine))
            assert (renewed["user"], renewed["actor"]) == ("u1", "support")
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(10)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "expired")


@pytest.mark.rule("S52", "connection")
def test_tokens_without_a_session_are_renewed_by_their_user(oidc: OidcEmulator) -> None:
    with serve_asgi(fastapi_app(oidc)) as own:
        url = own.replace("http", "ws") + "/socket"
        with connect(url, additional_headers=bearer(oidc.token(user_id="u1", drop=["sid"], life=60))) as websocket:
            first = json.loads(websocket.recv(10))
            assert say(websocket, oidc.token(user_id="u2", drop=["sid"])) == {"refused": "renewal_refused"}
            assert say(websocket, oidc.token(user_id="u1", session_id="s1")) == {"refused": "renewal_refused"}
            second = say(websocket, oidc.token(user_id="u1", drop=["sid"], life=60))
            assert (second["user"], second["session"] != first["session"]) == ("u1", True)
        with connect(url, additional_headers=bearer(oidc.token(kind="machine", life=60))) as websocket:
            assert json.loads(websocket.recv(10))["state"] == "machine"
            assert say(websocket, oidc.token()) == {"refused": "renewal_refused"}
            assert say(websocket, oidc.token(kind="machine", life=3))["state"] == "machine"
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.reason == "expired"
