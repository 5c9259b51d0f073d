"""Django: identity in templates."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from integrations.django_people import PAGES, mapped, set_up, statements
from integrations.django_visits import Configure, Visit, visit_asgi, visit_wsgi

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django.context_processors import moonkey

pytestmark = pytest.mark.django_db(transaction=True)

VERIFY = "POST /v1/auth/sessions/verify"
ROUTES = ["/page", "/deferred"]
VARY = "Authorization, Session-Token"


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    configure(USERS="match")


@pytest.mark.parametrize("route", [*ROUTES, "/apage"])
def test_moonkey_in_a_template(visit: Visit, ada: SignedIn, emulator: Emulator, route: str) -> None:
    said = visit(f"{route}/moonkey", ada.session_token)
    assert said.content.decode() == f"{ada.user_id} {ada.user_id} authenticated"
    assert said.headers["Vary"].startswith(VARY)
    assert said.headers["Cache-Control"] == "private"
    assert visit(f"{route}/moonkey").content.split() == [b"anonymous"]
    assert visit(f"{route}/moonkey", "no-such-session").content.split() == [b"rejected"]
    for name in ("if-moonkey", "not-moonkey"):
        assert visit(f"{route}/{name}", ada.session_token).content == b"in"
        assert visit(f"{route}/{name}").content == b"out"
    emulator.fault(status=500)
    assert visit(f"{route}/moonkey", ada.session_token).content.split() == [b"unavailable"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_template_that_does_not_read_it_verifies_nobody(
    ada: SignedIn, emulator: Emulator, configure: Configure, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = statements(monkeypatch)
    configure(USERS="match", LAZY=True)
    for visit in (visit_wsgi, visit_asgi):
        response = visit(f"{route}/plain", ada.session_token)
        assert response.content == b"<p>hello</p>"
        assert "Vary" not in response.headers
    assert emulator.requests() == {}
    assert queries == []


def test_without_users_too(visit: Visit, ada: SignedIn, configure: Configure) -> None:
    configure()
    assert visit("/page/if-moonkey", ada.session_token).content == b"in"
    assert visit("/page/user", ada.session_token).content == b"AnonymousUser"


def test_lazy_asgi_on_the_event_loop(
    ada: SignedIn, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(USERS="match", LAZY=True)
    mapped(ada)
    assert visit_asgi("/apage/moonkey", ada.session_token).status_code == 500
    assert "`auth = await request.amoonkey()` first" in caplog.text
    assert visit_asgi("/page/if-moonkey", ada.session_token).content == b"in"
    # No operator of a template may make a page for nobody of it.
    assert visit_asgi("/apage/not", ada.session_token).status_code == 500
    for name, expected in (("if-moonkey", b"in"), ("not", b"in"), ("user", b"ada")):
        assert visit_asgi(f"/awaited-page/{name}", ada.session_token).content == expected


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["user", "and", "not"])
def test_the_user_in_a_template(visit: Visit, ada: SignedIn, emulator: Emulator, route: str, name: str) -> None:
    mapped(ada)
    seen = {b"user": (b"ada", b"AnonymousUser")}.get(name.encode(), (b"in", b"out"))
    assert visit(f"{route}/{name}", ada.session_token).content == seen[0]
    response = visit(f"{route}/{name}")
    assert response.content == seen[1]
    assert response.headers["Cache-Control"] == "private"


@pytest.mark.rule("S27")
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["user", "and", "not"])
def test_no_operator_makes_nobody_of_whom_we_cannot_know(
    visit: Visit, ada: SignedIn, emulator: Emulator, route: str, name: str
) -> None:
    """Django's template operators turn every exception into `False`: the page would be that of a stranger."""
    mapped(ada)
    emulator.fault(status=500)
    response = visit(f"{route}/{name}", ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json()["status"] == 503


def test_a_page_made_outside_of_the_middleware(rf: RequestFactory) -> None:
    """As an error page of another middleware: only one that reads it fails."""
    found = moonkey(rf.get("/"))["moonkey"]
    with pytest.raises(ImproperlyConfigured, match="has not passed MoonKey"):
        bool(found)


def test_the_pages_are_all_shown() -> None:
    assert set(PAGES) == {"plain", "user", "and", "not", "moonkey", "if-moonkey", "not-moonkey"}
