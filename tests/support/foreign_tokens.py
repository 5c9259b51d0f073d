"""JWTs of a provider that is not MoonKey, signed with keys of each type; and a client that accepts them."""

from __future__ import annotations

import functools
import json
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from own_provider import PlainIssuer

from moonkey_core.provider import JwtRules, KeySource
from support.decisions import NOW, Decisions
from support.odd_jwts import rsa_key

ISSUER = "https://login.example.com"
AUDIENCE = "https://api.example.com"
CURVES: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def private_key(algorithm: str, name: str = "") -> PrivateKey:
    """A key that fits an algorithm, the same each time."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm]())
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa_key(f"foreign {name}")


def public_pem(algorithm: str) -> str:
    key = private_key(algorithm).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(algorithm: str, **changes: Any) -> dict[str, Any]:
    """The entry of a key set for the key of an algorithm, without ``alg``; ``None`` leaves a member out."""
    made = pyjwt.get_algorithm_by_name(algorithm).to_jwk(private_key(algorithm).public_key(), as_dict=True)
    entry = {name: value for name, value in dict(made).items() if name != "key_ops"}
    entry |= {"kid": f"key of {algorithm}", "use": "sig", **changes}
    return {name: value for name, value in entry.items() if value is not None}


def key_set(*algorithms: str) -> dict[str, Any]:
    return {"keys": [jwk(one) for one in algorithms or ("RS256", "ES256", "EdDSA")]}


def claims(now: float = NOW, **changes: Any) -> dict[str, Any]:
    """The claims of a good access token; ``None`` leaves one out."""
    times = {"iat": int(now), "exp": int(now) + 3600}
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user_1", "sid": "sid-1", "jti": "t-1", **times, **changes}
    return {name: value for name, value in found.items() if value is not None}


def token(algorithm: str = "RS256", *, head: dict[str, Any] | None = None, **changes: Any) -> str:
    """A good token but for the ``changes`` to its claims, and ``head`` in its header."""
    headers = {"kid": f"key of {algorithm}", "typ": "JWT", **(head or {})}
    return pyjwt.encode(claims(**changes), private_key(algorithm), algorithm, headers=headers)


def provider(keys: KeySource | None = None, **rules: Any) -> PlainIssuer:
    """The provider of the documentation, with other rules."""
    made = PlainIssuer(ISSUER, AUDIENCE, keys or KeySource(jwks=key_set(*ALGORITHMS)))
    usual = {"issuers": (ISSUER,), "audience": (AUDIENCE,), "types": frozenset({"jwt", "at+jwt", None})}
    made.jwt_rules = JwtRules(**{**usual, "algorithms": ALGORITHMS, **rules})
    return made


class ForeignDecisions(Decisions):
    """A client whose provider is another one than MoonKey."""

    def __init__(self, made: Any = None, **options: Any) -> None:
        super().__init__(
            provider=provider() if made is None else made, secret_key="", jwt_issuer="", jwks="", **options
        )


def jwks_body(*algorithms: str) -> bytes:
    return json.dumps(key_set(*algorithms)).encode()
