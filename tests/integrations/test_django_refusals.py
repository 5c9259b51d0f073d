"""Django and REST framework: what is raised for a request, and who answers it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from contract.refusals import REFUSALS
from integrations.django_refusals_site import found
from integrations.django_visits import Configure, Visit
from rest_framework import exceptions

from moonkey_core import MissingCredentials
from moonkey_core.emulator import Emulator
from support.visitors import PAGE

URLS = "integrations.django_refusals_site"
MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]


@pytest.fixture(autouse=True)
def _project(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = URLS
    found.clear()
    yield
    found.clear()


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.msg.startswith("refused")]


def test_what_is_raised_where_rest_framework_is_in_use(visit: Visit) -> None:
    assert visit("/caught").content == b"nobody"
    (error,) = found
    assert isinstance(error, MissingCredentials)
    assert isinstance(error, exceptions.APIException)
    assert not isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed)
    assert (error.status_code, error.detail, error.get_codes()) == (401, "Sign in to continue.", "unauthorized")
    assert error.get_full_details() == {"message": "Sign in to continue.", "code": "unauthorized"}
    assert str(error) == str(MissingCredentials())


def test_what_is_raised_where_it_is_not(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "rest_framework.exceptions")
    assert visit("/caught").content == b"nobody"
    assert [type(error) for error in found] == [MissingCredentials]
    assert visit("/raises").status_code == 401


def test_a_view_that_catches_it_has_refused_nobody(visit: Visit, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    visit("/caught")
    assert ours(caplog) == []


@pytest.mark.parametrize("where", ["/raises", "/api"])
def test_a_refusal_is_in_the_log_once(visit: Visit, caplog: pytest.LogCaptureFixture, where: str) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    refused = visit(where, **{"x-request-id": "one"})
    assert (refused.status_code, refused.headers["Content-Type"]) == (401, "application/problem+json")
    assert ours(caplog) == ["refused with 401: no_credentials, request one"]


@pytest.mark.parametrize("where", ["/raises", "/api"])
def test_a_browser_gets_a_page(visit: Visit, configure: Configure, where: str) -> None:
    configure(COOKIES={})
    refused = visit(where, **{name.lower(): value for name, value in PAGE.items()})
    assert (refused.status_code, refused.headers["Content-Type"]) == (401, "text/html; charset=utf-8")


def test_a_500_of_the_project_is_its_own(visit: Visit) -> None:
    """Though an error of MoonKey was raised, and caught, before it."""
    own = visit("/own_500")
    assert (own.status_code, own.json()) == (500, {"own": 500})
    bug = visit("/broken")
    assert (bug.status_code, bug.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert len(found) == 2


def test_middleware_that_refuses_is_logged_by_django(
    visit: Visit, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MIDDLEWARE = [*MIDDLEWARE, f"{URLS}.checking"]
    refused = visit("/caught")
    assert (refused.status_code, refused.json()["status"]) == (401, 401)
    assert found == []
    assert "Internal Server Error: /caught" in caplog.text


def test_middleware_outside_of_ours_sees_a_response(visit: Visit, settings: Any) -> None:
    settings.MIDDLEWARE = [f"{URLS}.Answering", *MIDDLEWARE]
    assert visit("/raises").status_code == 401


def test_what_other_middleware_does_with_exceptions_of_views_is_its_own(visit: Visit, settings: Any) -> None:
    """As docs/refusals.md says."""
    settings.MIDDLEWARE = [*MIDDLEWARE, f"{URLS}.Answering"]
    answered = visit("/raises")
    assert (answered.status_code, answered.json()) == (500, {"foreign": "MissingCredentials"})


@pytest.mark.parametrize("situation", ["no credential", "bad credential", "outage"])
def test_a_rest_view_without_authenticators(visit: Visit, emulator: Emulator, situation: str) -> None:
    refused = REFUSALS[situation]
    sent = {name.lower(): value for name, value in refused.arrange(emulator).items()}
    response = visit("/api", **sent)
    assert response.status_code == refused.status
    assert response.headers.get("WWW-Authenticate") == refused.challenge
    assert response.headers["Cache-Control"] == "no-store"
