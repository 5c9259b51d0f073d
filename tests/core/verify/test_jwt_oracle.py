"""JWTs that begin as good ones and are altered anywhere, against PyJWT; our readers against clear, slow models."""

from __future__ import annotations

import base64
import binascii
import json
import math
import warnings
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import Auth, ExpiredCredentials, InvalidCredentials, RevokedCredentials
from moonkey_core._strict_json import load_object
from moonkey_core._verify.jwt import decode_part
from moonkey_core.auth import new_auth
from moonkey_core.providers.moonkey.wire import build_session, check_session, check_user, parse_session, parse_user
from support.any_json import JSON
from support.decisions import NOW, Decisions
from support.odd_jwts import CLAIM, ISSUER, KID, b64, claims, good, header, rsa_key, sign, sign_parts

pytestmark = pytest.mark.long

LEEWAY, MAX_AGE = 5.0, 300.0
AUDIENCE = "app"

# Alterations are aimed: every one of these names and values means something to some reader of JWTs.
NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-400, 400).map(lambda seconds: int(NOW) + seconds),
    st.sampled_from([NOW + 0.5, NOW - 5, NOW - 5.5, NOW + 5, NOW + 5.5, NOW - 0.999, 0, -1, 1e308, 2**48, 2**63]),
    st.floats(-400, 400).map(lambda seconds: NOW + seconds),
)
ODD: st.SearchStrategy[Any] = st.one_of(
    NUMBERS, JSON, st.sampled_from([None, True, "", "1800000000", [], {}, 10**400, 1e-320])
)
ISSUERS = st.sampled_from([ISSUER, ISSUER + "/", ISSUER[:-1], ISSUER.upper(), [ISSUER], {ISSUER: 1}, "", None, 0])
AUDIENCES = st.sampled_from(
    [AUDIENCE, [AUDIENCE], ["x", AUDIENCE], [], [[AUDIENCE]], {AUDIENCE: 1}, "appx", None, 7]
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("exp", "iat", "nbf"), ODD),
        "iss": ISSUERS | JSON,
        "aud": AUDIENCES | JSON,
        "sub": st.sampled_from(["user_1", "", 7, None, ["user_1"], "a\nb", "u" * 257]) | JSON,
        "jti": st.sampled_from(["sess_1", "", 7, None, ["sess_1"]]) | JSON,
        "other": JSON,
    },
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["RS256", "rs256", "none", "HS256", "RS512", "PS256", ["RS256"], None, 1]),
        "typ": st.sampled_from(["JWT", "jwt", "at+jwt", "application/jwt", 7, None, ["JWT"]]),
        "kid": st.sampled_from([KID, "evil", "", 7, None, [KID], "k" * 257, "../" + KID]),
        "crit": st.sampled_from([[], ["exp"], ["b64"], "b64", None, {}]) | JSON,
        "b64": st.sampled_from([True, False, None, 0, "true"]),
        "zip": st.just("DEF"),
        "jwk": st.just({"kty": "oct", "k": "AAAA"}),
        "x5u": st.just("http://127.0.0.1:1/"),
    },
)
WITHOUT = st.lists(st.sampled_from(["exp", "iat", "nbf", "iss", "sub", "jti", "aud", CLAIM]), max_size=2)
WITHOUT_HEADERS = st.lists(st.sampled_from(["alg", "typ", "kid"]), max_size=1)
SIGNERS = st.sampled_from([KID, KID, KID, "foreign"])


@pytest.fixture(autouse=True)
def at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT reads the clock of the process, so that one stands still too."""

    class Clock(pyjwt.api_jwt.datetime):  # type: ignore[name-defined,misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(NOW, tz)

    monkeypatch.setattr(pyjwt.api_jwt, "datetime", Clock)


def refused_by_pyjwt(token: str, audience: str | None = None) -> bool:
    """PyJWT, told all that we are told. Without an audience of ours it would refuse every ``aud``: we don't."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pyjwt.decode(
                token,
                rsa_key().public_key(),
                algorithms=["RS256"],
                issuer=ISSUER,
                leeway=LEEWAY,
                audience=audience,
                options={"require": ["exp", "iat"], "verify_aud": audience is not None},
            )
    except pyjwt.PyJWTError:
        return True
    return False


