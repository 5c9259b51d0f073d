"""Odd JWTs with a good signature: the reader is tested, not the signature (rules S5 to S9)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from moonkey_core import InvalidCredentials, MalformedCredentials, MoonKey
from moonkey_core.emulator import Emulator
from support.clients import MakeClient
from support.decisions import Decisions, presenting
from support.odd_jwts import b64, claims, header, public_jwk, sign, sign_parts, without
from support.scripted import reply, scripted

ODD_CRITS: list[object] = [[], ["b64"], ["exp"], "exp", None, {}, [1], [""], False]
ODD_FLAGS: list[object] = [False, None, 0, 1, "true", []]
ODD_IDS: list[object] = [None, 0, 1, 1.5, True, [], ["jwk_test"], {}, ""]

HEADERS: dict[str, dict[str, Any]] = {
    "alg missing": without(header(), "alg"),
    **{f"alg {alg!r}": header(alg=alg) for alg in ("none", "None", "NONE", "nOnE", "", "HS256", "RS384", "PS256")},
    **{
        f"alg {alg!r}": header(alg=alg)
        for alg in ("rs256", " RS256", "RS256 ", "RS256\0", "ES256", "EdDSA", "dir")
    },
    **{f"alg {alg!r}": header(alg=alg) for alg in (None, 0, 256, True, ["RS256"], {"alg": "RS256"})},
    **{f"crit {crit!r}": header(crit=crit) for crit in ODD_CRITS},
    "crit b64 true": header(crit=["b64"], b64=True),
    "crit b64 false": header(crit=["b64"], b64=False),
    **{f"b64 {flag!r}": header(b64=flag) for flag in ODD_FLAGS},
    "kid missing": without(header(), "kid"),
    **{f"kid {kid!r}"[:30]: header(kid=kid) for kid in ODD_IDS},
    **{f"kid of {size}": header(kid="k" * size) for size in (257, 4000)},
    **{f"typ {typ!r}": header(typ=typ) for typ in ("at+jwt", "JWE", "", None, 1, ["JWT"], "JWT ", "secevent+jwt")},
}


@pytest.fixture(scope="module")
def client(shared_emulator: Emulator) -> MoonKey:
    shared_emulator.reset()
    return MoonKey(
        secret_key=shared_emulator.secret_key,
        base_url=shared_emulator.base_url,
        jwt_issuer=shared_emulator.issuer,
        max_credential_length=16_384,
    )


def emulator_claims(emulator: Emulator, **changes: Any) -> dict[str, Any]:
    return claims(time.time(), **{"iss": emulator.issuer, **changes})


def signed_parts(emulator: Emulator, head: str, body: str) -> str:
    """Two parts as they are, signed with the emulator's own key."""
    made = emulator.private_key.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{body}.{b64(made)}"


def signed(emulator: Emulator, head: bytes | None = None, body: bytes | None = None) -> str:
    """Raw bytes for header or payload, else good ones."""
    head = json.dumps(header(kid=emulator.kid)).encode() if head is None else head
    body = json.dumps(emulator_claims(emulator)).encode() if body is None else body
    return signed_parts(emulator, b64(head), b64(body))


def assert_refused(client: MoonKey, emulator: Emulator, token: str) -> None:
    """Refused as an invalid credential, at once: the API is not asked about it."""
    for name, value in (("authorization", f"Bearer {token}"), ("session-token", token)):
        auth = client.authenticate(presenting(value, name))
        assert auth.is_rejected, (auth, token[:80])
        assert isinstance(auth.error, InvalidCredentials), auth
        assert auth.user is None
        assert auth.session is None
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0


def test_the_tokens_made_here_would_be_good(client: MoonKey, emulator: Emulator) -> None:
    auth = client.authenticate(presenting(signed(emulator)))
    assert auth.is_authenticated, auth
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0


@pytest.mark.rule("S5", "S6", "S7", "jwt")
@pytest.mark.parametrize("head", HEADERS.values(), ids=HEADERS.keys())
def test_an_odd_header(client: MoonKey, emulator: Emulator, head: dict[str, Any]) -> None:
    named = {**head, "kid": emulator.kid} if head.get("kid") == header()["kid"] else head
    assert_refused(client, emulator, signed(emulator, json.dumps(named).encode()))


KIDS = [
    "../../../../dev/null",
    "/etc/passwd",
    "' OR 1=1 --",
    "a\r\nb: c",
    "a\0b",
    "http://127.0.0.1/k",
    "\u202e",
    "É",
]


