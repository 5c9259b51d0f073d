"""The JWT that an API key of CDP signs for one call: its content, its life, and keys that cannot be used."""

from __future__ import annotations

import base64
import logging
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from moonkey_core import ConfigurationError
from moonkey_core.emulator.cdp.api_keys import new_key
from moonkey_core.providers.cdp.api_key import LIFE, ApiKey, SignedCall
from moonkey_core.settings import Secret

URL = "https://api.cdp.coinbase.com/platform/v2/end-users?pageSize=1"
ALGORITHMS = pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])


class Clock:
    def __init__(self) -> None:
        self.at = 1_795_951_029.5

    def __call__(self) -> float:
        return self.at


def sent(call: SignedCall) -> str:
    header = call.header()
    assert header is not None
    assert header.startswith("Bearer ")
    return header.removeprefix("Bearer ")


def claims_of(token: str, key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        token, key, algorithms=[algorithm], options={"verify_exp": False, "verify_aud": False}, **more
    )
    return found


@ALGORITHMS
def test_what_it_says(algorithm: str) -> None:
    record, clock = new_key(algorithm, "organizations/a/apiKeys/b"), Clock()
    call = ApiKey(record.key_id, Secret(record.secret), clock=clock).for_call("GET", URL)
    token = sent(call)
    header = jwt.get_unverified_header(token)
    nonce = header.pop("nonce")
    assert header == {"alg": algorithm, "kid": record.key_id, "typ": "JWT"}
    assert nonce.isdecimal()
    assert len(nonce) == 16
    assert claims_of(token, record.public_key, algorithm) == {
        "sub": record.key_id,
        "iss": "cdp",
        "nbf": int(clock.at),
        "exp": int(clock.at) + 120,
        "uris": ["GET api.cdp.coinbase.com/platform/v2/end-users"],
    }
    assert call.members() == {}


def test_the_host_has_its_port_and_the_audience_is_a_setting() -> None:
    record = new_key("ES256")
    key = ApiKey(record.key_id, Secret(record.secret), ("cdp_service",))
    token = sent(key.for_call("POST", "http://127.0.0.1:8080/platform/v2/x"))
    found = claims_of(token, record.public_key, "ES256")
    assert (found["uris"], found["aud"]) == (["POST 127.0.0.1:8080/platform/v2/x"], ["cdp_service"])


def test_it_is_sent_again_within_half_of_its_life() -> None:
    record, clock = new_key("ES256"), Clock()
    key = ApiKey(record.key_id, Secret(record.secret), clock=clock)
    call = key.for_call("GET", URL)
    first = sent(call)
    clock.at += LIFE / 2 - 1
    assert sent(call) == first
    clock.at += 1
    second = sent(call)
    assert second != first
    clock.at -= 30  # the clock of the machine was set back: the JWT would not be valid yet
    assert sent(call) not in (first, second)
    assert sent(key.for_call("POST", URL)) != sent(call)


def test_a_pem_may_be_one_line_of_a_file_of_variables() -> None:
    record = new_key("ES256")
    for secret in (record.secret.replace("\n", "\\n"), f"\n {record.secret}\n"):
        call = ApiKey(record.key_id, Secret(secret)).for_call("GET", URL)
        assert claims_of(sent(call), record.public_key, "ES256")["iss"] == "cdp"
    pair = new_key("EdDSA")
    call = ApiKey(pair.key_id, Secret(f"{pair.secret}\n")).for_call("GET", URL)
    assert claims_of(sent(call), pair.public_key, "EdDSA")["iss"] == "cdp"


def pem(key: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()), "ascii")


def test_pkcs8_is_a_pem_as_well() -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    call = ApiKey("id", Secret(pem(own))).for_call("GET", URL)
    assert claims_of(sent(call), own.public_key(), "ES256")["sub"] == "id"


def unusable() -> dict[str, str]:
    pair = ed25519.Ed25519PrivateKey.generate()
    seed = pair.private_bytes_raw()
    return {
        "another curve": pem(ec.generate_private_key(ec.SECP384R1())),
        "RSA": pem(rsa.generate_private_key(65537, 2048)),
        "Ed25519 as PEM": pem(pair),
        "half a key": base64.b64encode(seed).decode(),
        "halves of two keys": base64.b64encode(seed + seed).decode(),
        "a broken PEM": "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----",
        "a text": "not-a-key-but-a-secret",
        "characters of another alphabet": "_-" * 43 + "==",
    }


@pytest.mark.parametrize(("name", "secret"), unusable().items(), ids=lambda one: one if len(one) < 40 else "")
def test_another_key_is_refused_and_not_shown(name: str, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key_secret of CDP") as raised:
        ApiKey("id", Secret(secret))
    assert secret not in str(raised.value)
    assert raised.value.__context__ is None


@ALGORITHMS
def test_nothing_shows_the_key(algorithm: str, caplog: pytest.LogCaptureFixture) -> None:
    record = new_key(algorithm)
    with caplog.at_level(logging.DEBUG):
        key = ApiKey(record.key_id, Secret(record.secret))
        call = key.for_call("GET", URL)
        token = sent(call)
    shown = " ".join((repr(key), repr(call), caplog.text))
    assert record.secret not in shown
    assert token not in shown
