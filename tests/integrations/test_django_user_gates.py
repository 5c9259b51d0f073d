"""Django: what stands before views and asks `request.user`."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import Permission
from django.test import Client
from integrations.django_people import OURS, mapped, set_up, statements
from integrations.django_visits import Configure, Visit

from moonkey_core.emulator import Emulator, SignedIn

pytestmark = pytest.mark.django_db(transaction=True)

GATED = ["/login-required", "/alogin-required", "/passes-test", "/permission", "/apermission", "/staff"]
DJANGOS = "django.contrib.auth.middleware.LoginRequiredMiddleware"
LOGIN_REQUIRED = "moonkey_django.login_required.LoginRequiredMiddleware"
PEOPLE = "integrations.django_people"


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    configure(USERS="match")


@pytest.mark.rule("S27")
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


@pytest.mark.rule("S27")
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
    set_up(settings, OURS, DJANGOS)
    source = inspect.getsource(LoginRequiredMiddleware.process_view)
    asks_first = source.index("is_authenticated") < source.index('"login_required"')  # newer ones no longer do
    assert visit("/sign-in", ada.session_token).status_code == (503 if asks_first else 200)


@pytest.mark.long
def test_the_admin(visit: Visit, ada: SignedIn, emulator: Emulator) -> None:
    user = mapped(ada, is_staff=True, is_superuser=True)
    page = visit("/admin/", ada.session_token)
    assert (page.status_code, b"MoonKey users" in page.content) == (200, True)
    found = visit(f"/admin/moonkey_users/moonkeyuser/?q={ada.user_id}", ada.session_token)
    assert f">{ada.user_id}</a>" in found.content.decode()
    assert visit("/admin/moonkey_users/moonkeyuser/?q=user_", ada.session_token).status_code == 200
    assert visit(f"/admin/moonkey_users/moonkeyuser/{user.pk}/change/", ada.session_token).status_code == 200
    assert visit("/admin/").headers["Location"] == "/admin/login/?next=/admin/"
    emulator.fault(status=500)
    assert visit("/admin/", ada.session_token).status_code == 503
    assert visit("/admin/login/", ada.session_token).status_code == 503
    assert visit("/admin/login/").status_code == 200
