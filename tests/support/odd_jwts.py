"""Session JWTs of any content, good and odd, signed with keys of the tests' own."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "api.moonkey.fun/5e9b1c3a"
CLAIM = "https://streambird.io/jwt/session"
KID = "jwk_test"


@functools.cache
def _made(name: str, bits: int, exponent: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


def rsa_key(name: str = KID, bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """A key pair, the same each time for the same name."""
    return _made(name, bits, exponent)


def public_jwk(name: str = KID, **changes: Any) -> dict[str, Any]:
    """The entry of a key set for a key; a change to ``None`` leaves a member out."""
    numbers = RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True)
    entry = {"kty": "RSA", "n": numbers["n"], "e": numbers["e"], "alg": "RS256", "use": "sig", "kid": name}
    return {
        name: value for name, value in {**entry, "key_ops": ["verify"], **changes}.items() if value is not None
    }


def key_set(*names: str) -> dict[str, Any]:
    return {"keys": [public_jwk(name) for name in names or (KID,)]}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def header(**changes: Any) -> dict[str, Any]:
    return {"alg": "RS256", "kid": KID, "typ": "JWT", **changes}


def claims(now: float, **changes: Any) -> dict[str, Any]:
    """The claims of a good JWT that was made at ``now``; ``session`` changes those of the session claim."""
    inner = {"id": "sess_1", "user_id": "user_1", "started_at": int(now), "expires_at": int(now) + 86_400}
    session = {**inner, **changes.pop("session", {})}
    times = {"iat": int(now), "nbf": int(now), "exp": int(now) + 300}
    return {"iss": ISSUER, "sub": "user_1", "jti": "sess_1", **times, CLAIM: session, **changes}


def without(part: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in names}


def signature(signing_input: str, name: str = KID) -> bytes:
    return rsa_key(name).sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256())


def sign(head: dict[str, Any] | bytes, body: object, name: str = KID) -> str:
    """A compact JWS with a good signature, whatever it says; bytes are taken as they are."""
    raw_head = head if isinstance(head, bytes) else json.dumps(head).encode()
    raw_body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sign_parts(b64(raw_head), b64(raw_body), name)


def sign_parts(head: str, body: str, name: str = KID) -> str:
    """As :func:`sign`, with the first two parts as they shall stand in the token."""
    return f"{head}.{body}.{b64(signature(f'{head}.{body}', name))}"


def good(now: float, **changes: Any) -> str:
    """A JWT with nothing wrong but for the ``changes`` to its claims."""
    return sign(header(), claims(now, **changes))
