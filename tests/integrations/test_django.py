"""Django: identity on the request, gates, and both modes."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

import asgiref.sync
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory
from django.urls import resolve
from integrations import django_site
from integrations.django_visits import Configure, Visit, visit_asgi, visit_wsgi

from moonkey_core.emulator import Emulator
from moonkey_django import MoonKeyMiddleware

VERIFY = "POST /v1/auth/sessions/verify"
GATED = ["/me", "/ame", "/page", "/apage", "/decorated", "/method-decorated", "/exempt"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"]


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    django_site.ran.clear()
    django_site.threads.clear()


@pytest.mark.parametrize("path", ["/peek", "/apeek", "/awaits"])
def test_an_optional_view_reads_all_four_states(visit: Visit, emulator: Emulator, path: str) -> None:
    signed_in = emulator.sign_in()
    assert visit(path).json() == {"state": "anonymous", "user": None}
    for good in (signed_in.session_token, signed_in.session_jwt):
        assert visit(path, good).json() == {"state": "authenticated", "user": signed_in.user_id}
    assert visit(path, "no-such-session").json()["state"] == "rejected"
    emulator.fault(status=500)
    assert visit(path, signed_in.session_token).json()["state"] == "unavailable"


@pytest.mark.parametrize("path", GATED)
def test_a_gate_lets_only_the_authenticated_in(visit: Visit, emulator: Emulator, path: str) -> None:
    signed_in = emulator.sign_in()
    assert visit(path, signed_in.session_token).json()["user"] == signed_in.user_id
    django_site.ran.clear()
    assert visit(path).status_code == 401
    assert visit(path, "no-such-session").status_code == 401
    assert visit(path, "a b").status_code == 400
    emulator.fault(status=500)
    assert visit(path, signed_in.session_token).status_code == 503
    emulator.clear_faults()
    emulator.fault(status=401, body='{"status_code": 401, "error_type": "unauthorized", "error_message": "no"}')
    assert visit(path, signed_in.session_token).status_code == 500
    assert django_site.ran == []


@pytest.mark.rule("S26")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [path for path in GATED if path != "/method-decorated"])
def test_a_gate_refuses_whatever_the_method(visit: Visit, path: str, method: str) -> None:
    response = visit(path, method=method, origin="https://x.example", **{"access-control-request-method": "GET"})
    assert response.status_code == 401
    assert django_site.ran == []


def test_a_gate_keeps_what_other_decorators_said() -> None:
    exempt: Any = resolve("/exempt").func
    page: Any = resolve("/page").func
    assert exempt.csrf_exempt is True
    assert page.view_class is django_site.Page
    assert asgiref.sync.iscoroutinefunction(django_site.ame)
    assert asgiref.sync.iscoroutinefunction(django_site.APage.as_view())
    assert not asgiref.sync.iscoroutinefunction(django_site.me)
    assert django_site.me.__name__ == "me"


def test_a_gate_names_the_missing_middleware(visit: Visit, settings: Any, rf: RequestFactory) -> None:
    with pytest.raises(ImproperlyConfigured, match=r'Add "moonkey_django\.MoonKeyMiddleware" to MIDDLEWARE'):
        resolve("/me").func(rf.get("/"))
    settings.MIDDLEWARE = []
    assert [visit(path).status_code for path in GATED] == [500] * len(GATED)
    assert django_site.ran == []


@pytest.mark.rule("S26")
def test_a_gate_on_a_bare_method_runs_nothing(visit: Visit, emulator: Emulator) -> None:
    assert visit("/undecorated", emulator.sign_in().session_token).status_code == 500
    assert django_site.ran == []


def test_a_view_that_returns_nothing_gets_djangos_own_words(
    visit: Visit, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    assert visit("/forgets", emulator.sign_in().session_token).status_code == 500
    assert "didn't return an HttpResponse object" in caplog.text


@pytest.mark.parametrize("path", ["/raises", "/araises"])
def test_our_errors_become_responses(visit: Visit, caplog: pytest.LogCaptureFixture, path: str) -> None:
    unavailable = visit(f"{path}/unavailable")
    assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "7")
    for name in ("misconfigured", "key"):
        response = visit(f"{path}/{name}")
        assert response.status_code == 500
        assert response.json()["detail"] == "The request could not be handled."
    assert "MOONKEY_REALM is odd" in caplog.text
    assert visit(f"{path}/missing").status_code == 404
    foreign = visit(f"{path}/foreign")
    assert foreign.status_code == 500
    assert foreign.headers["Content-Type"].startswith("text/html")


def test_under_wsgi_nothing_is_verified_unless_somebody_looks(configure: Configure, emulator: Emulator) -> None:
    token = emulator.sign_in().session_token
    assert visit_wsgi("/public", token).status_code == 200
    assert emulator.requests() == {}
    assert visit_wsgi("/me", token).status_code == 200
    assert emulator.requests()[VERIFY] == 1


def test_under_wsgi_the_blocking_client_does_all(
    configure: Configure, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An async view runs on an event loop of its own there: a pool for that one loop would serve one request."""
    monkeypatch.delattr("moonkey_django.conf.AsyncMoonKey")
    for path in ("/ame", "/awaits", "/apage"):
        assert visit_wsgi(path, emulator.sign_in().session_token).json()["state"] == "authenticated"


def test_under_asgi_it_is_verified_before_the_view(configure: Configure, emulator: Emulator) -> None:
    assert visit_asgi("/public", emulator.sign_in().session_token).status_code == 200
    assert emulator.requests()[VERIFY] == 1


