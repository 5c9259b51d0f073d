"""Django with cookies: which credential counts, which cookies go out, what a browser gets that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
from support.together import together
from support.visitors import (
    FOREIGN,
    GONE,
    JWT,
    OURS,
    PAGE,
    SESSION,
    pair,
    set_by,
    signed_in_long_ago,
    vary,
    verifications,
)

OWN_401 = ("/unauthorized", 401)
EVERYWHERE = [
    ("/me", 200),
    ("/ame", 200),
    ("/public", 200),
    ("/redirect", 302),
    ("/missing", 404),
    OWN_401,
    ("/broken", 500),
    ("/stream", 200),
    ("/lazy-stream", 200),
]


@pytest.fixture(params=["wsgi", "asgi", "lazy"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the site is served; ``lazy`` is ASGI where nothing is verified before the view."""
    name: str = request.param
    return name


lazily = pytest.mark.parametrize("kind", ["lazy"])
"""For what the contract suite tests of the other two."""


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
@lazily
def test_a_pair_is_verified_here(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    for path in ("/me", "/ame", "/me"):
        response = browser.get(path, headers=pair(ada))
        assert response.json()["user"] == ada.user_id
        assert set_by(response) == {}
        assert {"cookie", "authorization", "session-token"} <= vary(response)
        assert response.headers["cache-control"] == "private"
    assert verifications(emulator) == 0
    assert browser.get("/me", headers={"Cookie": f"{JWT}={ada.session_jwt}"}).status_code == 401


@pytest.mark.rule("S40")
@pytest.mark.parametrize(
    ("kind", "path", "status"),
    [*(("lazy", path, status) for path, status in EVERYWHERE), *((kind, *OWN_401) for kind in ("wsgi", "asgi"))],
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


@pytest.mark.rule("S45")
@lazily
def test_a_session_that_is_over_takes_its_cookies_along(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    for path in ("/me", "/ame"):
        refused = browser.get(path, headers=pair(person))
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
        assert set_by(refused) == GONE
    public = browser.get("/public", headers=pair(person))
    assert (public.status_code, public.json()["state"]) == (200, "rejected")
    assert set_by(public) == GONE
    page = browser.get("/me", headers={**pair(person), **PAGE})
    assert (page.status_code, page.headers["location"]) == (303, "/auth/sign-in?next=%2Fme")
    assert set_by(page) == GONE


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


@pytest.mark.rule("S43")
@lazily
def test_another_sites_page_may_not_use_the_cookies(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    own = {"Origin": str(browser.base_url).rstrip("/")}
    for headers in (FOREIGN, {"Origin": "null"}, {}, {"Origin": "https://evil.example"}):
        refused = browser.post("/me", headers={**pair(person), **headers})
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["error"] == "cross_site_request"
        assert set_by(refused) == {}
    assert emulator.requests() == {}
    for headers in (OURS, own):
        assert browser.post("/me", headers={**pair(person), **headers}).status_code == 200
    assert browser.get("/me", headers={**pair(person), **FOREIGN}).status_code == 200
    bearer = {"Authorization": f"Bearer {person.session_token}"}
    assert browser.post("/me", headers={**bearer, **pair(person), **FOREIGN}).status_code == 200


@pytest.mark.rule("S42")
@lazily
def test_a_header_wins_and_a_bad_one_is_the_end_of_it(
    browser: httpx.Client, ada: SignedIn, emulator: Emulator
) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    both = browser.get("/me", headers={**pair(ada), "Authorization": f"Bearer {ben.session_jwt}"})
    assert both.json()["user"] == ben.user_id
    for value, status in (("Bearer", 400), ("Bearer no-such-token", 401)):
        refused = browser.get("/me", headers={**pair(ada), **PAGE, "Authorization": value})
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert set_by(refused) == {}


@pytest.mark.rule("S41")
@lazily
def test_one_name_with_two_values_is_malformed(browser: httpx.Client, ada: SignedIn, emulator: Emulator) -> None:
    ben = emulator.sign_in(email="ben@example.com")
    planted = {"Cookie": f"{SESSION}={ben.session_token}; {SESSION}={ada.session_token}"}
    refused = browser.get("/me", headers=planted)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert browser.get("/public", headers=planted).json()["state"] == "rejected"


@lazily
def test_a_browser_is_sent_to_sign_in_and_a_program_is_not(browser: httpx.Client) -> None:
    for path in ("/me", "/ame"):
        sent = browser.get(f"{path}?tab=a%26b&x=1", headers=PAGE)
        assert sent.status_code == 303
        where = urlsplit(sent.headers["location"])
        assert where.path == "/auth/sign-in"
        assert parse_qs(where.query) == {"next": [f"{path}?tab=a%26b&x=1"]}
        assert sent.headers["cache-control"] == "no-store"
        assert {"accept", "cookie"} <= vary(sent)
        assert browser.head(path, headers=PAGE).status_code == 303
        program = browser.get(path, headers={"Accept": "application/json"})
        assert program.status_code == 401
        assert program.headers["www-authenticate"] == 'Bearer realm="moonkey"'
    posted = browser.post("/me", headers=PAGE)
    assert posted.status_code == 401
    assert posted.headers["content-type"] == "text/html; charset=utf-8"
    assert "/auth/sign-in" in posted.text


@lazily
def test_a_page_of_the_apps_own_is_where_they_are_sent(with_cookies: Configure, kind: str) -> None:
    with_cookies(SIGN_IN={"PAGE": "/welcome"})
    with browsing(kind) as browser:
        assert browser.get("/me", headers=PAGE).headers["location"] == "/welcome?next=%2Fme"


@lazily
def test_nobody_is_sent_to_sign_in_when_it_cannot_be_known(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.stop()
    for path in ("/me", "/ame"):
        page = browser.get(path, headers={**pair(person), **PAGE})
        assert page.status_code == 503
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "not available" in page.text
        assert int(page.headers["retry-after"]) > 0
        assert "location" not in page.headers
        assert set_by(page) == {}
        program = browser.get(path, headers=pair(person))
        assert (program.status_code, program.headers["content-type"]) == (503, "application/problem+json")


@lazily
def test_pages_need_no_script_and_nobody_elses_content(browser: httpx.Client, ada: SignedIn) -> None:
    page = browser.post("/me", headers={**pair(ada), **PAGE, **FOREIGN})
    assert page.status_code == 403
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in page.text
    assert 'href="/auth/style.css"' in page.text
    for secret in (ada.session_token, ada.session_jwt):
        assert secret not in page.text


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
    (line,) = response.headers.get_list("set-cookie")
    assert line.startswith("sjwt=")
    assert {"SameSite=Strict", "Secure", "HttpOnly", "Path=/"} <= set(line.split("; "))
    assert 600_000 < int(response.headers["session-expires-in"]) <= 604_800


@pytest.mark.parametrize("kind", ["wsgi"])
def test_an_apps_own_sign_in(with_cookies: Configure, ada: SignedIn) -> None:
    response = HttpResponse()
    response.set_cookie("theme", "dark")
    set_cookies(response, get_client().sign_out_cookies())
    assert set(response.cookies) == {"theme", SESSION, JWT}
    assert (response.cookies[JWT]["max-age"], response.cookies[JWT]["samesite"]) == ("0", "Lax")
    assert response.headers["Cache-Control"] == "no-store"
