"""Event streams of all frameworks end with the session, over real sockets."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from fastapi import FastAPI
from fastapi.responses import EventSourceResponse
from flask import Flask, Response, stream_with_context
from integrations import stream_items
from integrations.django_visits import Configure
from integrations.starlette_visits import bearer, options
from integrations.stream_items import silent, ticks
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

import moonkey_flask
import moonkey_starlette
from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django import get_async_client, get_client
from moonkey_flask import FlaskMoonKey
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser
from support import quick
from support.scripted import wait_until
from support.servers import serve_asgi, serve_wsgi
from support.visitors import SESSION, pair

EVENTS = "text/event-stream"
Served = tuple[str, MoonKey | AsyncMoonKey]
"""The URL of a stream, and the client that it is bound by."""


async def starlette_silent(request: Request) -> StreamingResponse:
    return StreamingResponse(moonkey_starlette.bound_stream(request, silent()), media_type=EVENTS)


async def starlette_ticks(request: Request) -> StreamingResponse:
    return StreamingResponse(moonkey_starlette.bound_stream(request, ticks()), media_type=EVENTS)


@contextmanager
def starlette(endpoint: Callable[..., Any], client: AsyncMoonKey, **more: Any) -> Iterator[Served]:
    middleware = [Middleware(MoonKeyMiddleware, client=client, **more)]
    with serve_asgi(Starlette(routes=[Route("/", endpoint)], middleware=middleware)) as url:
        yield url + "/", client


@contextmanager
def fastapi(client: AsyncMoonKey) -> Iterator[Served]:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, client=client)

    @app.get("/", response_class=EventSourceResponse)
    async def events(request: Request, user: CurrentUser) -> AsyncIterator[str]:
        async for item in moonkey_starlette.bound_stream(request, silent()):
            yield item

    with serve_asgi(app) as url:
        yield url + "/", client


@contextmanager
def flask(emulator: Emulator, *, with_context: bool) -> Iterator[Served]:
    app = Flask("streams")
    extension = FlaskMoonKey(app, **options(emulator, cookies=True))
    assert extension is not None

    @app.get("/")
    def events() -> Response:
        bound = moonkey_flask.bound_stream(ticks())
        return Response(stream_with_context(bound) if with_context else bound, mimetype=EVENTS)

    with serve_wsgi(app) as url:
        yield url + "/", app.extensions["moonkey"]


@contextmanager
def django(settings: Any, configure: Configure, *, asgi: bool) -> Iterator[Served]:
    settings.ROOT_URLCONF = "integrations.django_streams_site"
    configure(COOKIES=True)
    if asgi:
        with serve_asgi(ASGIHandler(), lifespan="off") as url:
            yield url + "/asynchronous", get_async_client()
    else:
        with serve_wsgi(WSGIHandler()) as url:
            yield url + "/plain", get_client()


STACKS = ["starlette", "starlette-plain", "fastapi", "flask", "flask-context", "django-asgi", "django-wsgi"]
QUICK = {"starlette", "flask"}

# For tests that take their time: one stack of either kind each time, and all of them now and then.
slowly = pytest.mark.parametrize(
    "served",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in STACKS],
    indirect=True,
)


@pytest.fixture(params=STACKS)
def served(
    request: pytest.FixtureRequest, emulator: Emulator, settings: Any, configure: Configure
) -> Iterator[Served]:
    client = AsyncMoonKey(**options(emulator, cookies=True))
    stacks = {
        "starlette": lambda: starlette(starlette_silent, client),
        "starlette-plain": lambda: starlette(starlette_ticks, client),
        "fastapi": lambda: fastapi(client),
        "flask": lambda: flask(emulator, with_context=False),
        "flask-context": lambda: flask(emulator, with_context=True),
        "django-asgi": lambda: django(settings, configure, asgi=True),
        "django-wsgi": lambda: django(settings, configure, asgi=False),
    }
    with stacks[request.param]() as served:
        yield served


HEADERS: dict[str, Callable[[SignedIn], dict[str, str]]] = {
    "token": bearer,
    "jwt": lambda person: {"session-token": person.session_jwt},
    "cookie": lambda person: {"cookie": f"{SESSION}={person.session_token}"},
    "pair": pair,
}


@contextmanager
def begun(url: str, person: SignedIn, kind: str = "token") -> Iterator[Iterator[str]]:
    """The chunks of a stream that has begun."""
    with quick.stream("GET", url, headers=HEADERS[kind](person)) as response:
        assert response.status_code == 200
        chunks = response.iter_text()
        assert "tick" in next(chunks)
        yield chunks


def left(client: MoonKey | AsyncMoonKey) -> int:
    """What is still bound, or being made."""
    gc.collect()  # Starlette leaves a plain generator to it
    return len(client._session_watcher) + len(stream_items.running)


@pytest.mark.rule("S52", "connection")
class TestTheEnd:
    @pytest.mark.long
    def test_revoked(self, served: Served, ada: SignedIn) -> None:
        url, client = served
        with begun(url, ada) as chunks:
            assert len(client._session_watcher) == 1
            client.revocations.add(session_id=ada.session_id)
            assert all("tick" in chunk for chunk in chunks)  # and then it is over, in good order
        assert wait_until(lambda: left(client) == 0)

    @pytest.mark.parametrize(
        "kind", [*(pytest.param(kind, marks=pytest.mark.long) for kind in HEADERS if kind != "pair"), "pair"]
    )
    def test_ended_elsewhere_and_one_more_request_finds_out(
        self, served: Served, emulator: Emulator, ada: SignedIn, kind: str
    ) -> None:
        url, client = served
        with begun(url, ada):
            pass
        with begun(url, ada, kind) as chunks:
            emulator.revoke(ada.session_id)
            with quick.stream("GET", url, headers=bearer(ada)) as response:
                assert response.status_code == 401
            assert all("tick" in chunk for chunk in chunks)
        assert wait_until(lambda: left(client) == 0)

    @pytest.mark.long
    @slowly
    def test_expired(self, served: Served, emulator: Emulator) -> None:
        url, client = served
        with begun(url, emulator.sign_in(minutes=0.05)) as chunks:
            assert all("tick" in chunk for chunk in chunks)
        assert wait_until(lambda: left(client) == 0)

    @pytest.mark.long
    @slowly
    def test_extended(self, served: Served, emulator: Emulator) -> None:
        url, client = served
        person = emulator.sign_in(minutes=0.05)
        with begun(url, person) as chunks:
            with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as other:
                other.sessions.verify(session_token=person.session_token, extend=60)
            emulator.clear_requests()
            assert wait_until(lambda: emulator.requests()["POST /v1/auth/sessions/verify"] == 1)
            assert len(client._session_watcher) == 1
            client.revocations.add(session_id=person.session_id)
            assert all("tick" in chunk for chunk in chunks)
        assert wait_until(lambda: left(client) == 0)

    @pytest.mark.long
    @slowly
    def test_the_client_goes_away(self, served: Served, ada: SignedIn) -> None:
        url, client = served
        with begun(url, ada):
            assert len(client._session_watcher) == 1
        assert wait_until(lambda: left(client) == 0)

    def test_who_is_not_signed_in_gets_an_answer_and_no_stream(
        self, served: Served, emulator: Emulator, ada: SignedIn
    ) -> None:
        url, _ = served
        assert quick.get(url).status_code == 401
        assert quick.get(url, headers={"session-token": "dead"}).status_code == 401
        emulator.stop()
        assert quick.get(url, headers=bearer(ada)).status_code == 503


@pytest.mark.long
def test_lazy_and_nobody_has_looked(emulator: Emulator, ada: SignedIn) -> None:
    async def endpoint(request: Request) -> StreamingResponse:
        with pytest.raises(ConfigurationError, match="await get_auth"):
            moonkey_starlette.bound_stream(request, silent())
        await moonkey_starlette.get_auth(request)
        return await starlette_silent(request)

    with starlette(endpoint, AsyncMoonKey(**options(emulator)), lazy=True) as (url, client):
        with begun(url, ada) as chunks:
            client.revocations.add(session_id=ada.session_id)
            assert list(chunks) == []
        assert wait_until(lambda: left(client) == 0)
