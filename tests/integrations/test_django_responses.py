"""Django: what caches and browsers learn from a response, and what 200 requests leave behind."""

from __future__ import annotations

import gc
import os
from typing import Any

import httpx
import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from integrations import django_site
from integrations.django_visits import Configure, Visit, visit_asgi, visit_wsgi

from moonkey_core.emulator import Emulator
from support import quick
from support.scripted import wait_until
from support.servers import serve_wsgi

VARY = "Authorization, Session-Token"
ORIGIN = "https://app.example"


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    django_site.ran.clear()


def old_jwt(emulator: Emulator) -> str:
    """A JWT that is good in all but age."""
    emulator.set_clock(-400)
    jwt = emulator.sign_in().session_jwt
    emulator.set_clock(0)
    return jwt


def test_a_page_that_nobody_looked_for_stays_as_it_is(visit: Visit, emulator: Emulator) -> None:
    for path in ("/public", "/apublic", "/download", "/stream", "/astream", "/unauthorized"):
        response = visit(path)
        assert "Vary" not in response.headers
        assert "Cache-Control" not in response.headers
    response = visit("/public", emulator.sign_in().session_token)
    assert "Vary" not in response.headers


@pytest.mark.rule("S28")
@pytest.mark.parametrize("path", ["/peek", "/apeek", "/awaits"])
def test_a_page_that_depends_on_identity_says_so(visit: Visit, emulator: Emulator, path: str) -> None:
    for credential in (None, "no-such-session", emulator.sign_in().session_token):
        response = visit(path, credential)
        assert response.headers["Vary"] == VARY
        assert response.headers["Cache-Control"] == "private"


@pytest.mark.rule("S28")
def test_asking_for_an_identity_counts_as_looking(configure: Configure) -> None:
    assert visit_wsgi("/shows").headers["Vary"] == VARY
    configure(LAZY=True)
    assert visit_asgi("/shows").headers["Vary"] == VARY


@pytest.mark.rule("S28")
def test_what_the_app_said_is_kept(visit: Visit, emulator: Emulator) -> None:
    response = visit("/own-cache-control", emulator.sign_in().session_token)
    assert response.headers["Cache-Control"] == "max-age=9"
    assert response.headers["Vary"] == "Accept-Language, session-token, Authorization"


@pytest.mark.rule("S28")
def test_a_refusal_is_stored_nowhere(visit: Visit) -> None:
    for path in ("/me", "/ame", "/page"):
        response = visit(path)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Vary"] == VARY
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="moonkey"'


@pytest.mark.parametrize(
    ("visit", "path"), [(visit_wsgi, "/stream"), (visit_asgi, "/stream"), (visit_asgi, "/astream")]
)
@pytest.mark.usefixtures("configure")
def test_a_stream_may_look_later(visit: Visit, emulator: Emulator, path: str) -> None:
    response = visit(path, emulator.sign_in().session_token)
    assert response.headers["Vary"] == VARY
    assert response.headers["Cache-Control"] == "private"
    body = response.streamed if response.is_async else b"".join(response.streaming_content)
    assert body == b"authenticated"


def test_a_file_never_looks(visit: Visit, emulator: Emulator) -> None:
    response = visit("/download", emulator.sign_in().session_token)
    assert "Vary" not in response.headers
    response.close()


def test_a_fresh_jwt_goes_out_where_a_header_is_configured(
    visit: Visit, configure: Configure, emulator: Emulator
) -> None:
    assert old_jwt(emulator) not in str(visit("/me", old_jwt(emulator)).headers)
    configure(FRESH_JWT_HEADER="Session-JWT")
    response = visit("/me", old_jwt(emulator))
    assert response.headers["Cache-Control"] == "no-store"
    assert visit("/me", response.headers["Session-JWT"]).status_code == 200
    assert "Session-JWT" not in visit("/me", response.headers["Session-JWT"]).headers


