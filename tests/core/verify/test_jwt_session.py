"""The session claim of a session JWT, one thing wrong at a time (rules S12 and S13)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moonkey_core import ExpiredCredentials, RevokedCredentials
from support.decisions import NOW, Decisions
from support.judged import accepted, refused
from support.odd_jwts import CLAIM, claims, good, header, sign, without

HUGE = 10**400


def test_the_session_under_either_known_name() -> None:
    inner = claims(NOW)[CLAIM]
    accepted(sign(header(), {**without(claims(NOW), CLAIM), "session": inner}))
    assert refused(sign(header(), {**without(claims(NOW), CLAIM), "sess": inner})) == "jwt_session"
    assert refused(sign(header(), {**claims(NOW), CLAIM: None, "session": inner})) == "jwt_session"
    options = {"jwt_session_claims": "urn:other"}
    accepted(sign(header(), {**without(claims(NOW), CLAIM), "urn:other": inner}), **options)
    assert refused(good(NOW), **options) == "jwt_session"


WRONG_SESSIONS: list[object] = [
    None,
    True,
    0,
    "sess_1",
    [],
    [{"id": "sess_1"}],
    {},
    {"id": ""},
    {"id": 5},
    {"id": None},
]


@pytest.mark.rule("S12")
@pytest.mark.parametrize("session", WRONG_SESSIONS, ids=repr)
def test_a_session_claim_of_the_wrong_kind(session: object) -> None:
    assert refused(sign(header(), {**claims(NOW), CLAIM: session})) == "jwt_session"


FIELDS: dict[str, list[object]] = {
    "id": ["", None, 1, "s" * 257, ["sess_1"], "a\nb"],
    "user_id": ["", None, 1, [], {}],
    "expires_at": ["", "1800000000", True, False, [], {}, HUGE, -HUGE, 1e300, -1e300],
    "started_at": ["", "now", True, [], HUGE, 1e300],
    "last_active_at": ["", True, HUGE],
    "created_at": ["", True, HUGE],
    "updated_at": ["", True, {}, HUGE],
    "deleted_at": ["", "never", True, HUGE, 1e300],
    "factors": ["otp", {}, {"a": 1}, [1], [None], ["otp"], [[]], 7, [{"last_verified_at": HUGE}]],
    "device_info": ["phone", [1], 7],
    "device_fingerprint": ["phone", [1], True],
}


@pytest.mark.rule("S12")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, values in FIELDS.items()
        for value in values
        if not (name == "factors" and value == {})
    ],
    ids=lambda value: repr(value)[:25],
)
def test_a_field_of_the_session_that_is_wrong(name: str, value: object) -> None:
    assert refused(good(NOW, session={name: value})) == "jwt_session"


@pytest.mark.parametrize("deletion", [{"deleted": True}, {"deleted_at": NOW - 5}])
def test_a_deleted_session(deletion: dict[str, Any]) -> None:
    decisions = Decisions()
    auth = decisions.authenticate(good(NOW, session=deletion))
    assert isinstance(auth.error, RevokedCredentials), auth
    assert decisions.fetches == []


@pytest.mark.parametrize(
    "deletion", [{"deleted": False}, {"deleted_at": 0}, {"deleted": None, "deleted_at": None}]
)
def test_a_session_that_says_it_is_not_deleted(deletion: dict[str, Any]) -> None:
    accepted(good(NOW, session=deletion))


@pytest.mark.rule("S9")
@pytest.mark.parametrize("depth", [40, 150, 400, 800, 1500])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_deep_nesting_inside_the_session(opening: str, depth: int) -> None:
    deep = opening * depth + "1" + ("}" if opening != "[" else "]") * depth
    body = json.dumps(claims(NOW, session={"extra": "HERE"})).replace('"HERE"', deep)
    reason = refused(sign(header(), body.encode()), max_credential_length=16_384)
    assert reason in ("jwt_session", "jwt_form")


def test_the_end_of_the_session_counts_too() -> None:
    decisions = Decisions(refresh_jwt=False)
    auth = decisions.authenticate(good(NOW, session={"expires_at": NOW - 5}))
    assert isinstance(auth.error, ExpiredCredentials)
    accepted(good(NOW, session={"expires_at": NOW - 4}), refresh_jwt=False)
