"""What single routes ask beyond a session that is good: the same on every stack."""

from __future__ import annotations

import httpx
import pytest
from contract.requests import bearer
from contract.responses import assert_refused
from contract.stacks import OpenSite, Site

from moonkey_core.emulator import Emulator

VERIFY = "POST /v1/auth/sessions/verify"
STRICT = ["/strict", "/other-strict"]


@pytest.mark.rule("S34")
@pytest.mark.parametrize("path", STRICT)
def test_a_jwt_of_a_session_that_was_ended_elsewhere(
    site: Site, browser: httpx.Client, emulator: Emulator, path: str
) -> None:
    signed_in = emulator.sign_in()
    headers = bearer(signed_in.session_jwt)
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    emulator.revoke(signed_in.session_id)
    # Nobody has told this process: the JWT is good by itself, but not where the API has to say so.
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    site.runs.clear()
    assert_refused(browser.get(site.url + path, headers=headers), 401, "invalid_token")
    assert site.runs == []


@pytest.mark.rule("S34")
@pytest.mark.parametrize("path", STRICT)
def test_a_remembered_token_of_a_session_that_was_ended_elsewhere(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, path: str
) -> None:
    site = open_site(session_cache_ttl=30)
    signed_in = emulator.sign_in()
    headers = bearer(signed_in.session_token)
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    emulator.revoke(signed_in.session_id)
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    site.runs.clear()
    assert_refused(browser.get(site.url + path, headers=headers), 401, "invalid_token")
    assert site.runs == []


@pytest.mark.rule("S34")
@pytest.mark.parametrize("path", STRICT)
def test_the_api_is_asked_each_time_and_its_answer_is_the_identity(
    site: Site, browser: httpx.Client, emulator: Emulator, path: str
) -> None:
    signed_in = emulator.sign_in()
    headers = bearer(signed_in.session_jwt)
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    emulator.clear_requests()
    for times in (1, 2):
        response = browser.get(site.url + path, headers=headers)
        expected = {"user": signed_in.user_id, "session": signed_in.session_id, "source": "remote"}
        assert (response.status_code, response.json()) == (200, expected)
        assert response.headers["cache-control"] == "private"
        assert emulator.requests()[VERIFY] == times
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    assert emulator.requests()[VERIFY] == 2


@pytest.mark.parametrize("path", STRICT)
def test_who_is_not_signed_in_costs_no_second_question(
    site: Site, browser: httpx.Client, emulator: Emulator, path: str
) -> None:
    emulator.clear_requests()
    assert_refused(browser.get(site.url + path), 401)
    assert_refused(browser.get(site.url + path, headers=bearer("a b")), 400, "invalid_request")
    assert_refused(
        browser.get(site.url + path, headers=bearer(emulator.mint(key="foreign"))), 401, "invalid_token"
    )
    assert emulator.requests()[VERIFY] == 0
    never_seen = bearer("dead" + path.replace("/", "-"))
    assert_refused(browser.get(site.url + path, headers=never_seen), 401, "invalid_token")
    assert emulator.requests()[VERIFY] == 1
    assert site.runs == []


@pytest.mark.parametrize("path", STRICT)
def test_the_api_is_down(open_site: OpenSite, browser: httpx.Client, emulator: Emulator, path: str) -> None:
    site = open_site(session_cache_ttl=30)
    signed_in = emulator.sign_in()
    credentials = (signed_in.session_jwt, signed_in.session_token)
    for credential in credentials:
        assert browser.get(site.url + "/protected", headers=bearer(credential)).status_code == 200
    emulator.stop()
    site.runs.clear()
    for credential in credentials:
        assert_refused(browser.get(site.url + path, headers=bearer(credential)), 503)
    assert site.runs == []
    for credential in credentials:
        assert browser.get(site.url + "/protected", headers=bearer(credential)).status_code == 200


@pytest.mark.rule("S34")
def test_a_route_may_refuse_what_is_accepted_in_grace(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    site = open_site(grace_seconds=60)
    headers = bearer(emulator.sign_in().session_token)
    assert browser.get(site.url + "/without-grace", headers=headers).status_code == 200
    emulator.stop()
    assert browser.get(site.url + "/protected", headers=headers).status_code == 200
    site.runs.clear()
    for path in ("/without-grace", *STRICT):
        assert_refused(browser.get(site.url + path, headers=headers), 503)
    assert site.runs == []
