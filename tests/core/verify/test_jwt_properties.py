"""JWTs of any content against a second judge: what PyJWT refuses, we refuse, and nothing makes us fail."""

from __future__ import annotations

import time
import warnings
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import AuthenticationError
from support.any_json import JSON
from support.decisions import NOW, Decisions
from support.odd_jwts import CLAIM, ISSUER, claims, good, header, rsa_key, sign

TIMES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-400, 400).map(lambda seconds: int(NOW) + seconds),
    st.floats(-400, 400).map(lambda seconds: NOW + seconds),
    st.sampled_from([0, -1, 10**18, 10**400, 1e308, True, None, "1800000000", [], {}]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "exp": TIMES,
        "iat": TIMES,
        "nbf": TIMES,
        "iss": st.sampled_from([ISSUER, ISSUER + "/", [ISSUER], "", None, 7]),
        "sub": st.sampled_from(["user_1", "", 7, None, ["user_1"]]),
        "jti": st.sampled_from(["sess_1", "", 7, None]),
        "aud": JSON,
        CLAIM: JSON,
    },
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["RS256", "none", "RS384", None, 1]),
        "typ": st.sampled_from(["JWT", "jwt", "at+jwt", 7]),
        "kid": JSON,
        "crit": JSON,
        "b64": st.sampled_from([True, False, None]),
        "x": JSON,
    },
)


def pyjwt_refuses(token: str, leeway: float) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jwt.decode(
                token,
                rsa_key().public_key(),
                algorithms=["RS256"],
                issuer=ISSUER,
                leeway=leeway,
                options={"require": ["exp", "iat", "iss"], "verify_aud": False},
            )
    except jwt.PyJWTError:
        return True
    return False


@pytest.fixture(autouse=True)
def at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT reads the clock of the process, so that one stands still too."""

    class Clock(jwt.api_jwt.datetime):  # type: ignore[name-defined,misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(NOW, tz)

    monkeypatch.setattr(jwt.api_jwt, "datetime", Clock)


@pytest.mark.long
@pytest.mark.rule("S10")
@given(changes=CHANGES, head=HEADERS, leeway=st.sampled_from([0.0, 5.0, 60.0]))
@settings(max_examples=200)
def test_what_pyjwt_refuses_we_refuse(changes: dict[str, Any], head: dict[str, Any], leeway: float) -> None:
    token = sign(header(**head), {**claims(NOW), **changes})
    decisions = Decisions(leeway=leeway, refresh_jwt=False)
    auth = decisions.authenticate(token)
    if pyjwt_refuses(token, leeway):
        assert auth.is_rejected
    if auth.is_rejected:
        assert isinstance(auth.error, AuthenticationError)
    assert decisions.fetches == []


def test_the_second_judge_agrees_about_a_good_one_and_sees_the_same_time() -> None:
    assert abs(time.time() - NOW) > 1_000_000
    assert not pyjwt_refuses(good(NOW), 5)
    assert pyjwt_refuses(good(NOW - 400), 5)
    assert Decisions(leeway=5).authenticate(good(NOW)).is_authenticated


@pytest.mark.long
@given(head=st.binary(max_size=120), body=st.binary(max_size=200))
def test_any_signed_bytes(head: bytes, body: bytes) -> None:
    decisions = Decisions()
    for token in (sign(head, body), sign(header(), body), sign(head, claims(NOW))):
        auth = decisions.read({"authorization": [f"Bearer {token}"]})
        if auth.is_authenticated:  # bytes that do not begin like JSON are asked for as a session token
            assert decisions.calls("sessions/verify") == 1
            decisions.fetches.clear()
            assert not head.lstrip().startswith(b"{")


@pytest.mark.long
@given(body=st.dictionaries(st.text(max_size=12), JSON, max_size=8))
def test_any_signed_object(body: dict[str, Any]) -> None:
    decisions = Decisions()
    auth = decisions.authenticate(sign(header(), body))
    assert auth.is_rejected
    assert decisions.fetches == []


@pytest.mark.long
@given(
    session=st.dictionaries(st.sampled_from([*claims(NOW)[CLAIM], "factors", "device_info", "deleted", "x"]), JSON)
)
def test_any_session_in_a_good_jwt(session: dict[str, Any]) -> None:
    decisions = Decisions(refresh_jwt=False)
    auth = decisions.authenticate(good(NOW, session=session))
    assert auth.is_authenticated or auth.is_rejected
    if auth.user is not None:
        assert auth.user.id == "user_1"
    assert decisions.fetches == []


@pytest.mark.long
@pytest.mark.rule("S8")
@given(st.data())
def test_one_altered_character_is_enough(data: st.DataObject) -> None:
    token = good(NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/"))
    altered = token[:place] + letter + token[place + 1 :]
    decisions = Decisions()
    auth = decisions.authenticate(altered)
    assert auth.is_authenticated == (altered == token) or decisions.calls("sessions/verify") == 1
