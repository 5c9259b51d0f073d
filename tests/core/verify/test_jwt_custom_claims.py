"""What a session carries beyond its own members, be it known by a JWT or by a token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from moonkey_core import Session
from moonkey_core.emulator import Emulator
from moonkey_core.gate import Requirements, require
from support.clients import MakeClient
from support.decisions import NOW, bearer
from support.judged import accepted
from support.odd_jwts import CLAIM, claims, header, sign


def read(**changes: Any) -> Session:
    found = accepted(sign(header(), claims(NOW, **changes))).session
    assert found is not None
    return found


def test_those_of_the_payload_are_there() -> None:
    said = {
        "scope": "read write",
        "roles": ["admin"],
        "org": {"id": "org_1"},
        "custom_claims": {"plan": "pro"},
    }
    found = read(**said).claims
    assert found == {"scope": "read write", "roles": ("admin",), "org": {"id": "org_1"}, "plan": "pro"}


@pytest.mark.rule("S50")
def test_those_of_the_session_come_first() -> None:
    inner = {"plan": "free", "custom_claims": {"team": "a"}}
    for said in ({"plan": "pro", "team": "b"}, {"custom_claims": {"plan": "pro", "team": "b"}}):
        found = read(session=inner, **said).claims
        assert (found["plan"], found["team"]) == ("free", "a")


@pytest.mark.rule("S50")
def test_no_member_of_the_session_comes_from_elsewhere() -> None:
    odd = {
        "id": "sess_2", "user_id": "user_2", "factors": [{"type": "totp"}], "created_at": 1, "updated_at": 1,
        "last_active_at": 1, "expires_at": 1, "started_at": 1, "deleted": True, "deleted_at": 1,
        "device_info": {"ip": "1.2.3.4"}, "device_fingerprint": {"ip": "1.2.3.4"}, "session": {"id": "sess_3"},
        "iss": "other", "exp": 1,
    }  # fmt: skip
    bare = claims(NOW)
    bare[CLAIM] = {"id": "sess_1", "user_id": "user_1"}
    usual = accepted(sign(header(), bare)).session
    assert usual is not None
    assert (usual.started_at, usual.last_active_at, usual.device, usual.claims) == (None, None, None, {})
    outside = {name: value for name, value in odd.items() if name not in ("iss", "exp", "session")}
    for said in ({"custom_claims": odd}, outside):
        assert accepted(sign(header(), {**bare, **said})).session == usual


@pytest.mark.parametrize("wrong", [7, "x", [1], {"a": 1}, True, None])
def test_odd_ones_break_nothing(wrong: Any) -> None:
    names = ("factors", "started_at", "device_info", "custom_claims", "scope", "roles", "deleted")
    found = read(**dict.fromkeys(names, wrong))
    assert found.factors == ()
    assert Requirements(scopes={"x"}, roles={"y"}).check(found, datetime.now(UTC)) is not None


@pytest.mark.rule("S30", "S50")
def test_none_is_registered_or_a_session_or_a_secret() -> None:
    found = read(aud="me", session_token="t", secret="s", other="o")
    assert found.claims == {"other": "o"}
    second = {**claims(NOW), "session": {"id": "sess_2", "roles": ["admin"]}}
    assert second[CLAIM]["id"] == "sess_1"
    auth = accepted(sign(header(), second))
    assert auth.session is not None
    assert auth.session.claims == {}


@pytest.mark.parametrize("options", [{}, {"session_cache_ttl": 30}, {"jwks": True}], ids=str)
def test_claims_by_token_and_by_jwt(make_client: MakeClient, emulator: Emulator, options: dict[str, Any]) -> None:
    if options.pop("jwks", False):
        options["jwt_issuer"] = emulator.issuer
    client = make_client(**options)
    person = emulator.sign_in(claims={"plan": "pro", "roles": ["admin"], "scope": "read"})
    asked = Requirements(claims={"plan": "pro"}, roles={"admin"}, scopes={"read"})
    for credential in (person.session_token, person.session_jwt):
        for _ in range(2):
            assert require(client.authenticate(bearer(credential), asked), asked)