def judged(token: str, audience: str | None = None) -> Auth:
    """Our verdict, without the difference in the handling of age: what is too old is not sent to the API."""
    decisions = Decisions(leeway=LEEWAY, jwt_max_age=MAX_AGE, refresh_jwt=False, jwt_audience=audience)
    auth = decisions.authenticate(token)
    if decisions.fetches:  # it does not even look like a JWT, and was asked about as a session token
        assert not token.startswith("eyJ")
        return new_auth()
    return auth


def check(token: str, audience: str | None = None) -> None:
    auth = judged(token, audience)
    if refused_by_pyjwt(token, audience):
        assert not auth.is_authenticated
    if auth.is_rejected:
        assert isinstance(auth.error, InvalidCredentials)


def altered(part: dict[str, Any], changes: dict[str, Any], left_out: list[str]) -> dict[str, Any]:
    return {name: value for name, value in {**part, **changes}.items() if name not in left_out}


@pytest.mark.rule("S5", "S10")
@given(head=HEADERS, body=CLAIMS, no_head=WITHOUT_HEADERS, no_body=WITHOUT, signer=SIGNERS)
@settings(max_examples=500)
def test_what_pyjwt_refuses_we_refuse(
    head: dict[str, Any], body: dict[str, Any], no_head: list[str], no_body: list[str], signer: str
) -> None:
    check(sign(altered(header(), head, no_head), altered(claims(NOW), body, no_body), signer))


@given(body=CLAIMS, no_body=WITHOUT)
@settings(max_examples=300)
def test_the_claims_alone(body: dict[str, Any], no_body: list[str]) -> None:
    token = sign(header(), altered(claims(NOW), body, no_body))
    check(token)
    check(token, AUDIENCE)


@pytest.mark.rule("S11")
@given(audience=AUDIENCES | JSON)
def test_an_audience(audience: object) -> None:
    token = good(NOW, aud=audience)
    check(token, AUDIENCE)
    named = audience == AUDIENCE or (
        isinstance(audience, list) and AUDIENCE in audience and all(isinstance(one, str) for one in audience)
    )
    assert judged(token, AUDIENCE).is_authenticated is named


@given(data=st.data(), which=st.integers(0, 2))
@settings(max_examples=300)
def test_bytes_of_a_part_that_was_signed_afterwards(data: st.DataObject, which: int) -> None:
    """The text of a part is altered, and the signature is right for it unless it is the part that was altered."""
    parts = good(NOW).split(".")
    part = parts[which]
    start = data.draw(st.integers(0, len(part)))
    end = data.draw(st.integers(start, min(start + 6, len(part))))
    new = data.draw(st.text('AQgw9-_+/= .\n\t\x00{}"\u00e9', max_size=6) | st.text(max_size=3))
    parts[which] = part[:start] + new + part[end:]
    try:
        token = ".".join(parts) if which == 2 else sign_parts(parts[0], parts[1])
        token.encode("ascii")
    except UnicodeEncodeError:
        token = ".".join(parts)
    decisions = Decisions(refresh_jwt=False)
    auth = decisions.authenticate(token)
    if auth.is_authenticated and not decisions.fetches:
        assert not refused_by_pyjwt(token)
        assert auth.user is not None
        assert auth.user.id == json.loads(base64.urlsafe_b64decode(parts[1] + "=="))["sub"]