def test_a_jwt_refreshed_before_the_view_is_not_lost(configure: Configure, emulator: Emulator) -> None:
    configure(FRESH_JWT_HEADER="Session-JWT")
    response = visit_asgi("/public", old_jwt(emulator))
    assert response.headers["Session-JWT"]
    assert response.headers["Cache-Control"] == "no-store"
    assert "Session-JWT" not in visit_wsgi("/public", old_jwt(emulator)).headers


@pytest.mark.rule("S28")
def test_a_cache_around_a_gate_keeps_no_page(visit: Visit, emulator: Emulator) -> None:
    cache.clear()
    ada, bob = emulator.sign_in("ada@example.com"), emulator.sign_in("bob@example.com")
    assert visit("/cached", ada.session_token).json()["user"] == ada.user_id
    assert visit("/cached", **{"session-token": ada.session_token}).json()["user"] == ada.user_id
    assert visit("/cached", bob.session_token).json()["user"] == bob.user_id
    assert visit("/cached").status_code == 401
    assert visit("/cached", **{"session-token": bob.session_token}).json()["user"] == bob.user_id


@pytest.mark.rule("S28")
@pytest.mark.parametrize("path", ["/cached-peek", "/cached-apeek"])
def test_a_cache_around_a_view_that_looks_keeps_no_page(visit: Visit, emulator: Emulator, path: str) -> None:
    cache.clear()
    for email in ("ada@example.com", "bob@example.com"):
        person = emulator.sign_in(email)
        assert visit(path, **{"session-token": person.session_token}).json()["user"] == person.user_id
    assert visit(path).json()["user"] is None


@pytest.fixture
def cors(settings: Any) -> None:
    """django-cors-headers, in the order that its documentation asks for."""
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", "moonkey_django.MoonKeyMiddleware"]
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    settings.CORS_ALLOW_HEADERS = ["authorization"]


@pytest.mark.usefixtures("cors")
@pytest.mark.parametrize("path", ["/me", "/ame", "/page"])
def test_refusals_carry_cors_headers(visit: Visit, emulator: Emulator, path: str) -> None:
    token = emulator.sign_in().session_token
    assert visit(path, token, origin=ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = visit(path, origin=ORIGIN)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
    emulator.fault(status=500)
    refused = visit(path, token, origin=ORIGIN)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (503, ORIGIN)
    assert refused.headers["Vary"].startswith(VARY)


@pytest.mark.usefixtures("cors")
def test_a_preflight_is_answered_without_the_view(visit: Visit, emulator: Emulator) -> None:
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    response = visit("/me", method="OPTIONS", origin=ORIGIN, **asked)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Headers"] == "authorization"
    assert django_site.ran == []
    assert emulator.requests() == {}


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_the_middleware_stops_nobody(visit: Visit, method: str) -> None:
    assert visit("/peek", "a b", method=method).status_code == 200
    assert django_site.ran == [method]


def left_open() -> tuple[int, int]:
    """How many file descriptors and HTTP clients there are."""
    gc.collect()
    clients = [thing for thing in gc.get_objects() if type(thing) in (httpx.Client, httpx.AsyncClient)]
    return len(os.listdir("/proc/self/fd")), len(clients)


@pytest.mark.long
@pytest.mark.parametrize(
    "path", ["/ame", *(pytest.param(path, marks=pytest.mark.long) for path in ("/awaits", "/apage"))]
)
def test_200_requests_to_an_async_view_leave_nothing(configure: Configure, emulator: Emulator, path: str) -> None:
    token = emulator.sign_in().session_token
    headers = {"Authorization": f"Bearer {token}"}
    with serve_wsgi(WSGIHandler(), threads=2) as url, quick.Client() as browser:
        for _ in range(20):
            assert browser.get(url + path, headers=headers).status_code == 200
        before = left_open()
        for _ in range(200):
            assert browser.get(url + path, headers=headers).json()["state"] == "authenticated"
        assert wait_until(lambda: all(now <= then for now, then in zip(left_open(), before, strict=True)))