def test_lazy_asgi_verifies_when_awaited(configure: Configure, emulator: Emulator) -> None:
    configure(LAZY=True)
    token = emulator.sign_in().session_token
    assert visit_asgi("/public", token).status_code == 200
    assert emulator.requests() == {}
    assert visit_asgi("/awaits", token).json()["state"] == "authenticated"
    assert emulator.requests()[VERIFY] == 1
    for path in GATED:
        assert visit_asgi(path).status_code == 401
        assert visit_asgi(path, token).status_code == 200


def test_lazy_asgi_says_what_to_write(
    configure: Configure, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    configure(LAZY=True)
    token = emulator.sign_in().session_token
    assert visit_asgi("/apeek", token).status_code == 500
    assert "`auth = await request.amoonkey()` first" in caplog.text
    # A sync view has a thread of its own, and may wait in it.
    assert visit_asgi("/peek", token).json()["state"] == "authenticated"


def test_who_asks_with_a_cancelled_one_gets_an_answer(configure: Configure, emulator: Emulator) -> None:
    configure(LAZY=True)
    token = emulator.sign_in().session_token
    emulator.fault(delay=0.4, times=1)
    assert visit_asgi("/cancels", token).json() == {"first_cancelled": True, "state": "authenticated"}


def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that fills with every crossing between threads and event loops."""
    crossed: list[str] = []
    for kind, attribute in ((asgiref.sync.SyncToAsync, "func"), (asgiref.sync.AsyncToSync, "awaitable")):

        def call(self: Any, *args: Any, _inner: Any = kind.__call__, _name: str = attribute, **kwargs: Any) -> Any:
            crossed.append(getattr(getattr(self, _name), "__name__", "?"))
            return _inner(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__call__", call)
    return crossed


def test_no_thread_hop_under_asgi(
    configure: Configure, settings: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = emulator.sign_in().session_token
    crossed = hops(monkeypatch)
    settings.MIDDLEWARE = []
    assert visit_asgi("/apublic").status_code == 200
    bare = crossed.copy()
    crossed.clear()
    assert visit_asgi("/unauthorized").status_code == 401
    refused = crossed.copy()
    settings.MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]
    for lazy in (False, True):
        configure(LAZY=lazy)
        crossed.clear()
        assert visit_asgi("/ame", token).status_code == 200
        assert crossed == bare
        crossed.clear()
        assert visit_asgi("/ame").status_code == 401
        assert crossed == refused
    assert set(django_site.threads) == {threading.get_ident()}


def test_no_thread_hop_under_wsgi(
    configure: Configure, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = emulator.sign_in().session_token
    crossed = hops(monkeypatch)
    for path in ("/me", "/page", "/peek"):
        assert visit_wsgi(path, token).status_code == 200
    assert visit_wsgi("/me").status_code == 401
    assert crossed == []
    assert visit_wsgi("/ame", token).status_code == 200
    assert crossed == ["ame"]  # Django's own, as for every async view


@pytest.mark.parametrize("below", ["integrations.django_site.sync_only", "integrations.django_site.AsyncOnly"])
@pytest.mark.parametrize("lazy", [False, True])
def test_among_middleware_of_one_mode_only(
    visit: Visit, configure: Configure, settings: Any, emulator: Emulator, below: str, lazy: bool
) -> None:
    configure(LAZY=lazy)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, below]
    token = emulator.sign_in().session_token
    for path in ("/me", "/ame", "/awaits", "/peek", *([] if lazy else ["/apeek"])):
        assert visit(path, token).json()["state"] == "authenticated"
    assert visit("/me").status_code == visit("/ame").status_code == 401


def asgi_request(*headers: tuple[bytes, bytes]) -> Any:
    """A request that no test client has tidied up."""
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": list(headers)}
    return ASGIRequest(scope, io.BytesIO())


@pytest.mark.rule("S3")
def test_asgi_headers_are_read_line_by_line(configure: Configure, emulator: Emulator) -> None:
    token = emulator.sign_in().session_token.encode()

    async def visited(request: Any) -> None:
        await MoonKeyMiddleware(django_site.apublic)(request)  # type: ignore[misc]

    def state(*headers: tuple[bytes, bytes]) -> str:
        request = asgi_request(*headers)
        asyncio.run(visited(request))
        return str(request.moonkey.state)

    assert state((b"session-token", token)) == "authenticated"
    assert state((b"session-token", token), (b"session-token", token)) == "rejected"
    assert state((b"session-token", token), (b"Session-Token", token)) == "rejected"
    assert state((b"session_token", token)) == "anonymous"
    assert state((b"session-token", b"caf\xe9")) == "rejected"


@pytest.mark.rule("S3")
def test_repeated_lines_joined_by_a_wsgi_server_are_refused(configure: Configure, emulator: Emulator) -> None:
    token = emulator.sign_in().session_token
    assert visit_wsgi("/me", **{"session-token": f"{token},{token}"}).status_code == 400


@pytest.mark.rule("S25")
def test_the_identity_lives_on_the_request_alone(rf: RequestFactory, configure: Configure) -> None:
    request = rf.get("/")
    before = set(vars(request))
    MoonKeyMiddleware(django_site.public)(request)
    assert set(vars(request)) - before == {"moonkey", "amoonkey", "_moonkey_identity"}
    assert not hasattr(request, "user")
    assert not hasattr(request, "session")