@pytest.mark.rule("S9")
@given(data=st.data(), which=st.sampled_from(["head", "body"]))
@settings(max_examples=300)
def test_bytes_of_the_json(data: st.DataObject, which: str) -> None:
    raw = json.dumps(header() if which == "head" else claims(NOW)).encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(start + 4, len(raw))))
    new = data.draw(
        st.sampled_from(
            [b"", b" ", b"\xef\xbb\xbf", b"\x00", b"NaN", b"1e999", b"-", b'"', b",", b"{}", b"\\ud800"]
        )
        | st.binary(max_size=4)
    )
    raw = raw[:start] + new + raw[end:]
    check(sign(raw, claims(NOW)) if which == "head" else sign(header(), raw))


@pytest.mark.rule("S9")
@given(st.data())
def test_a_member_twice(data: st.DataObject) -> None:
    """PyJWT takes the last one; we take neither."""
    for part in (header(), claims(NOW)):
        name = data.draw(st.sampled_from(sorted(part)))
        other = data.draw(st.sampled_from([part[name], "other"]))
        raw = json.dumps(part)[:-1] + f", {json.dumps(name)}: {json.dumps(other)}}}"
        token = sign(raw.encode(), claims(NOW)) if "alg" in part else sign(header(), raw.encode())
        assert judged(token).is_rejected


class TestDifferences:
    """All that PyJWT accepts and we do not, of what has a good signature and the right issuer."""

    def test_both_accept_a_good_one(self) -> None:
        assert not refused_by_pyjwt(good(NOW))
        assert judged(good(NOW)).is_authenticated

    @pytest.mark.parametrize(
        "changes",
        [
            {"iat": NOW - MAX_AGE, "exp": NOW + 100},  # our maximum age
            {"nbf": NOW + LEEWAY + 0.5},  # fractions count
            {"sub": ""},
            {"sub": None},
            {"jti": None},
            {"session": {"id": ""}},
            {"session": {"expires_at": NOW - LEEWAY}},
            {"session": {"deleted": True}},
            {CLAIM: None},
        ],
        ids=str,
    )
    def test_claims(self, changes: dict[str, Any]) -> None:
        token = good(NOW, **changes)
        assert judged(token).is_rejected
        if changes not in ({"sub": None}, {"jti": None}):
            assert not refused_by_pyjwt(token)

    @pytest.mark.parametrize(
        "head", [{"typ": "at+jwt"}, {"kid": "k" * 257}, {"kid": ""}, {"b64": True, "crit": ["b64"]}], ids=str
    )
    def test_headers(self, head: dict[str, Any]) -> None:
        assert judged(sign(header(**head), claims(NOW))).is_rejected

    def test_an_audience_where_none_is_configured_is_not_ours_to_judge(self) -> None:
        token = good(NOW, aud="somebody")
        assert judged(token).is_authenticated
        with pytest.raises(pyjwt.InvalidAudienceError):
            pyjwt.decode(token, rsa_key().public_key(), algorithms=["RS256"], issuer=ISSUER, leeway=LEEWAY)

    @pytest.mark.parametrize(("exp", "accepted"), [(NOW - 5, False), (NOW - 4.999, False), (NOW - 4, True)])
    def test_the_last_moment_is_the_same(self, exp: float, accepted: bool) -> None:
        token = good(NOW, exp=exp)
        assert refused_by_pyjwt(token) is not accepted
        assert judged(token).is_authenticated is accepted
        if not accepted:
            assert isinstance(judged(token).error, ExpiredCredentials)

    @pytest.mark.parametrize(("iat", "accepted"), [(NOW + 5, True), (NOW + 5.5, False), (NOW + 6, False)])
    def test_the_first_moment_is_ours_by_fractions(self, iat: float, accepted: bool) -> None:
        token = good(NOW, iat=iat)
        assert judged(token).is_authenticated is accepted
        if iat != NOW + 5.5:
            assert refused_by_pyjwt(token) is not accepted


