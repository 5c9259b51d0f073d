"""Custom claims: read, set, merged and deleted; and what becomes of the JWTs that do not have them yet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import AsyncMoonKey, Auth, MoonKey, NotSupported, ProviderUnavailable
from moonkey_core.emulator import StytchEmulator
from moonkey_core.providers.stytch.custom_claims import checked_claims
from support.any_json import JSON as ANY
from support.stytch_clients import StytchClient, stytch_client

HOW = pytest.mark.parametrize("how", ["sync", "async"])


def claims_of(auth: Auth) -> dict[str, Any]:
    assert auth.session is not None, auth.error
    return dict(auth.session.extra["custom_claims"])


def change(client: StytchClient, claims: dict[str, Any], **credential: str) -> Any:
    return client("sessions.verify", **credential, custom_claims=claims, extend=60)


@HOW
def test_claims_are_set_merged_and_deleted(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in(claims={"team": "a", "old": 1, "limits": {"seats": 3}})
    with stytch_client(how, project) as client:
        token = {"session_token": signed_in.session_token}
        verified = change(client, {"plan": "pro", "old": None, "limits": {"rate": 5}}, **token)
        expected = {"team": "a", "plan": "pro", "limits": {"seats": 3, "rate": 5}}
        assert verified.session.extra["custom_claims"] == expected
        assert claims_of(client.auth(verified.session_jwt)) == expected
        assert claims_of(client.auth(signed_in.session_token)) == expected
        assert verified.session.claims["plan"] == "pro"


@HOW
@pytest.mark.parametrize("credential", ["session_token", "session_jwt"])
def test_an_older_jwt_does_not_show_older_claims(how: str, credential: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in(claims={"plan": "free"})
    old = signed_in.session_jwt
    with stytch_client(how, project) as client:
        assert claims_of(client.auth(old)) == {"plan": "free"}
        verified = change(client, {"plan": "pro"}, **{credential: getattr(signed_in, credential)})
        for _ in range(3):
            assert claims_of(client.auth(old)) == {"plan": "pro"}
        assert claims_of(client.auth(verified.session_jwt)) == {"plan": "pro"}


def test_the_answer_about_an_older_jwt_takes_the_place_of_what_it_says(project: StytchEmulator) -> None:
    signed_in = project.sign_in(claims={"plan": "free"})
    with stytch_client("sync", project, leeway=0) as client:  # so nothing is asked about for longer than it has to
        assert claims_of(client.auth(signed_in.session_jwt)) == {"plan": "free"}
        change(client, {"plan": "pro"}, session_token=signed_in.session_token)
        assert claims_of(client.auth(signed_in.session_jwt)) == {"plan": "pro"}
        remembered = client.auth(signed_in.session_jwt)
        assert remembered.source == "cache"
        assert claims_of(remembered) == {"plan": "pro"}
        assert remembered.user is not None
        assert remembered.user.email == "demo@example.com"  # of the answer, too


def test_another_process_asks_about_the_older_jwt_by_the_feed(project: StytchEmulator) -> None:
    """What one table publishes, and the other takes in, stands for the feed between two processes."""
    signed_in = project.sign_in(claims={"plan": "free"})
    with stytch_client("sync", project) as one, stytch_client("sync", project) as other:
        entries: list[Any] = []
        one.client.revocations.listeners += (entries.append,)
        assert claims_of(other.auth(signed_in.session_jwt)) == {"plan": "free"}
        change(one, {"plan": "pro"}, session_token=signed_in.session_token)
        assert entries
        for entry in entries:
            other.client.revocations.receive(entry)
        assert claims_of(other.auth(signed_in.session_jwt)) == {"plan": "pro"}
        assert claims_of(other.auth(signed_in.session_jwt)) == {"plan": "pro"}


def test_a_remembered_answer_about_the_token_does_not_show_older_claims(project: StytchEmulator) -> None:
    signed_in = project.sign_in(claims={"plan": "free"})
    with stytch_client("sync", project, session_cache_ttl=60) as client:
        assert claims_of(client.auth(signed_in.session_token)) == {"plan": "free"}
        assert client.auth(signed_in.session_token).source == "cache"
        change(client, {"plan": "pro"}, session_jwt=signed_in.session_jwt)
        assert claims_of(client.auth(signed_in.session_token)) == {"plan": "pro"}


def test_the_refusal_of_a_replaced_jwt_ends_no_session(project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    with stytch_client("sync", project) as client:
        change(client, {"plan": "pro"}, session_jwt=signed_in.session_jwt)
        project.fault("/v1/sessions/authenticate", status=404, body=_not_found(), times=1)
        error = client.auth(signed_in.session_jwt).error
        assert error is not None
        assert (error.reason, error.session_is_over) == ("token_replaced", False)  # type: ignore[attr-defined]


def _not_found() -> str:
    return json.dumps(
        {"status_code": 404, "request_id": "r", "error_type": "session_not_found", "error_message": ""}
    )


def test_a_call_whose_outcome_is_unknown_counts_as_a_change(project: StytchEmulator) -> None:
    signed_in = project.sign_in(claims={"plan": "free"})
    with stytch_client("sync", project, session_cache_ttl=60) as client:
        assert claims_of(client.auth(signed_in.session_token)) == {"plan": "free"}
        project.fault("/v1/sessions/authenticate", body="<html>", times=9)
        with pytest.raises(ProviderUnavailable):
            change(client, {"plan": "pro"}, session_token=signed_in.session_token)
        project.clear_faults()
        project.clear_requests()
        assert client.auth(signed_in.session_token).is_authenticated
        assert project.requests()["POST /v1/sessions/authenticate"] >= 1


@HOW
def test_without_a_lifetime_nothing_is_asked(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    with stytch_client(how, project) as client:
        with pytest.raises(ValueError, match="extend="):
            client("sessions.verify", session_token=signed_in.session_token, custom_claims={"plan": "pro"})
        for minutes in (4, 527_041):
            with pytest.raises(ValueError, match="5 to 527040"):
                client("sessions.verify", session_token=signed_in.session_token, extend=minutes)
        assert project.requests() == {}
        found = client("sessions.verify", session_token=signed_in.session_token, extend=527_040)
        assert found.session.expires_in.days == 365


RESERVED = [
    *("iss", "sub", "aud", "exp", "nbf", "iat", "jti"),
    *("https://stytch.com/session", "https://stytch.com/x", "HTTPS://Stytch.com/session", "https://STYTCH.COM/"),
]


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_name_is_refused_before_the_call(name: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    with stytch_client("sync", project) as client, pytest.raises(ValueError, match="cannot be a custom claim"):
        change(client, {"plan": "pro", name: "x"}, session_token=signed_in.session_token)
    assert project.requests() == {}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        [],
        "plan",
        {"": 1},
        {7: 1},
        {"a": object()},
        {"a": float("nan")},
        {"a": {1: 2}},
        {"a": {2, 3}},
        {"a": "\ud800"},
        {"a": "x" * 4096},
    ],
)
def test_what_is_no_json_or_too_long_is_refused(claims: Any) -> None:
    with pytest.raises(ValueError, match=r"custom claim|custom_claims"):
        checked_claims(claims)


def test_four_kilobytes_are_taken() -> None:
    assert checked_claims({"a": "x" * (4096 - len('{"a":""}'))})
    with pytest.raises(ValueError, match="4097"):
        checked_claims({"a": "x" * (4097 - len('{"a":""}'))})
    with pytest.raises(ValueError, match="bytes"):
        checked_claims({"a": "ä" * 2048})


@given(st.dictionaries(st.text(max_size=8), ANY, max_size=4))
def test_any_json_is_taken_as_it_is_or_refused(claims: dict[str, Any]) -> None:
    try:
        found = checked_claims(claims)
    except ValueError:
        return
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(claims))
    assert len(json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()) <= 4096


@pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
def test_moonkey_keeps_no_claims_and_asks_no_roles(kind: type) -> None:
    import asyncio

    from moonkey_core import AuthorizationCheck

    client = kind(secret_key="sk_test_x", base_url="https://nowhere.example")
    for more in ({"custom_claims": {"a": 1}, "extend": 9}, {"authorization_check": AuthorizationCheck("a", "b")}):

        def call(more: dict[str, Any] = more) -> Any:
            made = client.sessions.verify(session_token="t" * 64, **more)
            return asyncio.run(made) if kind is AsyncMoonKey else made

        with pytest.raises(NotSupported):
            call()
