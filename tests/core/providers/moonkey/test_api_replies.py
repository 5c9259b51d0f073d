"""What each reply of the API means for the caller: accepted, rejected, or cannot know (rules S19, S20 and S23)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import (
    Auth,
    InvalidCredentials,
    ProviderRejectedKey,
    ProviderUnavailable,
)
from moonkey_core._plan import Fetch, Outcome, TransportError
from support.any_json import JSON
from support.api import FLAT, TOKEN, Api, judged, unavailable
from support.decisions import NOW, Decisions, replied
from support.odd_jwts import good

HUGE = 10**400
NESTED = {"error": {"code": "some_error", "message": "no"}}
FLAT_DEAD = {**FLAT, "error_type": "invalid_session"}
NESTED_DEAD = {"error": {"code": "invalid_session", "message": "Session not found or has expired"}}
UNCODED = {"error": {"message": "no"}}
KNOWN_ERRORS = {"flat": FLAT, "nested": NESTED, "nested without code": UNCODED}
DEAD = {"flat": FLAT_DEAD, "nested": NESTED_DEAD}
UNKNOWN_BODIES: dict[str, object] = {
    "html": b"<html><h1>Not Found</h1></html>",
    "empty": b"",
    "text": b"not found",
    "other json": {"message": "Not Found"},
    "other error": {"error": "not_found"},
    "error as list": {"error": ["invalid_session"]},
    "error with odd code": {"error": {"code": 7}},
    "type is a number": {"error_type": 404},
    "list": b'[{"error": {"code": "invalid_session"}}]',
    "null": b"null",
    "truncated": json.dumps(NESTED_DEAD).encode()[:-1],
    "duplicate names": b'{"error_type": "x", "error_type": "invalid_session"}',
    "two values": json.dumps(NESTED_DEAD).encode() * 2,
    "utf-16": json.dumps(NESTED_DEAD).encode("utf-16"),
    "NaN": b'{"error_type": "invalid_session", "x": NaN}',
    "deep": b'{"error_type":"invalid_session","x":' + b"[" * 50_000,
}


@pytest.mark.rule("S19")
@pytest.mark.parametrize("body", KNOWN_ERRORS.values(), ids=KNOWN_ERRORS.keys())
@pytest.mark.parametrize("status", [400, 404, 410])
def test_an_understood_refusal(status: int, body: object) -> None:
    auth = judged(replied(status, body))
    assert auth.is_rejected
    assert isinstance(auth.error, InvalidCredentials)


@pytest.mark.rule("S19")
@pytest.mark.parametrize("body", DEAD.values(), ids=DEAD.keys())
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_the_code_of_a_dead_session_under_any_refusal(status: int, body: object) -> None:
    api = Api(replied(status, body))
    assert isinstance(api.authenticate(TOKEN).error, InvalidCredentials)
    assert len(api.fetches) == 1  # no question about our own key


@pytest.mark.rule("S19")
@pytest.mark.parametrize("body", UNKNOWN_BODIES.values(), ids=UNKNOWN_BODIES.keys())
@pytest.mark.parametrize(
    "status", [200, 201, 202, 204, 302, 304, 400, 402, 403, 404, 409, 410, 418, 422, 500, 502]
)
def test_what_is_not_understood_is_trouble(status: int, body: object) -> None:
    unavailable(judged(replied(status, body)))


@pytest.mark.rule("S19")
@pytest.mark.parametrize("body", [*KNOWN_ERRORS.values(), *DEAD.values()])
@pytest.mark.parametrize(
    "status", [200, 201, 206, 301, 302, 303, 304, 307, 308, 500, 501, 502, 503, 504, 520, 599]
)
def test_an_error_body_under_another_status_is_trouble(status: int, body: object) -> None:
    unavailable(judged(replied(status, body)))


@pytest.mark.rule("S19")
@pytest.mark.parametrize("status", [408, 429])
def test_being_told_to_wait_is_trouble(status: int) -> None:
    auth = judged(replied(status, FLAT, retry_after="7"))
    unavailable(auth)
    assert isinstance(auth.error, ProviderUnavailable)
    assert auth.error.retry_after == 7


@pytest.mark.rule("S19")
@pytest.mark.parametrize("status", [402, 409, 403])
def test_a_refusal_that_is_ours_to_mend(status: int) -> None:
    auth = judged(replied(status, FLAT))
    assert isinstance(auth.error, ProviderRejectedKey)
    assert auth.is_unavailable
    assert auth.error.status == 500


@pytest.mark.rule("S19", "S39")
@pytest.mark.parametrize("kind", ["connect", "timeout", "broken", "too_large"])
def test_no_reply_is_trouble(kind: Any) -> None:
    assert unavailable(judged(TransportError(kind))) == f"api_{kind}"


BARE = {"flat": replied(401, {**FLAT, "error_type": "unauthorized"}), "nothing": replied(401, b"")}


@pytest.mark.rule("S20")
@pytest.mark.parametrize("bare", BARE.values(), ids=BARE.keys())
class TestBare401:
    """A 401 that may mean the session or our key: one more call tells."""

    @pytest.mark.parametrize("status", [400, 404])
    def test_the_key_is_accepted_so_the_session_is_dead(self, bare: Outcome, status: int) -> None:
        auth = judged(bare, replied(status, FLAT))
        assert isinstance(auth.error, InvalidCredentials)

    @pytest.mark.parametrize("probe", [replied(401, FLAT), replied(401, b""), replied(403, NESTED)])
    def test_the_key_is_rejected(self, bare: Outcome, probe: Outcome) -> None:
        auth = judged(bare, probe)
        assert isinstance(auth.error, ProviderRejectedKey)
        assert auth.error.status == 500

    @pytest.mark.parametrize(
        "probe",
        [
            TransportError("connect"),
            TransportError("timeout"),
            replied(200, {"user_id": "user_found"}),
            replied(401, b"<html>"),
            replied(404, b"<html>"),
            replied(404, {"message": "Not Found"}),
            replied(404, b""),
            replied(429, FLAT),
            replied(500, FLAT),
            replied(302, b""),
        ],
        ids=lambda probe: f"{getattr(probe, 'status', 'error')} {getattr(probe, 'body', b'')[:9]!r}",
    )
    def test_the_probe_fails_so_it_cannot_be_known(self, bare: Outcome, probe: Outcome) -> None:
        unavailable(judged(bare, probe))

    def test_the_probe_asks_for_nobody_and_is_shared(self, bare: Outcome) -> None:
        api = Api(bare)
        for number in range(2):
            api.authenticate(f"{TOKEN}{number}")
        first, second = (fetch for fetch in api.fetches if "/users/" in fetch.url)
        assert first.url != second.url  # nobody can register the user that would deceive it
        assert first.coalesce_key == second.coalesce_key is not None
        assert first.ttl == 5.0
        assert not first.reuse_failures
        assert first.authorization is not None
        assert str(first.authorization.header()).startswith("Bearer sk_test_")
        assert first.method == "GET"


def test_a_401_that_is_a_page_of_a_proxy_is_trouble() -> None:
    unavailable(judged(replied(401, b"<html>"), replied(404, FLAT)))


BODIES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({}, optional={"session": JSON, "user": JSON, "error": JSON, "error_type": JSON}).map(
        lambda value: json.dumps(value).encode()
    ),
)
STATUSES = st.one_of(st.integers(200, 599), st.sampled_from([200, 400, 401, 404, 410, 429, 500]))


@pytest.mark.long
@pytest.mark.rule("S19")
@given(STATUSES, BODIES, STATUSES, BODIES, st.text(max_size=20))
@settings(max_examples=200)
def test_no_reply_that_says_nothing_accepts_anybody(
    status: int, body: bytes, probe_status: int, probe_body: bytes, wait: str
) -> None:
    auth = judged(replied(status, body, retry_after=wait), replied(probe_status, probe_body, retry_after=wait))
    assert not auth.is_authenticated
    assert not auth.is_anonymous
    if auth.is_rejected:
        assert status in (400, 401, 404, 410) or (400 <= status < 500 and b"invalid_session" in body)
    if status >= 500 or status in (408, 429):
        assert auth.is_unavailable


LOADS: dict[str, tuple[Outcome, Callable[[Auth], bool]]] = {
    "known": (replied(200, {"user_id": "user_1", "emails": []}), lambda auth: auth.is_authenticated),
    "unknown": (replied(404, FLAT), lambda auth: auth.is_rejected),
    "gone": (replied(410, FLAT), lambda auth: auth.is_rejected),
    "somebody else": (replied(200, {"user_id": "user_2"}), lambda auth: auth.is_unavailable),
    "bad request": (replied(400, FLAT), lambda auth: auth.is_unavailable),
    "conflict": (replied(409, FLAT), lambda auth: auth.is_unavailable),
    "unprocessable": (replied(422, FLAT), lambda auth: auth.is_unavailable),
    "payment": (replied(402, FLAT), lambda auth: auth.is_unavailable),
    "html": (replied(404, b"<html>"), lambda auth: auth.is_unavailable),
    "no user": (replied(200, {"x": 1}), lambda auth: auth.is_unavailable),
    "down": (replied(503), lambda auth: auth.is_unavailable),
    "nothing": (TransportError("broken"), lambda auth: auth.is_unavailable),
}


@pytest.mark.rule("S19")
@pytest.mark.parametrize(("answer", "expected"), LOADS.values(), ids=LOADS.keys())
def test_loading_the_user_never_turns_trouble_into_a_verdict(
    answer: Outcome, expected: Callable[[Auth], bool]
) -> None:
    decisions = Decisions(load_user=True)

    def say(fetch: Fetch) -> Outcome:
        assert fetch.url.endswith("/v1/auth/users/user_1")
        return answer

    decisions.answer = say
    auth = decisions.authenticate(good(NOW))
    assert expected(auth), auth
