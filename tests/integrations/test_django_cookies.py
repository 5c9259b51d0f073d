"""Django with cookies: which credential counts, which cookies go out, what a browser gets that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import RequestFactory
from integrations import django_browsing_site
from integrations.django_browsing_site import browsing
from integrations.django_visits import Configure

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django import MoonKeyMiddleware, get_client, require_auth, set_cookies
from support.bindings import BINDING
from support.together import together
from support.visitors import (
    GONE,
    JWT,
    SESSION,
    pair,
    set_by,
    signed_in_long_ago,
    vary,
    verifications,
)


@pytest.fixture(params=["wsgi", "asgi", "lazy"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the site is served; ``lazy`` is ASGI where nothing is verified before the view."""
    name: str = request.param
    return name


lazily = pytest.mark.parametrize("kind", ["lazy"])
"""For what needs another path than the contract suite takes, and comes out the same of the other two."""


@pytest.fixture
def with_cookies(configure: Configure, settings: Any, kind: str) -> Configure:
    """Django's settings for the site with cookies; further ones can be given."""
    settings.ROOT_URLCONF = "integrations.django_browsing_site"
    settings.DEBUG = False

    def set_(**options: object) -> None:
        configure(**{"COOKIES": {}, "LAZY": kind == "lazy", **options})

    set_()
    return set_


@pytest.fixture
def browser(with_cookies: Configure, kind: str) -> Iterator[httpx.Client]:
    with browsing(kind) as browser:
        yield browser


@pytest.mark.rule("S40")
@pytest.mark.parametrize(
    ("kind", "path", "status"),
    [
        ("wsgi", "/unauthorized", 401),
        ("asgi", "/unauthorized", 401),
        ("lazy", "/unauthorized", 401),
        ("lazy", "/ame", 200),
        ("lazy", "/broken", 500),
    ],
)
def test_an_old_jwt_is_refreshed(browser: httpx.Client, emulator: Emulator, path: str, status: int) -> None:
    person = signed_in_long_ago(emulator)
    response = browser.get(path, headers=pair(person))
    assert response.status_code == status
    fresh = set_by(response)
    assert set(fresh) == {JWT}
    assert fresh[JWT] not in ("", person.session_jwt)
    assert "cookie" in vary(response)
    again = browser.get(path, headers=pair(person, jwt=fresh[JWT]))
    assert again.status_code == status
    assert set_by(again) == {}
    assert verifications(emulator) == 1


def test_a_stream_may_look_later(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    assert browser.get("/lazy-stream", headers=pair(ada)).text == "authenticated"
    assert browser.get("/lazy-stream").text == "anonymous"
    by_header = browser.get("/lazy-stream", headers={"session-token": ada.session_token})
    assert (by_header.text, by_header.headers["cache-control"]) == ("authenticated", "private")
    emulator.revoke(ada.session_id)
    over = browser.get("/lazy-stream", headers={"Cookie": f"{SESSION}={ada.session_token}"})
    assert (over.text, set_by(over)) == ("rejected", GONE)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")  # that is the file
def test_what_nobody_looks_at(browser: httpx.Client, emulator: Emulator, kind: str) -> None:
    for path in ("/unread", "/file"):
        response = browser.get(path, headers=pair(signed_in_long_ago(emulator)))
        assert set(set_by(response)) == ({JWT} if kind == "asgi" else set())
        assert verifications(emulator) == (1 if kind == "asgi" else 0)
        assert ("vary" in response.headers) is (kind == "asgi")


@lazily
def test_parallel_requests_share_one_refresh(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.fault("/v1/auth/sessions/verify", delay=0.3)
    responses = together(10, lambda _: browser.get("/ame", headers=pair(person)))
    assert {response.status_code for response in responses} == {200}
    assert len({set_by(response)[JWT] for response in responses}) == 1
    assert verifications(emulator) == 1


def test_a_gate_that_asks_once_more_loses_no_jwt(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    for _ in range(2):
        response = browser.get("/strict", headers=pair(person))
        assert (response.status_code, set(set_by(response))) == (200, {JWT})


@pytest.mark.rule("S46")
@lazily
def test_a_response_on_its_way_does_not_bring_the_jwt_back(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/ends", headers=pair(signed_in_long_ago(emulator)))
    assert response.text == "over"
    assert set_by(response) == {}


def test_the_views_own_word_on_our_cookies_stands(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/own-cookie", headers=pair(signed_in_long_ago(emulator)))
    (line,) = response.headers.get_list("set-cookie")
    assert line.startswith(f'{JWT}=""; ')
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("place", ["view", "site"])
def test_a_page_cache_keeps_nobodys_cookie(
    with_cookies: Configure, settings: Any, kind: str, emulator: Emulator, place: str
) -> None:
    cache.clear()
    django_browsing_site.made.clear()
    caching = "django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"
    if place == "site":
        settings.MIDDLEWARE = [caching[0], *settings.MIDDLEWARE, caching[1]]
    person = signed_in_long_ago(emulator)
    with browsing(kind) as browser:
        first = browser.get("/cached" if place == "view" else "/public", headers=pair(person))
        assert (JWT in set_by(first)) is (kind == "asgi" or place == "site")
        second = browser.get("/cached" if place == "view" else "/public")
        assert second.text == first.text if place == "view" else second.json()["state"] == "anonymous"
        assert set_by(second) == {}
        third = browser.get("/unread", headers=pair(person))
        assert (third.text, set(set_by(third))) == ("unread", {JWT} if kind == "asgi" else set())
    assert len(django_browsing_site.made) == (1 if place == "view" else 0)


@pytest.mark.parametrize("kind", ["wsgi"])
def test_djangos_page_cache_is_told_in_its_own_words(
    with_cookies: Configure, rf: RequestFactory, emulator: Emulator
) -> None:
    request: Any = rf.get("/me", headers=pair(signed_in_long_ago(emulator)))
    request._cache_update_cache = True
    response: Any = MoonKeyMiddleware(require_auth(lambda request: HttpResponse("does not look")))(request)
    assert JWT in response.cookies
    assert request._cache_update_cache is False


@pytest.mark.parametrize("kind", ["wsgi"])
def test_cookie_settings_are_dicts(with_cookies: Configure, kind: str, emulator: Emulator) -> None:
    with_cookies(
        COOKIES={"session_name": "sid", "JWT_NAME": "sjwt", "Same_Site": "Strict"}, EXPIRES_IN_HEADER=True
    )
    person = signed_in_long_ago(emulator)
    with browsing(kind) as browser:
        response = browser.get("/me", headers={"Cookie": f"sid={person.session_token}; sjwt={person.session_jwt}"})
    lines = response.headers.get_list("set-cookie")
    assert [line.partition("=")[0] for line in lines] == ["sjwt", "sjwt_binding"]
    for line in lines:
        assert {"SameSite=Strict", "Secure", "HttpOnly", "Path=/"} <= set(line.split("; "))
    assert 600_000 < int(response.headers["session-expires-in"]) <= 604_800


@pytest.mark.parametrize("kind", ["wsgi"])
def test_an_apps_own_sign_in(with_cookies: Configure, ada: SignedIn) -> None:
    response = HttpResponse()
    response.set_cookie("theme", "dark")
    set_cookies(response, get_client().sign_out_cookies())
    assert set(response.cookies) == {"theme", SESSION, JWT, BINDING}
    assert (response.cookies[JWT]["max-age"], response.cookies[JWT]["samesite"]) == ("0", "Lax")
    assert response.headers["Cache-Control"] == "no-store"
