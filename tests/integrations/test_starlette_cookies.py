"""Starlette with cookies: which credential counts, and which cookies go out."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from integrations.starlette_cookie_site import ROUTES, app_of, visiting
from integrations.starlette_visits import bearer, names, options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import MoonKeyMiddleware
from support.together import together
from support.visitors import (
    GONE,
    JWT,
    pair,
    set_by,
    signed_in_long_ago,
    verifications,
)


@pytest.fixture(params=["eager", "lazy"])
def lazy(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "lazy")


lazily = pytest.mark.parametrize("lazy", [True])
"""For what the contract suite tests of apps that are not."""


@pytest.fixture
def browser(emulator: Emulator, lazy: bool) -> Iterator[httpx.Client]:
    with visiting(app_of(emulator, lazy=lazy)) as browser:
        yield browser


# --- the pair and its renewal


@pytest.mark.rule("S40")
@pytest.mark.parametrize(
    ("lazy", "path", "status"),
    [
        (True, "/own_401", 401),
        (False, "/own_401", 401),
        (True, "/denied", 403),
        (False, "/denied", 403),
        (True, "/own_500", 500),
        (True, "/stream_500", 500),
        (False, "/stream_500", 500),
    ],
)
def test_an_old_jwt_is_renewed_on_that_very_response(
    browser: httpx.Client, emulator: Emulator, path: str, status: int
) -> None:
    person = signed_in_long_ago(emulator)
    response = browser.get(path, headers=pair(person))
    assert response.status_code == status
    fresh = set_by(response)
    assert set(fresh) == {JWT}
    assert fresh[JWT] not in ("", person.session_jwt)
    assert response.headers["cache-control"] == "no-store"
    assert "cookie" in names(response.headers["vary"])
    again = browser.get(path, headers=pair(person, jwt=fresh[JWT]))
    assert (again.status_code, set_by(again)) == (status, {})
    assert verifications(emulator) == 1


@pytest.mark.parametrize("path", ["/unread", "/no-such-path"])
def test_where_nobody_looks(browser: httpx.Client, emulator: Emulator, lazy: bool, path: str) -> None:
    person = signed_in_long_ago(emulator)
    response = browser.get(path, headers=pair(person))
    assert set(set_by(response)) == (set() if lazy else {JWT})
    assert verifications(emulator) == (0 if lazy else 1)


def test_an_error_of_the_app_s_inside_of_the_middleware(emulator: Emulator, lazy: bool) -> None:
    found = options(emulator, cookies=CookieSettings(), lazy=lazy)
    inner = Starlette(routes=ROUTES)
    outer = Starlette(routes=[Mount("/", inner)], middleware=[Middleware(MoonKeyMiddleware, **found)])
    for app in (MoonKeyMiddleware(inner, **found), outer):
        with visiting(app) as browser:
            response = browser.get("/broken", headers=pair(signed_in_long_ago(emulator)))
        assert response.status_code == 500
        assert set(set_by(response)) == {JWT}


def test_a_stream_is_worked_out_for_cookies_only(browser: httpx.Client, emulator: Emulator, ada: SignedIn) -> None:
    for headers in (pair(ada), bearer(ada), {"session-token": ada.session_token}):
        response = browser.get("/stream", headers=headers)
        assert (response.text, response.headers["cache-control"]) == ("it is authenticated", "private")
    nobody = browser.get("/stream")
    assert (nobody.text, "set-cookie" in nobody.headers) == ("it is anonymous", False)


@lazily
def test_many_requests_at_once_share_one_call(browser: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.fault("/v1/auth/sessions/verify", delay=0.3)
    responses = together(10, lambda _: browser.get("/me", headers=pair(person)))
    assert {response.status_code for response in responses} == {200}
    assert len({set_by(response)[JWT] for response in responses}) == 1
    assert verifications(emulator) == 1


def test_a_gate_that_wants_to_know_it_now(browser: httpx.Client, emulator: Emulator, ada: SignedIn) -> None:
    emulator.clear_requests()
    assert browser.get("/strict", headers=pair(ada)).status_code == 200
    assert verifications(emulator) == 1
    emulator.revoke(ada.session_id)
    refused = browser.get("/strict", headers=pair(ada))
    assert (refused.status_code, set_by(refused)) == (401, GONE)


# --- responses on their way


@pytest.mark.rule("S46")
@lazily
def test_a_response_on_its_way_does_not_bring_the_jwt_back(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/ends", headers=pair(signed_in_long_ago(emulator)))
    assert (response.text, set_by(response)) == ("over", {})


def test_the_app_s_own_word_on_our_cookies_stands(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/own_cookie", headers=pair(signed_in_long_ago(emulator)))
    assert response.headers.get_list("set-cookie") == [f"{JWT}=; Max-Age=0; Path=/; Secure"]


@lazily
def test_how_long_the_session_lasts_is_told_where_wanted(emulator: Emulator, lazy: bool) -> None:
    with visiting(app_of(emulator, expires_in_header=True, lazy=lazy)) as browser:
        person = emulator.sign_in(minutes=60)
        for headers in (pair(person), bearer(person)):
            seconds = int(browser.get("/me", headers=headers).headers["session-expires-in"])
            assert 3500 < seconds <= 3600
        assert "session-expires-in" not in browser.get("/public").headers
        assert "session-expires-in" not in browser.get("/unread", headers=pair(person)).headers
