"""A JWT at first sight is judged in two ways. They must agree: on what is accepted, and on why it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import Auth, Stytch
from moonkey_core._verified import CacheEntry
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.jwt_verifier import JwtVerifier
from moonkey_core.errors import InvalidCredentials
from support import stytch_tokens
from support.any_json import JSON
from support.decisions import NOW, Decisions
from support.foreign_tokens import ForeignDecisions, private_key, provider
from support.foreign_tokens import claims as foreign_claims
from support.odd_jwts import CLAIM, ISSUER, claims, header, sign, sign_parts
from support.oidc_tokens import PRESETS
from support.signed_tokens import key_set, signing_key

FACTS = (
    *("body", "session_id", "user_id", "issued_at", "starts_at", "reusable_until", "vouched_at", "ends_at"),
    *("last_accepted_at", "asked_at", "started_at", "kid", "key", "key_set", "needs_introspection", "scope"),
    *("principal", "actor", "names_session", "revocations_version", "has_moved"),
)
Verdict = dict[str, Any] | tuple[type[InvalidCredentials], str, str]


def shown(entry: CacheEntry) -> dict[str, Any]:
    found = {name: getattr(entry, name) for name in FACTS}
    return {**found, "user": entry.user(), "session": entry.session()}


def strictly(decisions: Decisions, text: str) -> Verdict:
    """What the strict way says, without anything that was learnt from other JWTs."""
    core = decisions.core
    judge, verifier = core.authenticator._judge, core.authenticator._jwts
    try:
        jwt = _jwt.parse(text, decisions.now, judge)
        key = core.keys.cached_key(jwt.kid, jwt.algorithm, decisions.now)
        if key is None:
            return (InvalidCredentials, "no such key", "")
        entry = verifier.proven(jwt, key)
    except InvalidCredentials as error:
        return (type(error), error.reason, error.evidence)
    entry.claims = ()  # user and session are read from what is kept
    return shown(entry)


def at_first_sight(decisions: Decisions, text: str) -> tuple[Verdict | None, CacheEntry | None]:
    """What the fast way says, and the entry where it accepts."""
    try:
        line = f"Bearer {text}".encode("utf-8", "surrogatepass")  # as the views of headers do
        entry = decisions.core.authenticator._jwts.at_first_sight(line, decisions.now)
    except InvalidCredentials as error:
        return (type(error), error.reason, error.evidence), None
    return (None if entry is None else shown(entry)), entry


def agreed(decisions: Decisions, text: str) -> bool:
    """Check that both ways agree about a token; return whether the fast one has accepted it."""
    strict = strictly(decisions, text)  # which also notes the header of a genuine one
    said, entry = at_first_sight(decisions, text)
    if said is not None:
        assert said == strict
    assert seen(decisions, text) == seen_strictly(decisions, text)
    return entry is not None


def seen(decisions: Decisions, text: str) -> tuple[Any, ...]:
    """The identity of a request with a token at first sight."""
    decisions.core.cache._make_tables()
    auth: Auth = decisions.authenticate(f"Bearer {text}", "authorization")
    error = auth.error
    return (
        auth.state,
        None if error is None else (type(error), error.reason, error.evidence),
        auth.user,
        auth.session,
        auth.machine,
        auth.source,
    )


def seen_strictly(decisions: Decisions, text: str) -> tuple[Any, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JwtVerifier, "at_first_sight", lambda *_: None)
        return seen(decisions, text)


def own() -> Decisions:
    return Decisions(refresh_jwt=False, jwt_audience="app", leeway=5, jwt_max_age=300)


def good_claims(**changes: Any) -> dict[str, Any]:
    return claims(NOW, **{"aud": "app", **changes})


Make = Callable[..., str]


def made(name: str) -> tuple[Decisions, Make]:
    """A client whose provider signs JWTs, and what makes a good one with changes to its claims."""
    if name == "moonkey":
        return own(), lambda **changes: sign(header(), _changed(good_claims(), changes))
    if name == "stytch":
        project = Stytch(stytch_tokens.PROJECT, stytch_tokens.SECRET, keys=key_set())
        return ForeignDecisions(project, refresh_jwt=False), _maker(
            stytch_tokens.payload(NOW), {"typ": "JWT"}, "RS256"
        )
    if name.startswith("any "):
        algorithm = name[4:]
        head = {"kid": f"key of {algorithm}", "typ": "JWT"}
        return ForeignDecisions(provider()), _maker(foreign_claims(), head, algorithm, private_key(algorithm))
    preset = PRESETS[name]
    decisions = ForeignDecisions(preset.make(keys=key_set()))
    return decisions, _maker(preset.payload(), preset.header, preset.algorithm)


def _maker(payload: dict[str, Any], head: dict[str, Any], algorithm: str, key: Any = None) -> Make:
    """Signs any claims, also those that PyJWT would not write."""
    key = signing_key(algorithm) if key is None else key
    headers = {"kid": algorithm[:2], "typ": None, **head}

    def make(**changes: Any) -> str:
        body = json.dumps(_changed(payload, changes)).encode()
        return pyjwt.PyJWS().encode(body, key, algorithm, headers)

    return make


def _changed(found: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**found, **changes}.items() if value is not ...}


EVERY = ["moonkey", "stytch", "any RS256", "any ES256", "any EdDSA", "any PS384", *PRESETS]


@pytest.fixture(scope="module", params=EVERY)
def each(request: pytest.FixtureRequest) -> tuple[Decisions, Make]:
    return made(request.param)


ODD_VALUES: list[Any] = [
    ...,
    None,
    True,
    0,
    -1,
    7.5,
    1e308,
    2**63,
    10**400,
    "",
    "x",
    "\ud800",
    [],
    {},
    [1],
    {"a": [None]},
]
EDGES: list[dict[str, Any]] = [
    {"iat": NOW + 5}, {"iat": int(NOW) + 5}, {"iat": int(NOW) + 6}, {"nbf": int(NOW) + 6}, {"nbf": NOW + 5.5},
    {"nbf": -1}, {"iat": int(NOW) - 300, "nbf": ..., "exp": int(NOW) + 9},
    {"exp": int(NOW) - 5, "iat": int(NOW) - 60},
    {"exp": int(NOW) - 4, "iat": int(NOW) - 60}, {"exp": int(NOW) + 90_000}, {"exp": int(NOW) + 86_400},
    {"exp": NOW + 200.75}, {"iat": True}, {"exp": 2**48}, {"iat": 0, "exp": 86_400},
]  # fmt: skip


def test_the_usual_one_is_accepted_at_first_sight(each: tuple[Decisions, Make]) -> None:
    decisions, token = each
    assert agreed(decisions, token())
    assert agreed(decisions, token(other="one more"))


@pytest.mark.parametrize("name", EVERY)
def test_a_revoked_one(name: str) -> None:
    decisions, token = made(name)
    found = strictly(decisions, token())
    assert isinstance(found, dict)
    revocations = decisions.core.revocations
    revocations.add(session_id=found["session_id"], issuer=found["scope"] if len(revocations.scopes) > 1 else None)
    assert not agreed(decisions, token())
    assert seen(decisions, token())[1][1] == "revoked_credentials"


def test_another_value_of_any_claim(each: tuple[Decisions, Make]) -> None:
    decisions, token = each
    payload = strictly(decisions, token())
    assert isinstance(payload, dict)
    for name in json.loads(payload["body"]):
        for value in cast("tuple[Any, ...]", (..., None, 7.5, "\ud800", [{}], {"a": 1})):
            agreed(decisions, token(**{name: value}))


def test_times_at_the_edge(each: tuple[Decisions, Make]) -> None:
    decisions, token = each
    for changes in EDGES:
        agreed(decisions, token(**changes))


@pytest.fixture(scope="module")
def decisions() -> Decisions:
    found = own()
    assert agreed(found, sign(header(), good_claims()))
    return found


@pytest.mark.parametrize("part", range(3))
def test_each_character_of_a_part(decisions: Decisions, part: int) -> None:
    """Changed, left out, or with one more before it; the first two parts are signed as they are then."""
    parts = sign(header(), good_claims()).split(".")
    text = parts[part]
    for at in range(0, len(text), (2, 9, 5)[part]):
        for new in ("", "A" + text[at], "_" if text[at] != "_" else "-", "=", "+", " ", ".", "\n"):
            parts[part] = text[:at] + new + text[at + 1 :]
            agreed(decisions, ".".join(parts) if part == 2 else sign_parts(parts[0], parts[1]))


@pytest.mark.parametrize("end", ["=", "==", "A", " ", "\n", ".", "\u00e9", ".A", "+", "/"])
def test_something_at_the_end_of_a_part(decisions: Decisions, end: str) -> None:
    head, body, signature = sign(header(), good_claims()).split(".")
    assert not agreed(decisions, f"{head}.{body}.{signature}{end}")
    for one in (f"{head}{end}.{body}.{signature}", f"{head}.{body}{end}.{signature}"):
        assert not agreed(decisions, one)
    if end.isascii():
        agreed(decisions, sign_parts(head, body + end))


@pytest.mark.parametrize(
    "start", ["session_", "session_session_", " ", "\t", "Bearer ", "bearer ", ".", "\u00e9", "e"]
)
def test_something_before_the_token(decisions: Decisions, start: str) -> None:
    """Also the other spelling of a session token, which no JWT has."""
    assert not agreed(decisions, start + sign(header(), good_claims()))


RAW = json.dumps(good_claims()).encode()
SPELLINGS = [
    b" " + RAW, RAW + b"\n", RAW.replace(b": ", b":"), RAW.replace(b", ", b" ,\t"), b"\xef\xbb\xbf" + RAW,
    RAW + b"{}", RAW[:-1], b"[" + RAW + b"]", RAW.decode().encode("utf-16"), RAW.replace(b"user_1", b"user_\xff"),
    RAW.replace(b"user_1", b"user_\\ud800"), RAW.replace(b"user_1", b"user_\\u0031"), RAW[:-1] + b', "x": NaN}',
    RAW[:-1] + b', "x": -Infinity}', RAW[:-1] + b', "x": 1e999}', RAW[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    *(RAW[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}" for depth in (38, 39, 40, 50)),
    RAW[:-1] + b', "sub": "user_1"}', RAW[:-1] + b', "x": {"a": 1, "a": 1}}',
    RAW[:-1] + b', "x": [{"": 0, "": 0}]}',
    RAW[:-1] + b', "\\u0073ub": "user_2"}', RAW.replace(b'"id"', b'"id": "a", "id"'), b"null", b"",
    RAW[:-1] + b', "crit": ["x"]}', RAW.replace(b'"iat"', b'"IAT"'), RAW.replace(b"user_1", b"user_1\x00"),
]  # fmt: skip


@pytest.mark.parametrize("raw", SPELLINGS, ids=range(len(SPELLINGS)))
def test_other_spellings_of_the_claims(decisions: Decisions, raw: bytes) -> None:
    agreed(decisions, sign(header(), raw))


@pytest.mark.parametrize(
    "head",
    [
        {"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"typ": "at+jwt"}, {"typ": "application/JWT"},
        {"kid": ""}, {"kid": "another"}, {"kid": None}, {"alg": "none"}, {"alg": "RS512"}, {"alg": "HS256"},
        {"jwk": {"kty": "oct"}},
    ],
    ids=str,
)  # fmt: skip
def test_other_headers(decisions: Decisions, head: dict[str, Any]) -> None:
    agreed(decisions, sign(header(**head), good_claims()))
    agreed(decisions, sign(header(**head), good_claims(), "foreign"))
    assert not agreed(decisions, sign(header(), good_claims(), "foreign"))


def test_other_issuers_and_audiences(decisions: Decisions) -> None:
    for issuer in (ISSUER + "/", ISSUER[:-1], ISSUER.upper(), [ISSUER], {ISSUER: 1}, "", None, 0):
        assert not agreed(decisions, sign(header(), good_claims(iss=issuer)))
    for audience in ("app", ["app"], ["x", "app"], ["app", "app"]):
        assert agreed(decisions, sign(header(), good_claims(aud=audience)))
    for other in ([], [["app"]], {"app": 1}, "appx", None, 7, ["app", 7], [7, "app"], "a"):
        assert not agreed(decisions, sign(header(), good_claims(aud=other)))


def test_what_a_session_may_contain(decisions: Decisions) -> None:
    for name in (
        *("id", "user_id", "started_at", "expires_at", "created_at", "last_active_at", "updated_at", "deleted"),
        *("deleted_at", "status", "revoked_at", "active", "factors", "device_info", "device_fingerprint"),
    ):
        for value in (*ODD_VALUES, "user_1", "revoked", 5, NOW, int(NOW), 253_402_300_800, [{}], {"ip": 1}):
            session = _changed(good_claims()[CLAIM], {name: value})
            agreed(decisions, sign(header(), good_claims(**{CLAIM: session})))
    for factor in ({}, {"last_verified_at": 5}, {"last_verified_at": "x"}, {"method": {"last_verified_at": 5}}, 7):
        session = {**good_claims()[CLAIM], "factors": [{"type": "otp"}, factor]}
        agreed(decisions, sign(header(), good_claims(**{CLAIM: session})))


@pytest.mark.parametrize(
    "options", [{"strict_subject": True}, {"jwt_audience": None}, {"grace_seconds": 60}], ids=str
)
def test_under_other_settings(options: dict[str, Any]) -> None:
    found = Decisions(refresh_jwt=False, **options)
    assert agreed(found, sign(header(), good_claims()))
    for user in (..., "user_2", "1", None, 7):
        session = _changed(good_claims()[CLAIM], {"user_id": user})
        agreed(found, sign(header(), good_claims(**{CLAIM: session})))


VALUES = st.one_of(
    JSON,
    st.integers(-400, 400).map(lambda seconds: int(NOW) + seconds),
    st.floats(-400, 400).map(lambda seconds: NOW + seconds),
    st.sampled_from([True, 10**400, 2**63, ISSUER, "app", "user_1", "sess_1"]),
)
CHANGES = st.dictionaries(
    st.sampled_from(["iss", "aud", "sub", "jti", "iat", "nbf", "exp", "x"]), VALUES, max_size=3
)
SESSIONS = st.dictionaries(
    st.sampled_from(["id", "user_id", "started_at", "expires_at", "created_at", "factors", "device_info", "x"]),
    VALUES
    | st.lists(st.dictionaries(st.sampled_from(["type", "method", "last_verified_at"]), VALUES), max_size=2),
    max_size=3,
)


@pytest.mark.long
@given(changes=CHANGES, session=SESSIONS)
@settings(max_examples=200)
def test_any_claims(changes: dict[str, Any], session: dict[str, Any]) -> None:
    found = own()
    strictly(found, sign(header(), good_claims()))
    agreed(found, sign(header(), {**good_claims(session=session), **changes}))


@pytest.mark.long
@given(start=st.integers(0, len(RAW)), length=st.integers(0, 6), new=st.binary(max_size=6))
@settings(max_examples=200)
def test_any_bytes_of_the_claims(start: int, length: int, new: bytes) -> None:
    found = own()
    strictly(found, sign(header(), good_claims()))
    agreed(found, sign(header(), RAW[:start] + new + RAW[start + length :]))