NAMES = [*claims(NOW)[CLAIM], "last_active_at", "created_at", "updated_at", "deleted_at", "factors", "device_info"]
FACTORS = st.lists(
    st.dictionaries(st.sampled_from(["type", "method", "last_verified_at", "delivery_channel"]), JSON | NUMBERS)
    | st.dictionaries(st.just("method"), st.dictionaries(st.just("last_verified_at"), JSON | NUMBERS)),
    max_size=3,
)
SESSIONS = st.one_of(
    JSON,
    st.dictionaries(st.sampled_from([*NAMES, "device_fingerprint", "x"]), ODD | FACTORS),
    st.builds(
        lambda changes: {**claims(NOW)[CLAIM], **changes},
        st.dictionaries(st.sampled_from([*NAMES, "device_fingerprint", "x"]), ODD | FACTORS, max_size=3),
    ),
)
ENDS = st.sampled_from([None, NOW, 0, 1e308, 10**400, -1.0])


@given(session=SESSIONS, ends=ENDS)
@settings(max_examples=500)
def test_checking_refuses_what_parsing_refuses_and_building_nothing_more(session: Any, ends: float | None) -> None:
    read = load_object(json.dumps({"session": session}).encode())["session"]
    try:
        end = check_session(read, expires_at=ends)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            parse_session(read, expires_at=ends)
        return
    parsed = parse_session(read, expires_at=ends)
    assert math.isclose(parsed.expires_at.timestamp(), end, abs_tol=1e-5)
    assert build_session(dict(read), expires_at=ends) == parsed
    assert (parsed.id, parsed.user_id) == (read["id"], read["user_id"])


USERS = JSON | st.dictionaries(
    st.sampled_from(["user_id", "id", "email", "emails", "created_at", "status", "x"]), ODD | st.just("user_1")
)


@given(user=USERS)
@settings(max_examples=300)
def test_checking_a_user_refuses_what_parsing_refuses(user: Any) -> None:
    read = load_object(json.dumps({"user": user}).encode())["user"]
    try:
        checked = check_user(read)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            parse_user(read)
    else:
        assert parse_user(read).id == checked


@given(session=SESSIONS)
@settings(max_examples=300)
def test_what_was_accepted_can_be_read(session: Any) -> None:
    """Now, and by somebody who looks later."""
    auth = judged(sign(header(), {**claims(NOW), CLAIM: session}))
    if auth.is_authenticated:
        assert auth.session is not None
        assert auth.session.id == session["id"]
        assert auth.user is not None
    else:
        assert isinstance(auth.error, InvalidCredentials | RevokedCredentials)


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def slowly_decoded(part: str) -> bytes | None:
    """Six bits for each character of the alphabet; what is left over in the end has to be a few zero bits."""
    if not part or any(letter not in ALPHABET for letter in part):
        return None
    bits = "".join(f"{ALPHABET.index(letter):06b}" for letter in part)
    whole, rest = bits[: len(bits) // 8 * 8], bits[len(bits) // 8 * 8 :]
    if "1" in rest or len(rest) >= 6:
        return None
    return bytes(int(whole[place : place + 8], 2) for place in range(0, len(whole), 8))


def decoded(part: str) -> bytes | None:
    try:
        return decode_part(part.encode("latin-1"))
    except ValueError:
        return None


@pytest.mark.rule("S8")
@given(st.text(ALPHABET, max_size=12) | st.text(ALPHABET + "+/=! \n\t\x00\xff.", max_size=6))
@settings(max_examples=800)
def test_base64url_against_a_slow_model(part: str) -> None:
    assert decoded(part) == slowly_decoded(part)


@pytest.mark.rule("S8")
@given(st.binary(min_size=1, max_size=100))
def test_base64url_has_one_spelling(raw: bytes) -> None:
    part = b64(raw)
    assert decoded(part) == raw == slowly_decoded(part)
    for other in (part + "=", part + "A", part + "\n", " " + part, part + "=="):
        assert decoded(other) is None or decoded(other) != raw


@pytest.mark.rule("S8")
def test_base64url_all_short_texts() -> None:
    for first in ALPHABET + "+/=!":
        assert decoded(first) is None
        for second in ALPHABET + "+/=!":
            assert decoded(first + second) == slowly_decoded(first + second)
    with pytest.raises(binascii.Error):
        base64.b64decode("A", validate=True)
