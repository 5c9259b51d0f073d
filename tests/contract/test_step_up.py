"""What a route demands of a good session: factors, freshness, claims, scopes. The same answers on every stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import httpx
import pytest
from contract.behaviour import Runs
from contract.requests import bearer
from contract.responses import assert_refused
from contract.stacks import Site

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.visitors import SESSION, pair, vary

OpenSite = Callable[..., Site]
STEP_UP = 'Bearer realm="moonkey", error="insufficient_user_authentication", error_description="{}"'
AGAIN = "This session is too old for that. Sign in again."
PROVE = "A fresher or stronger proof of who you are is needed for that."
DENIED = 'Bearer realm="moonkey", error="insufficient_scope"'
MINUTE = 60
DEMANDING = ["/totp", "/fresh-factor", "/two-factors", "/young-session", "/paying", "/writer"]


class Verified(NamedTuple):
    """A factor that was verified so many minutes ago, or nobody knows when."""

    kind: str
    minutes_ago: float | None = 0
    method_id: str = "m_1"


Case = tuple[str, list[Verified | str], dict[str, Any], str | None, dict[str, Any]]
EMAIL, TOTP = Verified("otp"), Verified("totp")
ONE = f'{STEP_UP.format(PROVE)}, acr_values="totp"'
FRESH = f'{STEP_UP.format(PROVE)}, max_age="600"'
BOTH = f'{STEP_UP.format(PROVE)}, acr_values="totp webauthn", max_age="600"'
ONE_BODY = {"acr_values": ["totp"]}
FRESH_BODY = {"max_age": 600}
BOTH_BODY = {"acr_values": ["totp", "webauthn"], "max_age": 600, "factor_count": 2}
SCOPE = f'{DENIED}, scope="write"'

CASES: list[Case] = [
    # path, factors, claims, the challenge (none: let in), members of the problem body
    ("/totp", [EMAIL], {}, ONE, ONE_BODY),
    ("/totp", [], {}, ONE, ONE_BODY),
    ("/totp", [EMAIL, Verified("totp", 9000)], {}, None, {}),
    ("/totp", ["totp_authenticator"], {}, None, {}),
    ("/fresh-factor", [Verified("otp", 20), Verified("totp", None)], {}, FRESH, FRESH_BODY),
    ("/fresh-factor", [Verified("otp", -30)], {}, FRESH, FRESH_BODY),
    ("/fresh-factor", [Verified("otp", 20), Verified("totp", 5)], {}, None, {}),
    ("/two-factors", [TOTP], {}, BOTH, BOTH_BODY),
    ("/two-factors", [TOTP, TOTP], {}, BOTH, BOTH_BODY),
    ("/two-factors", [EMAIL, Verified("sms")], {}, BOTH, BOTH_BODY),
    ("/two-factors", [TOTP, Verified("otp", 20)], {}, BOTH, BOTH_BODY),
    ("/two-factors", [TOTP, EMAIL], {}, None, {}),
    ("/two-factors", [Verified("webauthn"), Verified("webauthn", 0, "m_2")], {}, None, {}),
    ("/young-session", [], {}, None, {}),
    ("/paying", [], {}, DENIED, {}),
    ("/paying", [], {"plan": "free"}, DENIED, {}),
    ("/paying", [], {"plan": ["pro"]}, DENIED, {}),
    ("/paying", [], {"plan": "pro"}, None, {}),
    ("/writer", [TOTP], {}, SCOPE, {"scope": "write"}),
    ("/writer", [EMAIL], {"scope": "read rewrite"}, SCOPE, {"scope": "write"}),
    ("/writer", [TOTP], {"scope": 7, "scopes": {"write": True}}, SCOPE, {"scope": "write"}),
    ("/writer", [EMAIL], {"scope": "read write"}, ONE, ONE_BODY),
    ("/writer", [TOTP], {"scope": "read write"}, None, {}),
    ("/writer", [TOTP], {"scopes": ["write"]}, None, {}),
]


def wire(factors: Iterable[Verified | str]) -> list[Any]:
    """As the emulator takes them, with times as of now."""
    return [factor(*one) if isinstance(one, Verified) else one for one in factors]


def factor(kind: str, minutes_ago: float | None = 0, method_id: str = "m_1") -> dict[str, Any]:
    method: dict[str, Any] = {"method_id": method_id}
    if minutes_ago is not None:
        method["last_verified_at"] = int(time.time() - minutes_ago * MINUTE)
    return {"type": kind, "delivery_channel": f"{kind}_channel", "method": method}


@pytest.mark.rule("S50", "token", "jwt")
@pytest.mark.parametrize(("path", "factors", "claims", "challenge", "members"), CASES)
def test_the_same_answer_by_token_and_by_jwt(
    site: Site,
    browser: httpx.Client,
    emulator: Emulator,
    path: str,
    factors: list[Verified | str],
    claims: dict[str, Any],
    challenge: str | None,
    members: dict[str, Any],
) -> None:
    signed_in = emulator.sign_in(factors=wire(factors), claims=claims)
    for credential in (signed_in.session_token, signed_in.session_jwt):
        site.runs.clear()
        response = browser.get(site.url + path, headers=bearer(credential))
        if challenge is None:
            assert_let_in(response, signed_in)
            assert site.runs == ["GET"]
        else:
            assert_held_up(response, challenge, members)
            assert site.runs == []


@pytest.mark.rule("S50", "pair")
def test_the_same_answer_by_cookies(web: httpx.Client, emulator: Emulator, runs: Runs) -> None:
    for path, factors, claims, challenge, _ in CASES:
        person = emulator.sign_in(factors=wire(factors), claims=claims)
        for headers in (pair(person), {"Cookie": f"{SESSION}={person.session_token}"}):
            runs.clear()
            response = web.get(path, headers=headers)
            assert response.headers.get("www-authenticate") == challenge, path
            assert runs == (["GET"] if challenge is None else []), path
    bare = emulator.sign_in(factors=[])
    jwt = emulator.mint({"factors": wire([TOTP])}, session_id=bare.session_id)
    assert web.get("/totp", headers=pair(bare, jwt=jwt)).status_code == 401


def assert_let_in(response: httpx.Response, signed_in: SignedIn) -> None:
    expected = {"user": signed_in.user_id, "session": signed_in.session_id}
    assert (response.status_code, response.json()) == (200, expected)
    assert response.headers["cache-control"] == "private"


def assert_held_up(response: httpx.Response, challenge: str, members: dict[str, Any]) -> None:
    is_step_up = "insufficient_user_authentication" in challenge
    assert response.headers["www-authenticate"] == challenge
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert {"authorization", "session-token"} <= vary(response)
    body = response.json()
    assert body.pop("instance").startswith("urn:request:")
    assert body == {
        "type": "about:blank",
        "title": "Unauthorized" if is_step_up else "Forbidden",
        "status": 401 if is_step_up else 403,
        "detail": body["detail"],
        "error": "insufficient_user_authentication" if is_step_up else "insufficient_scope",
        **members,
    }
    assert response.status_code == body["status"]
    assert body["detail"]


def test_an_old_session_takes_a_new_sign_in(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    emulator.set_clock(-20 * MINUTE)
    signed_in = emulator.sign_in()
    emulator.set_clock(0)
    for credential in (signed_in.session_token, emulator.mint(session_id=signed_in.session_id)):
        response = browser.get(site.url + "/young-session", headers=bearer(credential))
        challenge = f'{STEP_UP.format(AGAIN)}, max_age="600"'
        assert_held_up(response, challenge, {"max_age": 600, "sign_in_again": True})
    assert site.runs == []


@pytest.mark.parametrize("name", ["scope", "scopes"])
def test_claims_of_the_jwt_itself(site: Site, browser: httpx.Client, emulator: Emulator, name: str) -> None:
    signed_in = emulator.sign_in(factors=wire([TOTP]))
    jwt = emulator.mint({name: "read write", "plan": "pro"}, session_id=signed_in.session_id)
    for path in ("/writer", "/paying"):
        assert_let_in(browser.get(site.url + path, headers=bearer(jwt)), signed_in)


@pytest.mark.rule("S50")
def test_a_jwt_says_nothing_of_the_session_outside_of_its_claim(
    site: Site, browser: httpx.Client, emulator: Emulator
) -> None:
    emulator.set_clock(-20 * MINUTE)
    signed_in = emulator.sign_in(factors=[], claims={"plan": "free"})
    emulator.set_clock(0)
    session = {"factors": wire([TOTP, EMAIL]), "started_at": int(time.time()), "plan": "pro"}
    for claims in (session, {"custom_claims": session}):
        jwt = emulator.mint(claims, session_id=signed_in.session_id)
        for path in ("/totp", "/fresh-factor", "/two-factors", "/young-session", "/paying"):
            response = browser.get(site.url + path, headers=bearer(jwt))
            assert response.status_code == (403 if path == "/paying" else 401), path
    assert site.runs == []


@pytest.mark.parametrize("path", DEMANDING)
def test_the_session_comes_first(site: Site, browser: httpx.Client, emulator: Emulator, path: str) -> None:
    assert_refused(browser.get(site.url + path), 401)
    assert_refused(browser.get(site.url + path, headers=bearer("a b")), 400, "invalid_request")
    never_seen = bearer("dead" + path.replace("/", "-"))
    assert_refused(browser.get(site.url + path, headers=never_seen), 401, "invalid_token")
    assert site.runs == []


@pytest.mark.long
@pytest.mark.parametrize("path", DEMANDING)
def test_trouble_is_neither(open_site: OpenSite, browser: httpx.Client, emulator: Emulator, path: str) -> None:
    site = open_site()
    signed_in = emulator.sign_in(factors=wire([TOTP, EMAIL]), claims={"plan": "pro", "scope": "write"})
    emulator.stop()
    assert_refused(browser.get(site.url + path, headers=bearer(signed_in.session_token)), 503)
    assert site.runs == []


def test_a_step_up_counts_at_once(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    """A code that is verified into the same session: its new credentials pass where the old ones did not."""
    signed_in = emulator.sign_in(factors=wire([EMAIL]))
    assert browser.get(site.url + "/totp", headers=bearer(signed_in.session_jwt)).status_code == 401
    registered = quick.post(
        f"{emulator.base_url}/v1/auth/totps/create",
        json={"user_id": signed_in.user_id},
        headers=bearer(emulator.secret_key),
    )
    secret = registered.raise_for_status().json()["secret"]
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        login = client.totps.verify(
            emulator.totp_code(secret), user_id=signed_in.user_id, session_token=signed_in.session_token
        )
    assert login.session is not None
    assert login.session.id == signed_in.session_id
    for credential in (login.session_token, login.session_jwt):
        assert credential is not None
        assert_let_in(browser.get(site.url + "/totp", headers=bearer(credential)), signed_in)
