from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import TestCase

from moonkey_core.audit import assert_all_protected
from moonkey_core.testing import MoonKeyTestMixin, assert_requires_auth, assert_step_up

pytestmark = pytest.mark.django_db


def test_a_user_is_made_at_the_first_request(signed_in: Any) -> None:
    ada = signed_in(email="ada@example.com")
    assert ada.get("/tickets").status_code == 200
    made = User.objects.get()
    grace = signed_in(email="grace@example.com", client="drf", by="header")
    assert grace.get("/api/tickets").json()["user"] != made.pk
    assert User.objects.count() == 2


def test_the_api(signed_in: Any) -> None:
    ada = signed_in(client="drf")
    said = ada.post("/api/tickets", {"text": "help"}, format="json")
    assert said.json()["said"] == {"text": "help"}


@pytest.mark.parametrize("kind", ["django", "drf"])
def test_what_is_closed(signed_out: Any, kind: str) -> None:
    visitor = signed_out(client=kind)
    assert_requires_auth(visitor, "/tickets")
    assert_requires_auth(visitor, "/tickets/delete", method="POST")
    assert_requires_auth(visitor, "/api/tickets", method="POST")


def test_no_route_is_open_by_mistake() -> None:
    assert_all_protected()


def test_step_up(signed_in: Any) -> None:
    assert_step_up(signed_in(), "/tickets/delete", factors={"totp"}, max_age=300, method="POST")
    assert signed_in(mfa=True).post("/tickets/delete").json() == {"deleted": True}


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_an_asynchronous_view(signed_in: Any) -> None:
    for by in ("cookies", "header"):
        ada = signed_in(client="async", by=by)
        assert (await ada.get("/events")).status_code == 200
    await assert_requires_auth(ada, "/events")


def test_changed_settings(signed_in: Any, settings: Any) -> None:
    usual = settings.MOONKEY
    settings.MOONKEY = {**usual, "COOKIES": None, "JWT_ISSUER": None, "SECRET_KEY": "sk_test_of_another_project"}
    assert signed_in().moonkey.cookies == {}
    assert signed_in().get("/tickets").status_code == 200
    settings.MOONKEY = usual
    assert signed_in().get("/tickets").status_code == 200


@pytest.mark.parametrize("kind", ["django", "async"])
def test_the_own_host(signed_in: Any, kind: str) -> None:
    ada = signed_in(client=kind, base_url="https://desk.example.com")
    response = ada.get("/tickets") if kind == "django" else async_to_sync(ada.get)("/tickets")
    assert response.status_code == 200
    request = response.wsgi_request if kind == "django" else response.asgi_request
    assert request.build_absolute_uri("/") == "https://desk.example.com/"


def test_an_outage(signed_in: Any) -> None:
    assert signed_in(unavailable=True, credential="token").get("/tickets").status_code == 503


class TicketsTest(MoonKeyTestMixin, TestCase):
    def test_tickets(self) -> None:
        ada = self.signed_in(email="ada@example.com")
        self.assertContains(ada.get("/tickets"), "Tickets of")
        self.assert_requires_auth(ada, "/tickets")
        self.moonkey_faults.revoked(ada, told=True)
        self.assertRedirects(ada.get("/tickets"), "/sign-in?next=/tickets", fetch_redirect_response=False)
