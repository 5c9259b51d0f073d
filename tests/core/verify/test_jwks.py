"""Which entries of a key set become keys (rule S16), and which bodies are a key set at all."""

from __future__ import annotations

import itertools
import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import ConfigurationError, MoonKey
from moonkey_core._verify.jwks import SigningKey, parse_key_set, usable_keys
from support.any_json import JSON
from support.decisions import replied
from support.jwks_decisions import JwksDecisions
from support.odd_jwts import b64, key_set, public_jwk, rsa_key


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def weak(bits: int, exponent: int = 65537) -> dict[str, Any]:
    numbers = rsa_key(f"weak {bits} {exponent}", bits, exponent).public_key().public_numbers()
    return public_jwk("jwk_test", n=number(numbers.n), e=number(numbers.e))


N = rsa_key().public_key().public_numbers().n

UNUSABLE: dict[str, object] = {
    "1024 bits": weak(1024),
    "2047 bits": public_jwk(n=number(N >> 1 | 1)),
    "8192 bits": public_jwk(n=number(1 << 8191 | 1)),
    "a megabyte of modulus": public_jwk(n="A" * 400_000),
    "exponent 1": public_jwk(e=number(1)),
    "exponent 3": weak(2048, 3),
    "an even exponent": public_jwk(e=number(65538)),
    "exponent 0": public_jwk(e="AA"),
    "a huge exponent": public_jwk(e=number(1 << 200 | 1)),
    "for encryption": public_jwk(use="enc"),
    "use of the wrong type": public_jwk(use=["sig"]),
    "empty use": public_jwk(use=""),
    "operations for something else": public_jwk(key_ops=["sign", "encrypt"]),
    "no operations": public_jwk(key_ops=[]),
    "operations as text": public_jwk(key_ops="verify"),
    "operations as object": public_jwk(key_ops={"verify": True}),
    "for another algorithm": public_jwk(alg="RS512"),
    "algorithm none": public_jwk(alg="none"),
    "algorithm of the wrong type": public_jwk(alg=["RS256"]),
    "another kind": public_jwk(kty="EC", crv="P-256", x="AA", y="AA"),
    "kind in lower case": public_jwk(kty="rsa"),
    "no kind": public_jwk(kty=None),
    "private": public_jwk(d=number(12345)),
    "private with an empty exponent": public_jwk(d=""),
    "symmetric": {"kty": "oct", "k": "c2VjcmV0", "kid": "jwk_test", "alg": "RS256"},
    "no kid": public_jwk(kid=None),
    "empty kid": public_jwk(kid=""),
    "numeric kid": public_jwk(kid=7),
    "list as kid": public_jwk(kid=["jwk_test"]),
    "long kid": public_jwk(kid="k" * 257),
    "no modulus": public_jwk(n=None),
    "no exponent": public_jwk(e=None),
    "modulus as number": public_jwk(n=N),
    "modulus of odd letters": public_jwk(n="é!" * 100),
    "empty modulus": public_jwk(n=""),
    "null": None,
    "text": "jwk_test",
    "number": 7,
    "list": [public_jwk()],
    "nothing": {},
}


