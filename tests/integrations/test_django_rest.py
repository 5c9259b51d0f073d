"""Django REST framework: who calls, and what the others are told."""

from __future__ import annotations

import base64
import logging
import pickle
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from integrations.django_people import SESSIONS, by_password, mapped, set_up, statements, visit_with_session
from integrations.django_rest_site import Protected
from integrations.django_visits import Configure, Visit
from rest_framework.views import exception_handler

from moonkey_core import User
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django.rest_framework import RestUser

pytestmark = pytest.mark.django_db(transaction=True)

USERS: list[Any] = [None, "match"]
BARE = 'Bearer realm="moonkey"'
INVALID = f'{BARE}, error="invalid_token"'
VARY = {"Authorization", "Session-Token"}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    settings.ROOT_URLCONF = "integrations.django_rest_site"
    cache.clear()


@pytest.fixture(params=USERS, ids=["without users", "with users"])
def users(request: pytest.FixtureRequest, configure: Configure, ada: SignedIn) -> str | None:
    """Both ways; Ada is a user of Django's too where there are any."""
    configure(USERS=request.param)
    mapped(ada)
    how: str | None = request.param
    return how


def bare(person: SignedIn) -> str:
    return person.user_id.removeprefix("user_")


@pytest.mark.parametrize("path", ["/open", "/protected", "/session-too"])
def test_who_calls(visit: Visit, users: str | None, ada: SignedIn, path: str) -> None:
    for credential in (ada.session_token, ada.session_jwt):
        said = visit(path, credential)
        name = bare(ada) if users is None else "ada"
        assert (said.status_code, said.json()["user"], said.json()["auth"]) == (200, name, ada.user_id)
        assert {name.strip() for name in said.headers["Vary"].split(",")} >= VARY
        assert said.headers["Cache-Control"] == "private"


def test_nobody(visit: Visit, users: str | None) -> None:
    assert visit("/open").json() == {"user": "AnonymousUser", "id": None, "auth": None}
    for path in ("/protected", "/session-too"):
        refused = visit(path)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, BARE)
        assert refused.json() == {"detail": "Authentication credentials were not provided."}
        assert refused.headers["Cache-Control"] == "private"


@pytest.mark.parametrize("path", ["/open", "/protected", "/session-too"])
def test_a_bad_credential_is_refused_everywhere(
    visit: Visit, users: str | None, ada: SignedIn, emulator: Emulator, path: str
) -> None:
    refused = visit(path, "no-such-session")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, INVALID)
    assert "Sign in again" in refused.json()["detail"]
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert refused.headers["Cache-Control"] == "no-store"
    malformed = visit(path, "a b")
    assert malformed.status_code == 400
    assert malformed.headers["WWW-Authenticate"] == f'{BARE}, error="invalid_request"'
    assert "malformed" in malformed.json()["detail"]
    emulator.revoke(ada.session_id)
    assert visit(path, ada.session_token).status_code == 401


@pytest.mark.rule("S27")
@pytest.mark.parametrize("path", ["/open", "/protected", "/session-too"])
def test_trouble_is_503(
    visit: Visit, users: str | None, ada: SignedIn, emulator: Emulator, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fault(status=500, headers={"Retry-After": "70"})
    refused = visit(path, ada.session_token)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) in (5, 70)
    assert "cannot be determined" in refused.json()["detail"]
    assert "WWW-Authenticate" not in refused.headers
    assert "Traceback" not in caplog.text
    assert "django.request" not in [one.name for one in caplog.records if one.levelno >= logging.WARNING]
    emulator.clear_faults()
    emulator.fault(status=401, body='{"status_code": 401, "error_type": "unauthorized", "error_message": "no"}')
    assert visit(path, ada.session_token).status_code == 500


def test_a_refusal_is_in_the_log_once(visit: Visit, users: str | None, caplog: pytest.LogCaptureFixture) -> None:
    for credential, reason in ((None, "no_credentials"), ("no-such-session", "session_unknown")):
        caplog.clear()
        caplog.set_level("INFO", "moonkey")
        visit("/protected", credential)
        told = [getattr(record, "reason", None) for record in caplog.records if record.name == "moonkey"]
        assert told.count(reason) == 1


def test_403_is_rest_frameworks_own(visit: Visit, users: str | None, ada: SignedIn) -> None:
    refused = visit("/forbidden", ada.session_token)
    assert (refused.status_code, refused.json()) == (403, {"detail": "Not you."})
    assert visit("/admins", ada.session_token).status_code == 403
    assert visit("/forbidden").status_code == 401


