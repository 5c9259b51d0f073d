"""The warm path never says anything else than an empty memory would, whatever the header lines are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import Auth
from moonkey_core.gate import Requirements
from support.decisions import NOW
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import KnownToTheApi

TOKEN, OTHER, UNKNOWN = ("session_" + letter * 40 for letter in "tou")
FORGED = sign(header(), claims(NOW), "foreign")


JWT = good(NOW, sub="user_3", jti="sess_3", session={"id": "sess_3", "user_id": "user_3"})
ABOUT: dict[str, dict[str, Any]] = {
    TOKEN: {"session": {"started_at": NOW}},
    OTHER: {"session": {"id": "sess_2", "user_id": "user_2"}},
    JWT: {"session": {"id": "sess_3", "user_id": "user_3"}},
}
VALUES = st.sampled_from(
    [TOKEN, OTHER, JWT, UNKNOWN, FORGED, JWT[:-1], JWT + "A", TOKEN.upper(), "", "=", "a.b.c"]
)
BEFORE = st.sampled_from(
    ["", "Bearer ", "bearer ", "BEARER  ", "Bearer", "Bearer\t", " Bearer ", "Basic ", "\x00"]
)
AFTER = st.sampled_from(
    ["", " ", "\t", "=", ",", f", Bearer {TOKEN}", f" {JWT}", "\u00e9", "\u0661", "\r\n", "\x00"]
)
LINES = st.builds(lambda before, value, after: before + value + after, BEFORE, VALUES, AFTER) | st.text(max_size=8)
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "session-token", "x-session", "x-other"]),
    st.lists(LINES, max_size=2),
    max_size=3,
)
ASKING = st.sampled_from([None, Requirements(), Requirements(max_staleness=0), Requirements(max_staleness=20)])


def with_them(after: float, revoked: bool, seen: bool, **options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi(
        session_cache_ttl=30,
        credential_headers=("x-session", "authorization", "session-token"),
        leeway=2,
        **options,
    )
    decisions.good.update(ABOUT)
    for credential in (TOKEN, OTHER, JWT, UNKNOWN, FORGED) if seen else ():
        decisions.authenticate(credential)
    decisions.now += after
    if revoked:
        decisions.core.revocations.add(session_id="sess_1")
        decisions.core.revocations.add(user_id="user_3")
    return decisions


def said(auth: Auth) -> tuple[object, ...]:
    reason = auth.error.reason if auth.error else None
    who = (auth.user and auth.user.id, auth.session and auth.session.id)
    return (auth.state, type(auth.error), reason, *who)


@pytest.mark.rule("S2", "S3", "S33")
@pytest.mark.long
@given(
    headers=HEADERS,
    requirements=ASKING,
    after=st.sampled_from([-10.0, 0.0, 10.0, 29.0, 250.0, 400.0]),
    revoked=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "jwt_issuer": st.just(""),
            "refresh_jwt": st.just(False),
            "grace_seconds": st.just(60),
            "jwt_max_age": st.just(20),
        },
    ),
)
@settings(max_examples=400)
def test_it_says_nothing_else_than_an_empty_memory(
    headers: dict[str, list[str]],
    requirements: Requirements | None,
    after: float,
    revoked: bool,
    options: dict[str, Any],
) -> None:
    warm, cold = with_them(after, revoked, seen=True, **options), with_them(after, revoked, seen=False, **options)
    expected = said(cold.read(headers, requirements))
    calls = len(warm.fetches)
    known = warm.known(headers, requirements)
    assert len(warm.fetches) == calls
    assert known is None or said(known) == expected
    assert said(warm.read(headers, requirements)) == expected


@pytest.mark.rule("S2", "S33")
@pytest.mark.parametrize("credential", [TOKEN, JWT])
def test_a_remembered_credential_is_as_wrong_in_a_wrong_place_as_any(credential: str) -> None:
    decisions = with_them(0, revoked=False, seen=True)
    wrong: list[dict[str, list[str]]] = [
        {"authorization": [f"Bearer {credential}"] * 2},
        {"authorization": [f"Bearer {credential}"], "session-token": [credential]},
        {"session-token": [credential], "x-session": [credential]},
        {"session-token": [f"Bearer {credential}"]},
        {"authorization": [f"Bearer {credential}, Bearer {credential}"]},
        {"authorization": [f"Bearer {credential} "], "session-token": [OTHER]},
        {"session-token": [credential, ""]},
    ]
    for headers in wrong:
        assert not decisions.known(headers)
        auth = decisions.read(headers)
        assert auth.is_rejected, headers
        assert auth.error is not None
        assert auth.error.status == 400, headers
    assert decisions.read({"authorization": ["Basic QQ=="], "session-token": [credential]}).is_authenticated
