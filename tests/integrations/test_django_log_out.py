"""S35, S46. "Log out" of Django's admin, and of ``LogoutView``, ends the MoonKey session of a mapped user."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.cache import never_cache
from integrations import django_people
from integrations.django_people import by_password, mapped, set_up
from integrations.django_visits import Configure

from moonkey_core.emulator import Emulator, SignedIn
from support.bindings import bound
from support.visitors import JWT, SESSION

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.rule("S35", "S46")]

other_site = admin.AdminSite(name="other")


class OwnView(LogoutView):
    next_page = "/bye"


urlpatterns = [
    *django_people.urlpatterns,
    path("other/", other_site.urls),
    path("leave", OwnView.as_view(), name="leave"),
    path("decorated", never_cache(LogoutView.as_view(next_page="/bye"))),
]
PATHS = ["/admin/logout/", "/other/logout/", "/leave", "/decorated"]
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    settings.ROOT_URLCONF = __name__
    configure(USERS="match", COOKIES={})


@pytest.fixture(params=["wsgi", "asgi"])
def send(request: pytest.FixtureRequest) -> Any:
    """``send(method, path, person=…, session=…, **headers)``: a browser with the cookies of a person."""

    def made(client: Any, person: SignedIn | None, session: str | None) -> Any:
        if person is not None:
            for name, value in bound({SESSION: person.session_token, JWT: person.session_jwt}).items():
                client.cookies[name] = value
        if session is not None:
            client.cookies["sessionid"] = session
        return client

    def wsgi(method: str, where: str, person: Any = None, session: Any = None, **headers: str) -> Any:
        client = made(Client(raise_request_exception=False), person, session)
        return client.generic(method, where, headers={**SAME_SITE, **headers})

    def asgi(method: str, where: str, person: Any = None, session: Any = None, **headers: str) -> Any:
        client = made(AsyncClient(raise_request_exception=False), person, session)
        return asyncio.run(client.generic(method, where, headers={**SAME_SITE, **headers}))

    return wsgi if request.param == "wsgi" else asgi


def ended(emulator: Emulator, person: SignedIn) -> bool:
    return any("DELETE" in call or "delete" in call for call in emulator.requests())


@pytest.mark.parametrize("where", PATHS)
def test_it_ends_the_session_and_removes_its_cookies(
    send: Any, ada: SignedIn, emulator: Emulator, where: str
) -> None:
    mapped(ada, is_staff=True, is_superuser=True)
    assert send("GET", "/who", ada).json()["user"] == "ada"
    response = send("POST", where, ada)
    assert response.status_code in (200, 302)
    assert {name: response.cookies[name].value for name in (SESSION, JWT)} == {SESSION: "", JWT: ""}
    assert response.headers["Cache-Control"] == "no-store"
    for headers in (
        {"session-token": ada.session_token},
        {"session-token": ada.session_jwt},
    ):
        assert send("GET", "/who", **headers).json() == {"user": "", "in": False}
    assert send("GET", "/who", ada).json() == {"user": "", "in": False}
    assert ended(emulator, ada)


@pytest.mark.parametrize("cookies", [{}, None], ids=["cookies", "none"])
@pytest.mark.parametrize("kind", ["session_token", "session_jwt"])
def test_that_of_a_header_ends_too(
    send: Any, configure: Configure, ada: SignedIn, emulator: Emulator, cookies: Any, kind: str
) -> None:
    configure(USERS="match", COOKIES=cookies)
    mapped(ada)
    credential = {"session-token": getattr(ada, kind)}
    assert send("POST", "/leave", **credential).status_code == 302
    assert send("GET", "/who", **credential).json() == {"user": "", "in": False}
    assert ended(emulator, ada)


def test_a_get_ends_nothing(send: Any, ada: SignedIn, emulator: Emulator) -> None:
    mapped(ada, is_staff=True)
    for where in PATHS:
        assert send("GET", where, ada).status_code == 405
    assert send("GET", "/who", ada).json()["user"] == "ada"
    assert not ended(emulator, ada)


def test_a_page_of_another_site_ends_nothing(send: Any, ada: SignedIn, emulator: Emulator) -> None:
    mapped(ada)
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    response = send("POST", "/leave", ada, **foreign)
    assert SESSION not in response.cookies
    assert send("GET", "/who", ada).json()["user"] == "ada"
    assert not ended(emulator, ada)


def test_who_came_by_password_ends_djangos_session_alone(send: Any, ada: SignedIn, emulator: Emulator) -> None:
    mapped(ada)
    bob = by_password()
    response = send("POST", "/leave", session=bob)
    assert response.status_code == 302
    assert SESSION not in response.cookies
    assert send("GET", "/who", session=bob).json() == {"user": "", "in": False}
    assert emulator.requests() == {} or not ended(emulator, ada)


def test_both_sessions_of_a_browser_end(send: Any, ada: SignedIn) -> None:
    mapped(ada)
    bob = by_password()
    assert send("POST", "/leave", ada, bob).status_code == 302
    assert send("GET", "/who", session=bob).json() == {"user": "", "in": False}
    assert send("GET", "/who", ada, bob).json() == {"user": "", "in": False}


@pytest.mark.parametrize("where", PATHS)
def test_it_can_be_turned_off(
    send: Any, configure: Configure, ada: SignedIn, emulator: Emulator, where: str
) -> None:
    configure(USERS="match", COOKIES={}, LOGOUT_ENDS_SESSION=False)
    mapped(ada)
    response = send("POST", where, ada)
    assert SESSION not in response.cookies
    assert send("GET", "/who", ada).json()["user"] == "ada"
    assert not ended(emulator, ada)


def test_nothing_ends_where_users_are_not_mapped(send: Any, configure: Configure, ada: SignedIn) -> None:
    configure(COOKIES={})
    response = send("POST", "/leave", ada)
    assert SESSION not in response.cookies
    configure(USERS="match", COOKIES={})
    mapped(ada)
    assert send("GET", "/who", ada).json()["user"] == "ada"


@pytest.mark.parametrize("where", ["/ends", "/aends"])
def test_a_view_of_the_projects_own_ends_djangos_session_alone(send: Any, ada: SignedIn, where: str) -> None:
    mapped(ada)
    assert SESSION not in send("GET", where, ada).cookies
    assert send("GET", "/who", ada).json()["user"] == "ada"


def test_while_the_api_is_down_it_is_refused_here(send: Any, ada: SignedIn, emulator: Emulator) -> None:
    """The JWT is verified locally; the session is refused here, and the API is told later."""
    mapped(ada)
    assert send("GET", "/who", ada).json()["user"] == "ada"
    emulator.fault("/v1/auth/sessions", status=503)
    response = send("POST", "/leave", ada)
    assert response.status_code == 302
    assert response.cookies[SESSION].value == ""
    assert send("GET", "/who", **{"session-token": ada.session_jwt}).json() == {"user": "", "in": False}


def test_the_setting_is_checked(configure: Configure) -> None:
    configure(USERS="match", LOGOUT_ENDS_SESSION="no")
    with pytest.raises(ImproperlyConfigured, match="LOGOUT_ENDS_SESSION"):
        WSGIHandler()
