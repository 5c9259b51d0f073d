"""Django: `request.user` on a real server, by header and by cookie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from integrations.django_people import mapped, set_up
from integrations.django_visits import Configure

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.servers import serve_asgi, serve_wsgi
from support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

COOKIE = "__Host-moonkey_session"
READ = ["/who", "/awho", "/both"]
GATED = ["/login-required", "/alogin-required", "/permission", "/apermission", "/staff", "/admin/"]
HTML = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    configure(USERS="match", COOKIES=True)


@pytest.fixture(params=["wsgi", "asgi"])
def browser(request: pytest.FixtureRequest, _project: None) -> Iterator[httpx.Client]:
    serving = serve_wsgi(WSGIHandler()) if request.param == "wsgi" else serve_asgi(ASGIHandler(), lifespan="off")
    with serving as url, quick.Client(base_url=url) as client:
        yield client


def cookies(person: SignedIn) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={person.session_token}"}


def bearer(person: SignedIn) -> dict[str, str]:
    return {"authorization": f"Bearer {person.session_token}"}


def staff(person: SignedIn) -> None:
    user = mapped(person, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_user"))


@pytest.mark.long
@pytest.mark.parametrize("how", [cookies, bearer])
def test_the_user_of_a_request(browser: httpx.Client, ada: SignedIn, emulator: Emulator, how: Any) -> None:
    staff(ada)
    for path in READ:
        said = browser.get(path, headers=how(ada))
        assert said.json() == {"user": "ada", "in": True}
        assert said.headers["Cache-Control"] in ("private", "no-store")
        assert browser.get(path).json() == {"user": "", "in": False}
    for path in GATED:
        assert browser.get(path, headers=how(ada)).status_code == 200
        assert browser.get(path).status_code == 302
    emulator.fault(status=500)
    for path in ("/both", "/alogin-required", "/staff", "/admin/", "/page/not", "/stream"):
        refused = browser.get(path, headers={**how(ada), **HTML})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        kind = "text/html; charset=utf-8" if how is cookies else "application/problem+json"
        assert refused.headers["Content-Type"] == kind


@pytest.mark.rule("S43")
def test_a_cookie_that_another_site_sends_is_nobodys(browser: httpx.Client, ada: SignedIn, settings: Any) -> None:
    mapped(ada)
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if "csrf" not in one.lower()]
    foreign = {**cookies(ada), "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    own = {**cookies(ada), "sec-fetch-site": "same-origin"}
    for path in READ:
        assert browser.post(path, headers=foreign).json() == {"user": "", "in": False}
        assert browser.post(path, headers=own).json() == {"user": "ada", "in": True}
    assert browser.post("/login-required", headers=foreign).status_code == 302


def test_rest_framework_tells_another_site_403(browser: httpx.Client, ada: SignedIn, settings: Any) -> None:
    """Its views are exempt from Django's CSRF check: ours stands in its place."""
    mapped(ada)
    settings.ROOT_URLCONF = "integrations.django_rest_site"
    foreign = {**cookies(ada), "origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    for path in ("/open", "/protected", "/session-too"):
        refused = browser.post(path, headers=foreign)
        assert (refused.status_code, "detail" in refused.json()) == (403, True)
        assert browser.post(path, headers={**cookies(ada), "sec-fetch-site": "same-origin"}).status_code == 200
        assert browser.post(path, headers=bearer(ada)).status_code == 200
        assert browser.get(path, headers=cookies(ada)).json()["user"] == "ada"


def test_a_revoked_cookie_is_nobodys(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    mapped(ada)
    assert browser.get("/who", headers=cookies(ada)).json()["in"]
    emulator.revoke(ada.session_id)
    refused = browser.get("/login-required", headers=cookies(ada))
    assert refused.status_code == 302
    assert "Max-Age=0" in refused.headers["Set-Cookie"]


@pytest.mark.long
def test_many_at_the_same_time(browser: httpx.Client, emulator: Emulator) -> None:
    people = [emulator.sign_in(f"p{place}@example.com") for place in range(6)]
    for place, person in enumerate(people):
        mapped(person, f"p{place}")

    def visits(place: int) -> list[Any]:
        paths = [READ[turn % 3] for turn in range(9)]
        return [browser.get(path, headers=bearer(people[place])).json()["user"] for path in paths]

    assert together(6, visits) == [[f"p{place}"] * 9 for place in range(6)]
