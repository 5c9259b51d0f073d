"""The emulator of a Stytch consumer project: its wire form, its JWTs of any shape, and its control over HTTP."""

from __future__ import annotations

import base64
import re
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from moonkey_core.emulator import StytchEmulator
from moonkey_core.emulator.stytch.times import nanoseconds, rfc3339
from moonkey_core.emulator.stytch.tokens import SHAPES
from support import quick

SESSION_CLAIM = "https://stytch.com/session"


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def call(stytch: StytchEmulator, path: str, **body: Any) -> dict[str, Any]:
    """The reply of the service to a good request."""
    reply = quick.post(stytch.base_url + path, json=body, auth=(stytch.project_id, stytch.secret))
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    assert found["status_code"] == 200
    assert found["request_id"].startswith("request-id-test-")
    return found


def test_times_have_up_to_nine_digits() -> None:
    assert rfc3339(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
    assert rfc3339(1_700_000_000_100_000_000) == "2023-11-14T22:13:20.1Z"
    assert rfc3339(1_700_000_000_000_000_000) == "2023-11-14T22:13:20Z"
    assert nanoseconds(1_700_000_000.5) == 1_700_000_000_500_000_000


def test_session_and_jwt_as_the_service_writes_them(stytch: StytchEmulator) -> None:
    ada = stytch.sign_in("ada@example.com", factors=["sms"], claims={"team": "a"})
    reply = call(stytch, "/v1/sessions/authenticate", session_token=ada.session_token)
    session = reply["session"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z", session["last_accessed_at"])
    assert session["authentication_factors"][0]["phone_number_factor"]["phone_number"].startswith("+1")
    claims = claims_of(reply["session_jwt"])
    inner = claims.pop(SESSION_CLAIM)
    assert inner.pop("id") == session["session_id"]
    assert inner == {name: session[name] for name in inner}
    assert set(inner) == {
        *("started_at", "last_accessed_at", "expires_at", "attributes", "authentication_factors", "roles"),
    }
    assert claims["exp"] - claims["iat"] == 300
    assert claims == {
        "iss": f"stytch.com/{stytch.project_id}",
        "aud": [stytch.project_id],
        "sub": ada.user_id,
        "iat": claims["iat"],
        "nbf": claims["iat"],
        "exp": claims["exp"],
        "team": "a",
    }
    assert jwt.get_unverified_header(ada.session_jwt) == {"alg": "RS256", "kid": stytch.kid, "typ": "JWT"}
    stytch.issuer_form("domain")
    assert claims_of(stytch.sign_in().session_jwt)["iss"] == stytch.base_url


def test_keys_have_their_certificate(stytch: StytchEmulator) -> None:
    reply = quick.get(stytch.jwks_url).json()
    (key,) = reply["keys"]
    assert set(key) == {"kty", "use", "key_ops", "alg", "kid", "x5c", "x5tS256", "n", "e"}
    certificate = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0]))
    thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
    assert key["x5tS256"] == thumbprint
    assert certificate.public_key() == jwt.PyJWK(key).key
    assert quick.get(stytch.jwks_url).json()["keys"] == reply["keys"]


@pytest.mark.parametrize("shape", list(SHAPES))
def test_each_shape_is_really_signed(stytch: StytchEmulator, shape: str) -> None:
    token = stytch.token(shape)
    (key,) = stytch.jwks()["keys"]
    options: Any = dict.fromkeys(("verify_aud", "verify_exp", "verify_nbf", "verify_iat"), False)
    claims = jwt.decode(token, jwt.PyJWK(key), algorithms=["RS256"], options=options)
    assert shape == "session" or claims != claims_of(stytch.token())


def test_other_content(stytch: StytchEmulator) -> None:
    ada = stytch.sign_in()
    about: dict[str, Any] = {"session_id": ada.session_id}
    assert claims_of(stytch.token(**about, life=60, age=3_600))["exp"] == pytest.approx(
        stytch.now() - 3_540, abs=9
    )
    changed = claims_of(stytch.token(**about, drop=["nbf"], session={"roles": ["x"]}, sub="user-test-other"))
    assert "nbf" not in changed
    assert (changed["sub"], changed[SESSION_CLAIM]["roles"]) == ("user-test-other", ["x"])
    foreign, imposter = (stytch.token(**about, key=key) for key in ("foreign", "imposter"))
    assert jwt.get_unverified_header(foreign)["kid"] != stytch.kid
    assert jwt.get_unverified_header(imposter)["kid"] == stytch.kid
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(imposter, jwt.PyJWK(stytch.jwks()["keys"][0]), algorithms=["RS256"], audience=stytch.project_id)
    assert jwt.get_unverified_header(stytch.token(**about, algorithm="none"))["alg"] == "none"
    for wrong in ({"shape": "x"}, {"key": "x"}, {"algorithm": "ES256"}, {"session_id": "x"}, {"age": 1e12}):
        with pytest.raises(ValueError, match=r"must be|no session"):
            stytch.token(**wrong)


