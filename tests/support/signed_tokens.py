"""Tokens with real signatures, by keys of the tests' own: of each type of key that providers use."""

from __future__ import annotations

import functools
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from support.odd_jwts import b64, public_jwk, rsa_key

SECRET = "a shared secret of the project, which no verifier should have"


@functools.cache
def signing_key(algorithm: str) -> Any:
    """The private key for an algorithm, the same each time."""
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa_key()


@functools.cache
def key_set() -> dict[str, Any]:
    """Keys without ``alg``, as Entra ID publishes them."""
    ec_key = ECAlgorithm.to_jwk(signing_key("ES256").public_key(), as_dict=True)
    ed_key = OKPAlgorithm.to_jwk(signing_key("EdDSA").public_key(), as_dict=True)
    return {
        "keys": [
            public_jwk(alg=None, kid="RS"),
            {**ec_key, "use": "sig", "kid": "ES"},
            {**ed_key, "use": "sig", "kid": "Ed"},
        ]
    }


def signed(claims: dict[str, Any], header: dict[str, Any], algorithm: str = "RS256") -> str:
    """A token; ``alg`` in the header may be another one than that of the key, or ``none``."""
    named = header.get("alg", algorithm)
    head = {"kid": algorithm[:2], **header, "alg": named}
    if named in ("none", "HS256"):
        start = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
        if named == "none":
            return f"{start}.{b64(b'none')}"
        key = jwt.PyJWT()._jws.get_algorithm_by_name("HS256")
        return f"{start}.{b64(key.sign(start.encode(), SECRET.encode()))}"
    return jwt.encode(claims, signing_key(algorithm), algorithm=algorithm, headers={"typ": None, **head})


def encrypted() -> str:
    """A token of five parts, as issuers make that encrypt them (RFC 7516)."""
    head = b64(json.dumps({"alg": "dir", "enc": "A256GCM", "kid": "RS"}).encode())
    return f"{head}..{b64(b'n' * 12)}.{b64(b'c' * 64)}.{b64(b't' * 16)}"