@pytest.mark.rule("S16")
@pytest.mark.parametrize("entry", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_key_is_skipped_singly(entry: object) -> None:
    assert list(usable_keys({"keys": [entry, public_jwk("other")]})) == ["other"]
    assert list(usable_keys({"keys": [public_jwk("other"), entry]})) == ["other"]
    with pytest.raises(ValueError, match="no usable key"):
        usable_keys({"keys": [entry]})


@pytest.mark.rule("S16")
@pytest.mark.parametrize("left_out", ["alg", "use", "key_ops"])
def test_what_a_key_need_not_say(left_out: str) -> None:
    changes: dict[str, Any] = {left_out: None}
    assert list(usable_keys({"keys": [public_jwk(**changes)]})) == ["jwk_test"]
    many = public_jwk(key_ops=["verify", "encrypt"], x5c=["not looked at"], x5u="http://127.0.0.1:1/")
    assert list(usable_keys({"keys": [many]})) == ["jwk_test"]


@pytest.mark.long
@pytest.mark.rule("S7", "S16")
def test_a_name_that_two_keys_claim_is_of_no_use() -> None:
    twins = [public_jwk("a"), public_jwk("b", kid="a"), public_jwk("c")]
    assert list(usable_keys({"keys": twins})) == ["c"]
    assert list(usable_keys({"keys": [*twins, public_jwk("d", kid="a")]})) == ["c"]
    for order in itertools.permutations(
        [public_jwk("a"), public_jwk("a"), public_jwk("b", kid="a"), public_jwk("c")]
    ):
        assert list(usable_keys({"keys": list(order)})) == ["c"]  # however often one of them is listed


def rsa_of(key: SigningKey) -> RSAPublicKey:
    assert isinstance(key.public_key, RSAPublicKey)
    return key.public_key


def with_zeros(value: str) -> str:
    """The same number with leading zeros, as some providers write it."""
    return b64(b"\0" + urlsafe_b64decode(value + "=="))


SAME: dict[str, dict[str, Any]] = {
    "to the letter": public_jwk("a"),
    "in another order": dict(reversed(public_jwk("a").items())),
    "no alg": public_jwk("a", alg=None),
    "no use": public_jwk("a", use=None),
    "no key_ops": public_jwk("a", key_ops=None),
    "more members": public_jwk("a", x5c=["abc"], x5t="abc", exp=1),
    "zeros before the modulus": public_jwk("a", n=with_zeros(public_jwk("a")["n"])),
    "zeros before the exponent": public_jwk("a", e=with_zeros("AQAB")),
}
USELESS_TWINS: dict[str, dict[str, Any]] = {
    "for encryption": public_jwk("a", use="enc"),
    "for another algorithm": public_jwk("a", alg="RS512"),
    "another key, for encryption": public_jwk("b", kid="a", use="enc"),
    "another kind": {"kty": "EC", "kid": "a", "crv": "P-256", "x": "AA", "y": "AA"},
}


@pytest.mark.rule("S16")
@pytest.mark.parametrize("twin", (SAME | USELESS_TWINS).values(), ids=(SAME | USELESS_TWINS).keys())
def test_a_key_that_is_listed_twice_is_one_key(twin: dict[str, Any]) -> None:
    """S16."""
    numbers = rsa_key("a").public_key().public_numbers()
    for entries in ([public_jwk("a"), twin], [twin, public_jwk("a")], [twin, public_jwk("a"), twin]):
        (found,) = usable_keys({"keys": entries}).values()
        assert rsa_of(found).public_numbers() == numbers
    twins = {"keys": [public_jwk("a"), twin, public_jwk("c"), twin]}
    assert sorted(usable_keys(twins)) == ["a", "c"]


@pytest.mark.rule("S16")
@pytest.mark.parametrize("source", ["fetched", "fixed"])
def test_a_set_that_lists_its_only_key_twice_signs_users_in(source: str) -> None:
    published = {"keys": [public_jwk("old"), public_jwk("old")]}
    if source == "fetched":
        decisions = JwksDecisions()
        decisions.published = replied(200, published)
        assert decisions.shown("old").is_authenticated
    else:
        MoonKey("sk_test_1", jwks=published).close()


@pytest.mark.parametrize("entry", ["private", "symmetric"])
@pytest.mark.parametrize("source", ["fetched", "fixed"])
def test_a_published_secret_wakes_somebody(entry: str, source: str, caplog: pytest.LogCaptureFixture) -> None:
    published = {"keys": [UNUSABLE[entry], public_jwk("old")]}
    if source == "fetched":
        decisions = JwksDecisions()
        decisions.published = replied(200, published)
        assert all(decisions.shown("old").is_authenticated for _ in range(3))
    else:
        MoonKey("sk_test_1", jwks=published).close()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "c2VjcmV0" not in repr(caplog.records[0].__dict__)


BODIES: dict[str, bytes] = {
    "empty": b"",
    "html": b"<!doctype html><title>keys</title>",
    "list": b"[]",
    "null": b"null",
    "no keys": b"{}",
    "keys null": b'{"keys": null}',
    "keys as object": b'{"keys": {}}',
    "keys as text": b'{"keys": "jwk_test"}',
    "no key": b'{"keys": []}',
    "truncated": json.dumps(key_set()).encode()[:-3],
    "twice": json.dumps(key_set()).encode() * 2,
    "two lists": b'{"keys": [], "keys": ' + json.dumps(key_set()["keys"]).encode() + b"}",
    "utf-16": json.dumps(key_set()).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(key_set()).encode(),
    "deep": b'{"keys":' + b"[" * 100_000,
    "65 keys": json.dumps({"keys": [public_jwk(kid=f"k{place}") for place in range(65)]}).encode(),
    "65 entries with one key": json.dumps({"keys": [{}] * 64 + [public_jwk()]}).encode(),
}


@pytest.mark.rule("S15")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_key_set(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"not|no usable"):
        parse_key_set(body)


@pytest.mark.rule("S15")
def test_as_many_keys_as_allowed() -> None:
    assert len(usable_keys({"keys": [public_jwk(kid=f"k{place}") for place in range(64)]})) == 64


@pytest.mark.long
@pytest.mark.rule("S16")
@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "kid", "use", "alg", "key_ops", "d", "k"]), JSON))
def test_any_entry_is_a_key_or_skipped(changes: dict[str, Any]) -> None:
    entry = {**public_jwk(), **changes}
    found = usable_keys({"keys": [entry, public_jwk("other")]})
    assert found.keys() <= {"other", entry.get("kid") if isinstance(entry.get("kid"), str) else "other"}
    for key in found.values():
        assert rsa_of(key).key_size >= 2048
        assert rsa_of(key).public_numbers().e >= 65537


@pytest.mark.rule("S16")
@given(n=st.binary(max_size=530), e=st.binary(max_size=9))
def test_any_numbers_are_a_key_or_skipped(n: bytes, e: bytes) -> None:
    found = usable_keys({"keys": [public_jwk(n=b64(n), e=b64(e)), public_jwk("other")]})
    assert found.keys() <= {"jwk_test", "other"}
    if "jwk_test" in found:
        assert 2048 <= rsa_of(found["jwk_test"]).key_size <= 4096


@pytest.mark.long
@given(st.one_of(st.binary(max_size=100), JSON.map(lambda value: json.dumps(value).encode())))
def test_any_body(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"not|no usable"):
        parse_key_set(body)


@pytest.mark.parametrize(
    "wrong", ["{", "[]", "null", '{"keys": 1}', {"keys": []}, {"keys": [UNUSABLE["1024 bits"]]}, 7]
)
def test_a_fixed_key_set_of_no_use_is_a_wrong_setting(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="MOONKEY_JWKS"):
        MoonKey(secret_key="sk_test_x", jwks=wrong)