@pytest.mark.rule("S7")
@pytest.mark.parametrize("kid", [*KIDS, "k" * 256])
def test_a_key_id_is_only_looked_up(
    client: MoonKey, emulator: Emulator, kid: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = signed(emulator, json.dumps(header(kid=kid)).encode())
    auth = client.authenticate(presenting(token))
    # Whether it is unknown or cannot be known depends on how many fetches unknown ids have caused already.
    assert auth.is_rejected or auth.is_unavailable
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0
    assert kid not in caplog.text
    assert all("\r" not in record.getMessage() for record in caplog.records)


@pytest.mark.rule("S6", "S14")
@pytest.mark.parametrize("member", ["jku", "x5u"])
def test_an_address_in_the_header_is_never_visited(client: MoonKey, emulator: Emulator, member: str) -> None:
    with scripted(reply(200, {"keys": []})) as trap:
        for extra in ({member: f"{trap.url}/keys"}, {member: f"{trap.url}/keys", "iss": trap.url}):
            head = header(kid=emulator.kid, **extra)
            good = client.authenticate(presenting(signed(emulator, json.dumps(head).encode())))
            assert good.is_authenticated  # the member is not read at all
            foreign = sign({**head, "kid": emulator.kid}, emulator_claims(emulator, iss=trap.url), "foreign")
            assert_refused(client, emulator, foreign)
        assert trap.connections == 0


@pytest.mark.rule("S6")
def test_a_key_in_the_header_is_not_used(client: MoonKey, emulator: Emulator) -> None:
    for extra in ({"jwk": public_jwk("foreign")}, {"x5c": ["MIIB"]}, {"jwk": public_jwk("foreign"), "kid": None}):
        head = {**header(kid=emulator.kid), **extra}
        assert_refused(client, emulator, sign(head, emulator_claims(emulator), "foreign"))


def spelled(emulator: Emulator) -> dict[str, str]:
    """The same good JWT in spellings that are not its own."""
    head, body, tail = signed(emulator).split(".")
    longer = json.dumps(emulator_claims(emulator)).encode()
    padded = base64.urlsafe_b64encode(longer + b" " * ((1 - len(longer)) % 3)).decode()
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = tail[:-1] + last[last.index(tail[-1]) ^ 1]
    return {
        "two parts": f"{head}.{body}",
        "no signature": f"{head}.{body}.",
        "no payload": f"{head}..{tail}",
        "five parts": f"{head}.{body}.{tail}.{tail}.{tail}",
        "four parts": f"{head}.{body}.{tail}.",
        "ten thousand dots": head + "." * 8000,
        "unused bits of the signature": f"{head}.{body}.{loose}",
        "signed padding": signed_parts(emulator, head, padded),
        "a part of one letter": f"{head}.{body}.{tail}A",
        "plus for minus": f"{head}.{body}.{'+' + tail[1:]}",
        "slash": f"{head}.{body}.{'/' + tail[1:]}",
        "tilde inside": f"{head}.{body[:8]}~{body[8:]}.{tail}",
    }


@pytest.mark.rule("S8", "jwt")
def test_another_spelling_of_a_good_jwt(client: MoonKey, emulator: Emulator) -> None:
    for name, token in spelled(emulator).items():
        auth = client.authenticate(presenting(token))
        assert auth.is_rejected, name
        expected = MalformedCredentials if "=" in token[:-2] else InvalidCredentials
        assert isinstance(auth.error, expected), name
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0


RAW_HEADS = {
    "utf-16": lambda head: head.decode().encode("utf-16"),
    "utf-16 without mark": lambda head: head.decode().encode("utf-16-le"),
    "utf-32": lambda head: head.decode().encode("utf-32"),
    "byte order mark": lambda head: b"\xef\xbb\xbf" + head,
    "invalid utf-8": lambda head: head[:-1] + b', "x": "\xff\xfe"}',
    "overlong utf-8": lambda head: head[:-1] + b', "x": "\xc0\xaf"}',
    "surrogate in utf-8": lambda head: head[:-1] + b', "x": "\xed\xa0\x80"}',
    "lone surrogate": lambda head: head[:-1] + b', "x": "\\ud800"}',
    "lone surrogate in a name": lambda head: head[:-1] + b', "\\udfff": 1}',
    "lone surrogate deep inside": lambda head: head[:-1] + b', "x": [{"y": "a\\ud83d"}]}',
    "NaN": lambda head: head[:-1] + b', "x": NaN}',
    "Infinity": lambda head: head[:-1] + b', "x": -Infinity}',
    "1e999": lambda head: head[:-1] + b', "x": 1e999}',
    "5000 digits": lambda head: head[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    "duplicate of an unknown name": lambda head: head[:-1] + b', "x": 1, "x": 1}',
    "duplicate deep inside": lambda head: head[:-1] + b', "x": [{"y": 1, "y": 2}]}',
    "duplicate by escape": lambda head: head[:-1] + b', "xy": 1, "x\\u0079": 2}',
    "trailing comma": lambda head: head[:-1] + b",}",
    "two values": lambda head: head + b"{}",
    "a NUL behind it": lambda head: head + b"\0",
    "single quotes": lambda head: head.replace(b'"', b"'"),
    "a comment": lambda head: head + b"//",
    "deep lists": lambda head: head[:-1] + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    "deep objects": lambda head: head[:-1] + b', "x": ' + b'{"a":' * 1200 + b"1" + b"}" * 1200 + b"}",
    "list": lambda head: b"[" + head + b"]",
    "string": lambda head: json.dumps(head.decode()).encode(),
    "null": lambda head: b"null",
    "number": lambda head: b"1",
    "true": lambda head: b"true",
    "empty object": lambda head: b"{}",
    "nothing": lambda head: b"",
    "white space": lambda head: b" ",
    "an unfinished object": lambda head: head[:-1],
}


@pytest.mark.rule("S9", "jwt")
@pytest.mark.parametrize("oddity", RAW_HEADS.values(), ids=RAW_HEADS.keys())
@pytest.mark.parametrize("part", ["header", "payload"])
def test_odd_json(client: MoonKey, emulator: Emulator, part: str, oddity: Any) -> None:
    head = json.dumps(header(kid=emulator.kid)).encode()
    body = json.dumps(emulator_claims(emulator)).encode()
    token = signed(emulator, oddity(head), body) if part == "header" else signed(emulator, head, oddity(body))
    if token.startswith("ey") and "." in token:
        assert_refused(client, emulator, token)
    else:  # it does not look like a JWT, so it is asked for as a session token, which it is none
        auth = client.authenticate(presenting(token))
        assert auth.is_rejected


@pytest.mark.rule("S9")
@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_a_header_member_twice(client: MoonKey, emulator: Emulator, name: str) -> None:
    good = header(kid=emulator.kid)
    for values in (("none", good[name]), (good[name], "none"), (good[name], good[name])):
        twice = ", ".join(f'"{name}": {json.dumps(value)}' for value in values)
        rest = json.dumps(without(good, name))[1:]
        assert_refused(client, emulator, signed(emulator, f"{{{twice}, {rest}".encode()))


@pytest.mark.rule("S9")
@pytest.mark.parametrize("name", ["iss", "sub", "exp", "iat"])
def test_a_claim_twice(client: MoonKey, emulator: Emulator, name: str) -> None:
    good = emulator_claims(emulator)
    twice = f'"{name}": {json.dumps(good[name])}, "{name}": {json.dumps(good[name])}'
    rest = json.dumps(without(good, name))[1:]
    assert_refused(client, emulator, signed(emulator, body=f"{{{twice}, {rest}".encode()))


@pytest.mark.rule("S5")
def test_the_public_key_is_no_hmac_secret(client: MoonKey, emulator: Emulator) -> None:
    public = emulator.private_key.public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    ]
    for secret in forms:
        for alg in ("HS256", "RS256"):
            start = (
                f"{b64(json.dumps(header(kid=emulator.kid, alg=alg)).encode())}.{signed(emulator).split('.')[1]}"
            )
            tag = hmac.new(secret, start.encode(), hashlib.sha256).digest()
            assert_refused(client, emulator, f"{start}.{b64(tag)}")


def test_a_foreign_key_under_the_right_name(client: MoonKey, emulator: Emulator) -> None:
    assert_refused(client, emulator, sign(header(kid=emulator.kid), emulator_claims(emulator), "foreign"))
    assert_refused(client, emulator, emulator.mint(key="foreign", header={"kid": emulator.kid}))


def test_an_altered_signature(client: MoonKey, emulator: Emulator) -> None:
    head, body, tail = signed(emulator).split(".")
    raw = base64.urlsafe_b64decode(tail + "==")
    other = bytes([raw[0] ^ 1]) + raw[1:]
    for odd in (other, raw[:-1], raw + b"\0", b"\0" + raw, b"\0" * len(raw), b"\0", raw * 2, raw[::-1]):
        assert_refused(client, emulator, f"{head}.{body}.{b64(odd)}")
    other_body = b64(json.dumps(emulator_claims(emulator, sub="user_2")).encode())
    assert_refused(client, emulator, f"{head}.{other_body}.{tail}")


@pytest.mark.rule("S4")
def test_without_a_jwks_and_issuer_odd_jwts_cost_no_call_either(
    make_client: MakeClient, emulator: Emulator
) -> None:
    client = make_client()
    for head in (header(alg="none"), header(crit=["b64"]), header(kid=1), header(typ="JWE")):
        assert_refused(client, emulator, sign(head, emulator_claims(emulator)))
    assert_refused(client, emulator, sign_parts(b64(json.dumps(header()).encode()), b64(b"[]")))
    assert sum(emulator.requests().values()) == 0


@pytest.mark.rule("S9")
@pytest.mark.parametrize(("depth", "accepted"), [(20, True), (70, False), (500, False)])
def test_nesting_is_bounded_alike_on_every_interpreter(depth: int, accepted: bool) -> None:
    """S9: the recursion limit of the parser is another one in each Python."""
    decisions = Decisions()
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    token = sign(header(), {**claims(decisions.now), "deep": deep})
    assert decisions.authenticate(token).is_authenticated is accepted
