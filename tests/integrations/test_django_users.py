"""Django: `request.user` from MoonKey."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import RequestFactory
from integrations.django_people import (
    OURS,
    SESSIONS,
    by_password,
    mapped,
    set_up,
    statements,
    visit_with_session,
    who,
)
from integrations.django_visits import Configure, Visit, visit_asgi, visit_wsgi

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django import MoonKeyMiddleware
from moonkey_django.users.models import MoonKeyUser

pytestmark = pytest.mark.django_db(transaction=True)

READ = ["/who", "/awho", "/both", "/sync-then-async"]
GATED = ["/login-required", "/alogin-required", "/passes-test", "/permission", "/apermission", "/staff"]
VARY = "Authorization, Session-Token"
ANONYMOUS = {"user": "", "in": False}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    configure(USERS="match")


@pytest.mark.parametrize("path", READ)
def test_the_user_of_a_request(visit: Visit, ada: SignedIn, emulator: Emulator, path: str) -> None:
    mapped(ada)
    for credential in (ada.session_token, ada.session_jwt):
        assert visit(path, credential).json() == {"user": "ada", "in": True}
    stranger = emulator.sign_in("eve@example.com")
    for nobody in (None, stranger.session_token, "no-such-session", "a b"):
        assert visit(path, nobody).json() == ANONYMOUS
    assert visit(path, ada.session_token, **{"session-token": ada.session_token}).json() == ANONYMOUS


@pytest.mark.parametrize("path", READ)
def test_without_djangos_own_middleware(visit: Visit, settings: Any, ada: SignedIn, path: str) -> None:
    mapped(ada)
    settings.MIDDLEWARE = [OURS]
    assert visit(path, ada.session_token).json() == {"user": "ada", "in": True}
    assert visit(path).json() == ANONYMOUS


@pytest.mark.parametrize("path", ["/who", "/awho"])
def test_off_unless_configured(visit: Visit, configure: Configure, ada: SignedIn, path: str) -> None:
    mapped(ada)
    configure()
    assert visit(path, ada.session_token).json() == ANONYMOUS
    assert visit_with_session(visit, path, by_password()).json() == {"user": "bob", "in": True}


@pytest.mark.parametrize("path", READ)
def test_who_signed_in_by_password_stays_so(visit: Visit, ada: SignedIn, path: str) -> None:
    mapped(ada)
    bob = by_password()
    assert visit_with_session(visit, path, bob).json() == {"user": "bob", "in": True}
    assert visit_with_session(visit, path, bob, ada.session_token).json() == {"user": "ada", "in": True}
    # One that is refused is nobody: not whoever else the browser may be.
    assert visit_with_session(visit, path, bob, "no-such-session").json() == ANONYMOUS


@pytest.mark.parametrize("path", READ)
def test_an_inactive_user_is_nobody(visit: Visit, ada: SignedIn, path: str) -> None:
    mapped(ada, is_active=False)
    assert visit(path, ada.session_token).json() == ANONYMOUS


@pytest.mark.parametrize("path", READ)
def test_a_revoked_session_is_nobodys(visit: Visit, ada: SignedIn, emulator: Emulator, path: str) -> None:
    mapped(ada)
    emulator.revoke(ada.session_id)
    assert visit(path, ada.session_token).json() == ANONYMOUS


@pytest.mark.rule("S27")
@pytest.mark.parametrize("path", [*READ, "/stream"])
def test_what_cannot_be_known_is_503(visit: Visit, ada: SignedIn, emulator: Emulator, path: str) -> None:
    mapped(ada)
    emulator.fault(status=500)
    response = visit(path, ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert visit(path).status_code == 200
    assert visit("/plain", ada.session_token).status_code == 200


@pytest.mark.rule("S27")
def test_a_view_that_catches_it_is_503_all_the_same(visit: Visit, ada: SignedIn, emulator: Emulator) -> None:
    emulator.fault(status=500)
    assert visit("/catches", ada.session_token).status_code == 503
    assert visit("/catches").status_code == 200


def test_at_most_one_query(visit: Visit, ada: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped(ada)
    queries = statements(monkeypatch)
    assert visit("/plain", ada.session_token).status_code == 200
    assert queries == []
    for path in (*READ, "/login-required", "/alogin-required"):
        queries.clear()
        assert visit(path, ada.session_token).json()["in"]
        assert queries == ["SELECT"]
        for credential in (None, "no-such-session"):
            queries.clear()
            visit(path, credential)
            assert queries == []


def test_nothing_is_written(visit: Visit, ada: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    user = mapped(ada, is_staff=True, is_superuser=True)
    queries = statements(monkeypatch)
    for path in (*READ, *GATED, "/admin/"):
        assert visit(path, ada.session_token).status_code == 200
    assert set(queries) == {"SELECT"}
    user.refresh_from_db()
    assert user.last_login is None
    assert not Session.objects.exists()


def test_under_wsgi_nobody_is_verified_unless_somebody_looks(ada: SignedIn, emulator: Emulator) -> None:
    mapped(ada)
    assert visit_wsgi("/plain", ada.session_token).status_code == 200
    assert emulator.requests() == {}
    assert visit_wsgi("/who", ada.session_token).json()["in"]
    assert emulator.requests() == {"POST /v1/auth/sessions/verify": 1}


def test_lazy_asgi(configure: Configure, ada: SignedIn, emulator: Emulator) -> None:
    mapped(ada)
    configure(USERS="match", LAZY=True)
    assert visit_asgi("/plain", ada.session_token).status_code == 200
    assert emulator.requests() == {}
    for path in READ:
        assert visit_asgi(path, ada.session_token).json() == {"user": "ada", "in": True}
        assert visit_asgi(path).json() == ANONYMOUS


@pytest.mark.rule("S28")
@pytest.mark.parametrize("path", READ)
def test_a_page_that_reads_the_user_says_so(visit: Visit, ada: SignedIn, path: str) -> None:
    mapped(ada)
    for credential in (None, "no-such-session", ada.session_token):
        response = visit(path, credential)
        assert VARY in response.headers["Vary"]
        assert response.headers["Cache-Control"] == "private"
    assert "Vary" not in visit("/plain", ada.session_token).headers


@pytest.mark.rule("S28")
def test_a_cache_keeps_no_page_of_a_user(visit: Visit, ada: SignedIn) -> None:
    cache.clear()
    mapped(ada)
    session = {"session-token": ada.session_token}
    assert visit("/cached", **session).json()["user"] == "ada"
    assert visit("/cached").json() == ANONYMOUS


@pytest.mark.parametrize("path", ["/ends", "/aends"])
def test_logout_ends_djangos_session_and_not_moonkeys(visit: Visit, ada: SignedIn, path: str) -> None:
    mapped(ada)
    bob = by_password()
    assert visit_with_session(visit, path, bob, ada.session_token).json() == ANONYMOUS
    assert not Session.objects.exists()
    assert visit_with_session(visit, "/who", bob).json() == ANONYMOUS
    assert visit("/who", ada.session_token).json() == {"user": "ada", "in": True}


def test_login_counts_for_the_request(visit: Visit, ada: SignedIn) -> None:
    mapped(ada)
    bob = by_password()
    assert visit_with_session(visit, "/begins", bob, ada.session_token).json() == {"user": "bob", "in": True}
    assert visit_with_session(visit, "/who", bob, ada.session_token).json() == {"user": "ada", "in": True}


def test_a_deleted_user_is_nobody(visit: Visit, ada: SignedIn) -> None:
    mapped(ada).delete()
    assert not MoonKeyUser.objects.exists()
    assert visit("/who", ada.session_token).json() == ANONYMOUS


def test_a_request_need_not_wait_for_the_garbage_collector(ada: SignedIn, rf: RequestFactory) -> None:
    mapped(ada)
    request = rf.get("/", headers={"authorization": f"Bearer {ada.session_token}"})
    gc.disable()
    try:
        MoonKeyMiddleware(who)(request)
        gone = weakref.ref(request)
        del request
        assert gone() is None
    finally:
        gc.enable()


def test_djangos_middleware_alone_is_left_alone(visit: Visit, settings: Any, ada: SignedIn) -> None:
    mapped(ada)
    settings.MIDDLEWARE = SESSIONS
    assert visit("/who", ada.session_token).json() == ANONYMOUS