def test_permissions(visit: Visit, configure: Configure, users: str | None, ada: SignedIn) -> None:
    assert visit("/by-model", ada.session_token, method="POST").status_code == 403
    get_user_model().objects.update(is_superuser=True, is_staff=True)
    expected = 403 if users is None else 200
    assert visit("/by-model", ada.session_token, method="POST").status_code == expected
    assert visit("/admins", ada.session_token).status_code == expected


def test_throttles_count_by_user(visit: Visit, users: str | None, ada: SignedIn, emulator: Emulator) -> None:
    bob = emulator.sign_in("bob@example.com")
    mapped(bob, "bob")
    for _ in range(2):
        assert visit("/throttled", ada.session_token).status_code == 200
    refused = visit("/throttled", ada.session_jwt)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 3000
    assert visit("/throttled", bob.session_token).status_code == 200


def test_who_is_no_user_here_is_nobody(
    visit: Visit, configure: Configure, ada: SignedIn, emulator: Emulator
) -> None:
    configure(USERS="match")
    stranger = emulator.sign_in("eve@example.com")
    user = mapped(ada)
    assert visit("/open", stranger.session_token).json()["user"] == "AnonymousUser"
    assert visit("/protected", stranger.session_token).status_code == 401
    user.is_active = False
    user.save()
    assert visit("/protected", ada.session_token).headers["WWW-Authenticate"] == BARE


def test_other_classes_still_work(visit: Visit, configure: Configure, ada: SignedIn) -> None:
    configure(USERS="match")
    mapped(ada)
    bob = by_password()
    assert visit_with_session(visit, "/session-too", bob).json()["user"] == "bob"
    assert visit_with_session(visit, "/session-too", bob, ada.session_token).json()["user"] == "ada"
    assert visit_with_session(visit, "/session-too", bob, "no-such-session").status_code == 401
    user = get_user_model().objects.get(username="bob")
    user.set_password("right")
    user.save()
    for password, status in (("right", 200), ("wrong", 401)):
        basic = base64.b64encode(f"bob:{password}".encode()).decode()
        assert visit("/session-too", authorization=f"Basic {basic}").status_code == status


def test_where_it_is_not_first_the_challenge_is_anothers(visit: Visit, users: str | None) -> None:
    refused = visit("/session-first", "no-such-session")
    assert refused.status_code == 403  # REST framework's rule for classes that have no challenge
    assert "WWW-Authenticate" not in refused.headers


def test_one_query(visit: Visit, users: str | None, ada: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = statements(monkeypatch)
    assert visit("/protected", ada.session_token).status_code == 200
    assert queries == ([] if users is None else ["SELECT"])
    queries.clear()
    assert visit("/protected").status_code == 401
    assert queries == []


def test_without_the_middleware(visit: Visit, settings: Any, rf: RequestFactory) -> None:
    with pytest.raises(ImproperlyConfigured, match="has not passed MoonKey"):
        Protected.as_view()(rf.get("/"))
    settings.MIDDLEWARE = SESSIONS
    assert visit("/open").status_code == 500


def test_the_user_of_rest_framework_alone() -> None:
    user, same, other = RestUser(User("user_x")), RestUser(User("x")), RestUser(User("user_y"))
    assert (user.pk, user.id, str(user), user.get_username()) == ("x", "x", "x", "x")
    assert user == same != other
    assert hash(user) == hash(same)
    assert user.is_authenticated
    assert not user.is_anonymous
    assert not any([user.is_staff, user.is_superuser])
    assert not any([user.has_perm("auth.view_user"), user.has_perms([]), user.has_module_perms("auth")])
    assert pickle.loads(pickle.dumps(user)) == user


@pytest.mark.rule("S29")
def test_no_code_says_which_check_has_failed(
    visit: Visit, settings: Any, configure: Configure, emulator: Emulator
) -> None:
    """Exception handlers of other packages send the codes to the client."""
    codes: list[Any] = []

    def handler(error: Any, context: Any) -> Any:
        codes.append(error.get_codes())
        return exception_handler(error, context)

    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": handler}
    for credential in ("no-such-session", emulator.mint(key="foreign"), emulator.mint({"iss": "https://other"})):
        visit("/open", credential)
    visit("/open", "a b")
    emulator.fault(status=500)
    visit("/open", "another-session")
    invalid = {"detail": "invalid_token", "reason": "invalid_token"}
    assert codes == [invalid] * 3 + ["invalid_request", "service_unavailable"]