def test_each_reply_has_its_status_and_an_id(stytch: StytchEmulator) -> None:
    auth = (stytch.project_id, stytch.secret)
    url = stytch.base_url
    replies = {
        quick.get(f"{url}/v1/nowhere", auth=auth): (404, "route_not_found"),
        quick.post(f"{url}/v1/sessions/authenticate", content=b"[", auth=auth): (400, "bad_request"),
        quick.post(f"{url}/v1/sessions/authenticate", content=b"x" * 70_000, auth=auth): (400, "bad_request"),
        quick.post(f"{url}/v1/sessions/authenticate", json={}): (401, "unauthorized_credentials"),
        quick.get(f"{url}/v1/sessions", auth=auth): (400, "invalid_user_id"),
    }
    for reply, expected in replies.items():
        body = reply.json()
        assert (reply.status_code, body["error_type"]) == expected
        assert body["status_code"] == reply.status_code
        assert body["request_id"].startswith("request-id-test-")
        assert body["error_url"] == f"https://stytch.com/docs/api/errors/{expected[0]}#{expected[1]}"


def test_pkce(stytch: StytchEmulator) -> None:
    verifier = "v" * 43
    challenge = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
    for given, expected in (
        ({}, "pkce_expected_code_verifier"),
        ({"code_verifier": "w" * 43}, "pkce_mismatch"),
        ({"code_verifier": verifier}, None),
    ):
        call(stytch, "/v1/magic_links/email/login_or_create", email="ada@example.com", code_challenge=challenge)
        reply = quick.post(
            f"{stytch.base_url}/v1/magic_links/authenticate",
            json={"token": stytch.outbox()[0].code, **given},
            auth=(stytch.project_id, stytch.secret),
        )
        assert reply.json().get("error_type") == expected


def test_the_control_interface_over_http(stytch: StytchEmulator) -> None:
    control = f"{stytch.base_url}/_emulator"
    about = quick.get(control).json()
    assert (about["project_id"], about["public_token"]) == (stytch.project_id, stytch.public_token)
    assert stytch.secret not in str(about)
    ada = quick.post(f"{control}/sign-in", json={"email": "ada@example.com", "roles": ["admin"]}).json()
    assert call(stytch, "/v1/sessions/authenticate", session_token=ada["session_token"])["user"]["roles"] == [
        "stytch_user",
        "admin",
    ]
    machine = quick.post(f"{control}/token", json={"shape": "m2m"}).json()["token"]
    assert claims_of(machine)["sub"] == stytch.m2m_client_id
    for path, body in {
        "keys/rotate": {"keep_old": False},
        "issuer-form": {"form": "domain"},
        "reserved-claims": {"refuse": True},
        "session-members": {"drop": ["roles"], "members": {"attributes": None}},
        "wrong-session": {"session_id": ada["session_id"]},
        "roles": {"user_id": ada["user_id"], "roles": []},
        "policy": {"policy": {"roles": [], "resources": [], "scopes": []}},
        "oauth-token": {"provider": "github"},
        "revoke": {"user_id": ada["user_id"]},
    }.items():
        reply = quick.post(f"{control}/{path}", json=body)
        assert reply.status_code == 200, reply.text
    for path, wrong in {
        "token": {"shape": "nobody"},
        "sign-in": {"factors": ["nobody"]},
        "revoke": {},
        "policy": {"policy": {}},
        "issuer-form": {"form": "x"},
        "session-members": {"drop": [1]},
        "roles": {"user_id": "x", "roles": ["y"]},
    }.items():
        assert quick.post(f"{control}/{path}", json=wrong).status_code == 400, path
    assert quick.get(f"{control}/outbox").json() == {"messages": []}
    assert quick.post(f"{control}/reset", json={}).status_code == 200
    assert quick.get(control, headers={"Origin": stytch.base_url}).status_code == 403


def test_it_forgets_nothing_in_an_outage(stytch: StytchEmulator) -> None:
    ada = stytch.sign_in()
    stytch.stop()
    stytch.start()
    assert (
        call(stytch, "/v1/sessions/authenticate", session_token=ada.session_token)["user"]["user_id"]
        == ada.user_id
    )
