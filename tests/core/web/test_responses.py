"""What a refused or successful request is answered with, and what the log says of it (rules S28, S29 and S32)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    Auth,
    AuthenticationError,
    ConfigurationError,
    ExpiredCredentials,
    InvalidCredentials,
    MalformedCredentials,
    MissingCredentials,
    MoonKeyError,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderRejectedKey,
    ProviderUnavailable,
    RevokedCredentials,
    Settings,
    StepUpRequired,
    User,
    VerifiedSession,
)
from moonkey_core.auth import fresh_jwt, new_auth
from moonkey_core.gate import check, optional_user, require
from moonkey_core.providers.moonkey.wire import parse_session
from moonkey_core.web.request import HeaderView
from moonkey_core.web.responses import refuse

SETTINGS = Settings.load({"secret_key": "sk_test_x", "realm": "my app"}, {})
SESSION = parse_session({"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000})
VERIFIED = VerifiedSession(User(id="user_1"), SESSION)
FRESH = VerifiedSession(User(id="user_1"), SESSION, fresh_jwt="a.b.c")

CASES: list[tuple[MoonKeyError, int, str | None]] = [
    (MissingCredentials(), 401, None),
    (MalformedCredentials(), 400, "invalid_request"),
    (InvalidCredentials(reason="jwt_signature"), 401, "invalid_token"),
    (RevokedCredentials(), 401, "invalid_token"),
    (AuthenticationError(), 401, "invalid_token"),
    (StepUpRequired(), 401, "insufficient_user_authentication"),
    (PermissionDenied(), 403, "insufficient_scope"),
]


@pytest.mark.parametrize(("error", "status", "code"), CASES, ids=lambda value: type(value).__name__)
def test_a_refusal_of_the_caller(error: MoonKeyError, status: int, code: str | None) -> None:
    refusal = refuse(error, SETTINGS)
    headers = dict(refusal.headers)
    assert refusal.status == status
    assert headers["www-authenticate"] == 'Bearer realm="my app"' + (f', error="{code}"' if code else "")
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["vary"] == "Authorization, Session-Token"
    assert "retry-after" not in headers
    body = json.loads(refusal.body)
    assert (body["status"], body.get("error")) == (status, code)
    assert error.reason not in refusal.body.decode()


@pytest.mark.rule("S29")
def test_all_invalid_credentials_get_the_same_answer() -> None:
    bodies = set()
    for error in (
        InvalidCredentials(reason="jwt_issuer"),
        AuthenticationError(),
        RevokedCredentials("secret words"),
    ):
        refusal = refuse(error, SETTINGS)
        body = json.loads(refusal.body)
        del body["instance"]
        bodies.add((json.dumps(body), refusal.headers))
    assert len(bodies) == 1


@pytest.mark.rule("S29")
@pytest.mark.parametrize("is_over", [True, False])
def test_an_expired_one_says_so_in_body_and_challenge(is_over: bool) -> None:
    refusal = refuse(ExpiredCredentials(evidence="by 7 s", session_is_over=is_over), SETTINGS)
    other = refuse(InvalidCredentials(), SETTINGS)
    body, plain = json.loads(refusal.body), json.loads(other.body)
    assert (refusal.status, body["error"], body["reason"]) == (401, "invalid_token", "expired")
    assert plain["reason"] == "invalid"
    assert body["detail"] != plain["detail"]
    challenge = dict(refusal.headers)["www-authenticate"]
    assert challenge == f'Bearer realm="my app", error="invalid_token", error_description="{body["detail"]}"'
    assert "error_description" not in dict(other.headers)["www-authenticate"]
    assert b"by 7 s" not in refusal.body


@pytest.mark.parametrize(
    ("wait", "expected"), [(None, "5"), (0, "1"), (0.2, "1"), (7, "7"), (7.1, "8"), (3600, "3600")]
)
def test_trouble_says_when_to_come_again(wait: float | None, expected: str) -> None:
    refusal = refuse(ProviderUnavailable(retry_after=wait), SETTINGS)
    headers = dict(refusal.headers)
    assert (refusal.status, headers["retry-after"]) == (503, expected)
    assert "www-authenticate" not in headers
    assert headers["cache-control"] == "no-store"


@pytest.mark.rule("S29")
@pytest.mark.parametrize("error", [ProviderRejectedKey(), ConfigurationError("MOONKEY_X is wrong")])
def test_what_is_ours_to_mend_is_for_the_log_alone(error: MoonKeyError, caplog: pytest.LogCaptureFixture) -> None:
    refusal = refuse(error, SETTINGS)
    assert refusal.status == 500
    assert b"MOONKEY" not in refusal.body
    assert {"retry-after", "www-authenticate"}.isdisjoint(dict(refusal.headers))
    assert str(error) in caplog.text
    assert caplog.records[0].levelname == "ERROR"


@pytest.mark.rule("S29")
def test_the_log_says_which_check_failed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refusal = refuse(InvalidCredentials(reason="jwt_issuer"), SETTINGS, lambda _: ["request-7"])
    record = caplog.records[0]
    assert (record.__dict__["reason"], record.__dict__["request_id"]) == ("jwt_issuer", "request-7")
    assert json.loads(refusal.body)["instance"] == "urn:request:request-7"


def _always(lines: list[str]) -> HeaderView:
    return lambda _: lines


@pytest.mark.rule("S32")
@given(st.text(max_size=80))
def test_a_request_id_is_taken_over_only_if_it_is_harmless(given_id: str) -> None:
    for lines in ([given_id], [given_id, given_id], []):
        body = json.loads(refuse(NotFound(), SETTINGS, _always(lines)).body)
        used = body["instance"].removeprefix("urn:request:")
        assert 0 < len(used) <= 64
        assert used.isascii()
        assert used.isprintable()
        assert not set(used) & set(" \"\\'<>;,")
        if used == given_id:
            assert len(lines) == 1


class TestAuth:
    STATES: dict[str, Callable[[], Auth]] = {
        "anonymous": new_auth,
        "authenticated": lambda: new_auth(verified=VERIFIED),
        "rejected": lambda: new_auth(error=InvalidCredentials()),
        "unavailable": lambda: new_auth(error=ProviderUnavailable()),
    }

    @pytest.mark.parametrize("state", STATES)
    def test_exactly_one_state(self, state: str) -> None:
        auth = self.STATES[state]()
        assert not auth.accessed
        assert auth.state == state
        assert auth.accessed
        flags: dict[str, Any] = {name: getattr(auth, f"is_{name}") for name in self.STATES}
        assert flags == {name: name == state for name in self.STATES}
        assert bool(auth) is (state == "authenticated")
        assert (auth.user is not None) is (auth.session is not None) is bool(auth)
        assert (auth.error is not None) is (state in ("rejected", "unavailable"))

    def test_an_error_wins_over_a_verified_session(self) -> None:
        auth = new_auth(verified=VERIFIED, error=ProviderUnavailable())
        assert (auth.state, auth.user, auth.session) == ("unavailable", None, None)

    @pytest.mark.parametrize("name", ["state", "is_anonymous", "user", "session", "error", "__bool__"])
    def test_reading_is_looking(self, name: str) -> None:
        auth = new_auth(verified=FRESH)
        assert fresh_jwt(auth) == "a.b.c"
        assert repr(auth) == "Auth('authenticated')"
        assert not auth.accessed
        value = getattr(auth, name)
        if callable(value):
            value()
        assert auth.accessed

    def test_the_gate(self) -> None:
        auth = self.STATES["authenticated"]()
        assert require(auth) is auth
        assert check(auth) is None
        assert optional_user(auth) == VERIFIED.user
        for state, kind in (
            ("anonymous", MissingCredentials),
            ("rejected", InvalidCredentials),
            ("unavailable", ProviderUnavailable),
        ):
            auth = self.STATES[state]()
            assert isinstance(check(auth), kind)
            with pytest.raises(kind):
                require(auth)
        assert optional_user(self.STATES["anonymous"]()) is None
        assert optional_user(self.STATES["rejected"]()) is None
        with pytest.raises(ProviderError):
            optional_user(self.STATES["unavailable"]())
