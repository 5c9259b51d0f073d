"""Django: `request.user` from MoonKey."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client, RequestFactory
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
DJANGOS = "django.contrib.auth.middleware.LoginRequiredMiddleware"
LOGIN_REQUIRED = "moonkey_django.login_required.LoginRequiredMiddleware"
PEOPLE = "integrations.django_people"
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


@pytest.mark.parametrize("path", GATED)
def test_djangos_gates(visit: Visit, ada: SignedIn, emulator: Emulator, path: str) -> None:
    user = mapped(ada)
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    assert visit(path, ada.session_token).json()["user"] == "ada"
    for credential in (None, "no-such-session"):
        response = visit(path, credential)
        assert (response.status_code, response.headers["Location"]) == (302, f"/sign-in?next={path}")
        assert response.headers["Cache-Control"] == "private"
    emulator.fault(status=500)
    response = visit(path, ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Location" not in response.headers


def test_permissions_are_djangos_own(visit: Visit, ada: SignedIn) -> None:
    user = mapped(ada)
    assert visit("/permission-raises", ada.session_token).status_code == 403
    assert visit("/staff", ada.session_token).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    assert visit("/permission-raises", ada.session_token).status_code == 200


def test_permissions_with_our_backend_alone(visit: Visit, ada: SignedIn, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["moonkey_django.backend.MoonKeyBackend"]
    user = mapped(ada, is_staff=True)
    user.set_password("right")
    user.save()
    assert not Client().login(username="ada", password="right")
    assert visit("/permission-raises", ada.session_token).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    assert visit("/permission-raises", ada.session_token).status_code == 200


@pytest.mark.parametrize("path", [*READ, "/stream"])
def test_what_cannot_be_known_is_503(visit: Visit, ada: SignedIn, emulator: Emulator, path: str) -> None:
    mapped(ada)
    emulator.fault(status=500)
    response = visit(path, ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert visit(path).status_code == 200
    assert visit("/plain", ada.session_token).status_code == 200


def test_a_view_that_catches_it_is_503_all_the_same(visit: Visit, ada: SignedIn, emulator: Emulator) -> None:
    emulator.fault(status=500)
    assert visit("/catches", ada.session_token).status_code == 503
    assert visit("/catches").status_code == 200


@pytest.mark.parametrize(
    "middleware", [[OURS, f"{PEOPLE}.Asks"], [f"{PEOPLE}.Asks", OURS], [OURS, f"{PEOPLE}.AsksFirst"]]
)
def test_what_another_middleware_cannot_know_is_503(
    visit: Visit, ada: SignedIn, emulator: Emulator, settings: Any, middleware: list[str]
) -> None:
    """Its `process_view` runs where no error of it can pass us: Django makes a 500 of it."""
    mapped(ada)
    set_up(settings, *middleware)
    assert visit("/plain", ada.session_token).content == b"plain"
    assert visit("/plain").status_code == 418
    emulator.fault(status=500)
    response = visit("/plain", ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("middleware", [DJANGOS, LOGIN_REQUIRED])
def test_login_required_everywhere(
    visit: Visit, ada: SignedIn, emulator: Emulator, settings: Any, middleware: str
) -> None:
    mapped(ada)
    set_up(settings, OURS, middleware)
    assert visit("/plain", ada.session_token).content == b"plain"
    for credential in (None, "no-such-session"):
        assert visit("/plain", credential).headers["Location"] == "/sign-in?next=/plain"
        assert visit("/sign-in", credential).content == b"sign in"
    assert visit("/sign-in", ada.session_token).content == b"sign in"
    emulator.fault(status=500)
    response = visit("/plain", ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert visit("/plain").status_code == 302


def test_a_page_for_everybody_needs_nobody_to_be_known(
    visit: Visit,
    ada: SignedIn,
    emulator: Emulator,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_up(settings, OURS, LOGIN_REQUIRED)
    emulator.fault(status=500)
    queries = statements(monkeypatch)
    response = visit("/sign-in", ada.session_token)
    assert (response.status_code, queries) == (200, [])
    assert "Vary" not in response.headers
    assert visit("/plain", ada.session_token).status_code == 503
    assert "Traceback" not in caplog.text
    set_up(settings, OURS, DJANGOS)  # which asks first
    assert visit("/sign-in", ada.session_token).status_code == 503


def test_the_admin(visit: Visit, ada: SignedIn, emulator: Emulator) -> None:
    user = mapped(ada, is_staff=True, is_superuser=True)
    page = visit("/admin/", ada.session_token)
    assert (page.status_code, b"MoonKey users" in page.content) == (200, True)
    found = visit(f"/admin/moonkey_users/moonkeyuser/?q={ada.user_id}", ada.session_token)
    assert f">{ada.user_id.removeprefix('user_')}</a>" in found.content.decode()
    assert visit("/admin/moonkey_users/moonkeyuser/?q=user_", ada.session_token).status_code == 200
    assert visit(f"/admin/moonkey_users/moonkeyuser/{user.pk}/change/", ada.session_token).status_code == 200
    assert visit("/admin/").headers["Location"] == "/admin/login/?next=/admin/"
    emulator.fault(status=500)
    assert visit("/admin/", ada.session_token).status_code == 503
    assert visit("/admin/login/", ada.session_token).status_code == 503
    assert visit("/admin/login/").status_code == 200


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


@pytest.mark.parametrize("path", READ)
def test_a_page_that_reads_the_user_says_so(visit: Visit, ada: SignedIn, path: str) -> None:
    mapped(ada)
    for credential in (None, "no-such-session", ada.session_token):
        response = visit(path, credential)
        assert VARY in response.headers["Vary"]
        assert response.headers["Cache-Control"] == "private"
    assert "Vary" not in visit("/plain", ada.session_token).headers


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
