"""The emulated Coinbase CDP, as a developer's server and a browser see it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
import pytest

from moonkey_core.emulator import CdpBrowser, CdpEmulator, CdpError
from moonkey_core.emulator.cdp.api_keys import new_key
from support import quick

VALIDATE = "/platform/v2/end-users/auth/validate-token"
USERS = "/platform/v2/end-users"


def api_jwt(cdp: CdpEmulator, method: str, path: str, **changes: Any) -> str:
    """The JWT of the first API key for one call; ``None`` leaves a claim out."""
    now = int(time.time())
    host = cdp.base_url.removeprefix("http://")
    header = {"kid": cdp.api_key_id, "nonce": "1234567890123456", **changes.pop("header", {})}
    key = changes.pop("key", cdp.api_key_secret)
    claims = {
        "sub": cdp.api_key_id,
        "iss": "cdp",
        "aud": None,
        "nbf": now,
        "exp": now + 120,
        "uris": [f"{method} {host}{path}"],
        **changes,
    }
    left = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(left, key, "ES256", headers={name: one for name, one in header.items() if one is not None})


def validated(cdp: CdpEmulator, token: object, **changes: Any) -> httpx.Response:
    sent = api_jwt(cdp, "POST", VALIDATE, **changes)
    body = {"accessToken": token}
    return quick.post(cdp.base_url + VALIDATE, json=body, headers={"authorization": f"Bearer {sent}"})


def read(cdp: CdpEmulator, path: str, query: str = "") -> httpx.Response:
    sent = api_jwt(cdp, "GET", path)
    return quick.get(f"{cdp.base_url}{path}{query}", headers={"authorization": f"Bearer {sent}"})


def kind(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"errorType", "errorMessage", "correlationId", "errorLink"}
    return response.status_code, body["errorType"]


def test_a_token_is_validated(cdp: CdpEmulator) -> None:
    ada = cdp.sign_in("ada@example.com")
    claims = jwt.decode(ada.access_token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    assert {"iss", "aud", "sub", "jti", "iat", "exp", "project_id", "auth_type"} == set(claims)
    assert jwt.get_unverified_header(ada.access_token) == {"alg": "ES256", "kid": cdp.kid(), "typ": "JWT"}
    found = validated(cdp, ada.access_token)
    assert found.status_code == 200
    assert found.json() == cdp.end_user(ada.user_id)
    assert found.json()["authenticationMethods"] == [{"type": "email", "email": "ada@example.com"}]


def test_one_error_for_the_token_and_for_the_key(cdp: CdpEmulator) -> None:
    ada = cdp.sign_in()
    unauthorized = (401, "unauthorized")
    other = new_key("ES256")
    host = cdp.base_url.removeprefix("http://")
    wrong: dict[str, dict[str, Any]] = {
        "another key": {"key": other.secret},
        "an unknown key id": {"header": {"kid": "unknown"}},
        "no nonce": {"header": {"nonce": None}},
        "another issuer": {"iss": "coinbase"},
        "another subject": {"sub": "another"},
        "no uris": {"uris": None},
        "another method": {"uris": [f"GET {host}{VALIDATE}"]},
        "no port": {"uris": [f"POST 127.0.0.1{VALIDATE}"]},
        "another path": {"uris": [f"POST {host}{USERS}"]},
        "over": {"nbf": int(time.time()) - 200, "exp": int(time.time()) - 80},
        "too long": {"exp": int(time.time()) + 600},
        "not yet": {"nbf": int(time.time()) + 100, "exp": int(time.time()) + 200},
    }
    for name, changes in wrong.items():
        assert kind(validated(cdp, ada.access_token, **changes)) == unauthorized, name
    for bad in ("x.y.z", cdp.token(key="foreign"), cdp.token(age=901), cdp.token(project_id="x")):
        assert kind(validated(cdp, bad)) == unauthorized
    assert kind(quick.post(cdp.base_url + VALIDATE, json={"accessToken": ada.access_token})) == unauthorized
    cdp.revoke_api_key()
    assert kind(validated(cdp, ada.access_token)) == unauthorized


def test_what_is_no_token_and_who_is_no_user(cdp: CdpEmulator) -> None:
    ada = cdp.sign_in()
    for value in (None, "", 7, "opaque"):
        assert kind(validated(cdp, value)) == (400, "invalid_request")
    cdp.delete_user(ada.user_id)
    assert kind(validated(cdp, ada.access_token)) == (404, "not_found")
    assert kind(read(cdp, f"{USERS}/{ada.user_id}")) == (404, "not_found")


def test_an_audience_of_the_api_key(cdp: CdpEmulator) -> None:
    key = cdp.add_api_key(audience="cdp_service")
    mine = {"key": key.secret, "header": {"kid": key.key_id}, "sub": key.key_id}
    token = cdp.sign_in().access_token
    assert validated(cdp, token, **mine).status_code == 401
    assert validated(cdp, token, **mine, aud=["cdp_service"]).status_code == 200


def test_users_are_listed_read_and_looked_up(cdp: CdpEmulator) -> None:
    users = [cdp.sign_in(f"{name}@example.com").user_id for name in ("ada", "bob", "eve")]
    cdp.sign_in(user_id=users[0], method={"type": "google", "sub": "g-1"})
    first = read(cdp, USERS, "?pageSize=2").json()
    assert [one["userId"] for one in first["endUsers"]] == users[:2]
    rest = read(cdp, USERS, f"?pageSize=2&pageToken={first['nextPageToken']}").json()
    assert [one["userId"] for one in rest["endUsers"]] == users[2:]
    assert "nextPageToken" not in rest
    assert kind(read(cdp, USERS, "?pageSize=0")) == (400, "invalid_request")
    assert read(cdp, f"{USERS}/{users[1]}").json()["userId"] == users[1]
    for query, expected in {
        "?email=bob@example.com": [users[1]],
        "?oauthProvider=google&oauthSubject=g-1": [users[0]],
        "?phoneNumber=%2B14155550100": [],
    }.items():
        assert [one["userId"] for one in read(cdp, f"{USERS}/lookup", query).json()["endUsers"]] == expected
    assert kind(read(cdp, f"{USERS}/lookup")) == (400, "invalid_request")


def test_a_browser_renews_its_token_for_seven_days(cdp: CdpEmulator) -> None:
    browser = CdpBrowser(cdp)
    tokens = [browser.access_token()]
    for minutes in (5, 14.5, 30):
        cdp.set_clock(minutes * 60)
        tokens.append(browser.access_token())
    assert [one == tokens[0] for one in tokens] == [True, True, False, False]
    assert tokens[2] != tokens[3]
    cdp.set_clock(7 * 86_400 - 60)
    browser.access_token()
    cdp.set_clock(7 * 86_400 + 60)
    with pytest.raises(CdpError) as raised:
        browser.renew()
    assert (raised.value.status, raised.value.kind) == (401, "unauthorized")


def test_signing_out_leaves_the_token(cdp: CdpEmulator) -> None:
    browser = CdpBrowser(cdp)
    token = browser.access_token()
    browser.sign_out()
    assert not browser.is_signed_in
    assert validated(cdp, token).status_code == 200
    cdp.revoke(token)
    assert validated(cdp, token).status_code == 401


def test_mfa_is_of_one_sign_in(cdp: CdpEmulator) -> None:
    """It carries over when the token is renewed, ends by itself, and is not that of another tab."""
    here = CdpBrowser(cdp)
    other = CdpBrowser(cdp, cdp.sign_in())
    here.protected_operation()  # nothing is enrolled
    with pytest.raises(CdpError) as raised:
        here.verify_mfa()
    assert raised.value.kind == "mfa_not_enrolled"
    here.enroll_mfa("totp")
    assert set(cdp.end_user(here.user_id)["mfaMethods"]) == {"totp"}
    with pytest.raises(CdpError) as raised:
        here.enroll_mfa("totp")
    assert raised.value.kind == "mfa_already_enrolled"
    here.renew()
    here.protected_operation()
    with pytest.raises(CdpError) as raised:
        other.protected_operation()
    assert raised.value.kind == "mfa_required"
    other.verify_mfa()
    other.protected_operation()
    cdp.set_clock(16 * 60)
    with pytest.raises(CdpError) as raised:
        here.protected_operation()
    assert raised.value.kind == "mfa_required"


def test_mfa_of_custom_authentication_is_of_the_user(cdp: CdpEmulator) -> None:
    method = {"type": "jwt", "sub": "idp|1", "kid": "k1"}
    here, other = (CdpBrowser(cdp, cdp.sign_in(method=method)) for _ in range(2))
    here.enroll_mfa("sms")
    other.protected_operation()


def test_a_step_of_mfa_that_fails(cdp: CdpEmulator) -> None:
    ada = cdp.sign_in()
    cdp.enroll_mfa(ada.user_id)
    started = cdp.begin_mfa(ada.refresh_token)
    wrong = "000000" if started.code != "000000" else "111111"
    for challenge, code, expected in (
        ("unknown", started.code, "mfa_challenge_not_found"),
        (started.challenge_id, wrong, "mfa_invalid_code"),
    ):
        with pytest.raises(CdpError) as raised:
            cdp.complete_mfa(ada.refresh_token, challenge, code)
        assert raised.value.kind == expected
    cdp.set_clock(301)
    with pytest.raises(CdpError) as raised:
        cdp.complete_mfa(ada.refresh_token, started.challenge_id, started.code)
    assert raised.value.kind == "mfa_flow_expired"


def test_misbehaviour(cdp: CdpEmulator) -> None:
    token = cdp.sign_in().access_token
    cdp.gateway_refuses(times=1)
    refused = validated(cdp, token)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html")
    cdp.fault("/platform", status=429, headers={"Retry-After": "7"}, times=1)
    limited = validated(cdp, token)
    assert (kind(limited), limited.headers["retry-after"]) == ((429, "rate_limit_exceeded"), "7")
    cdp.end_user_members(userId="another")
    assert validated(cdp, token).json()["userId"] == "another"


def test_new_keys(cdp: CdpEmulator) -> None:
    old = cdp.sign_in().access_token
    cdp.rotate_keys()
    assert len(cdp.jwks()["keys"]) == 2
    assert validated(cdp, old).status_code == 200
    cdp.rotate_keys(keep_old=False)
    assert validated(cdp, old).status_code == 401
    assert quick.get(cdp.jwks_url).json() == cdp.jwks()


def test_the_same_over_http(cdp: CdpEmulator) -> None:
    control = f"{cdp.base_url}/_emulator"

    def ask(path: str, **body: Any) -> Any:
        return quick.post(f"{control}/{path}", json=body).json()

    ada = ask("sign-in", email="ada@example.com")
    renewed = ask("refresh", refresh_token=ada["refresh_token"])
    assert renewed["access_token"] != ada["access_token"]
    assert ask("users/wallets", user_id=ada["user_id"])["evmAccounts"]
    assert ask("users/wallets", user_id="nobody")["errorType"] == "invalid_request"
    assert ask("mfa/enroll", user_id=ada["user_id"]) == {"ok": True}
    assert ask("mfa/protected", refresh_token=ada["refresh_token"])["errorType"] == "mfa_required"
    started = ask("mfa/begin", refresh_token=ada["refresh_token"])
    assert ask("mfa/complete", refresh_token=ada["refresh_token"], **started) == {"ok": True}
    assert ask("mfa/protected", refresh_token=ada["refresh_token"]) == {"ok": True}
    key = ask("api-keys", algorithm="EdDSA")
    assert key["algorithm"] == "EdDSA"
    assert ask("api-keys", algorithm="RS256")["errorType"] == "invalid_request"
    assert ask("api-keys/revoke", key_id=key["key_id"]) == {"ok": True}
    assert ask("token", project_id="x")["errorType"] == "invalid_request"  # claims have a field of their own
    assert ask("token", claims={"project_id": "x"})["token"].count(".") == 2
    assert ask("sign-out", refresh_token=ada["refresh_token"]) == {"ok": True}
    assert ask("refresh", refresh_token=ada["refresh_token"])["errorType"] == "unauthorized"
    assert quick.get(control).json()["project_id"] == cdp.project_id
