"""Tokens: real RSA keys, and JWTs of the shape each contender insists on, all of about the same length."""

from __future__ import annotations

import base64
import functools
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Flavour = Literal["moonkey", "stytch", "auth0", "propelauth", "rfc9068", "extended", "opaque"]

ISSUER = "https://idp.example"
PROJECT = "project-test-00000000-0000-4000-8000-000000000000"
AUDIENCE = PROJECT
KID = "jwk-test-1"
LIFETIME = 280  # seconds; less than the oldest JWT that this project accepts by default


@functools.cache
def key(name: str) -> rsa.RSAPrivateKey:
    """An RSA-2048 key pair, the same each time for the same name."""
    return rsa.generate_private_key(65537, 2048)


def public_pem(name: str = KID) -> str:
    """The public half as PEM."""
    public = key(name).public_key()
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def key_set(*names: str) -> dict[str, Any]:
    """A JSON Web Key Set of these keys."""
    return {"keys": [_jwk(name) for name in names or (KID,)]}


def _jwk(name: str) -> dict[str, Any]:
    numbers = key(name).public_key().public_numbers()
    modulus, exponent = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": b64(modulus), "e": b64(exponent)}


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _moonkey(number: int, now: int) -> dict[str, Any]:
    session = {
        "id": f"sess_{number}",
        "user_id": f"user_{number}",
        "started_at": now - 60,
        "expires_at": now + 86_400,
        "factors": [{"type": "otp", "delivery_channel": "email", "last_verified_at": now - 60}],
        "device_info": {"ip_address": "192.0.2.1"},
    }
    return {"https://streambird.io/jwt/session": session}


def _stytch(number: int, now: int) -> dict[str, Any]:
    session = {
        "id": f"sess_{number}",
        "started_at": "2030-01-01T00:00:00Z",
        "last_accessed_at": "2030-01-01T00:00:00Z",
        "expires_at": "2035-01-01T00:00:00Z",
        "attributes": {"ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "authentication_factors": [],
        "roles": [],
    }
    return {"iss": f"stytch.com/{PROJECT}", "https://stytch.com/session": session}


def own_claims(flavour: Flavour, number: int, now: int) -> dict[str, Any]:
    """The claims that a contender needs on top of the common ones."""
    if flavour == "stytch":
        return _stytch(number, now)
    session = _moonkey(number, now)
    if flavour == "auth0":
        return {**session, "iss": f"{ISSUER}/"}
    if flavour == "propelauth":
        return {**session, "user_id": f"user_{number}", "email": "ada@example.com"}
    if flavour == "rfc9068":
        return {**session, "client_id": "app", "scope": "profile"}
    if flavour == "extended":
        return {**session, "type": "access", "fresh": False}
    return session


def mint(
    number: int,
    flavour: Flavour = "moonkey",
    *,
    kid: str = KID,
    age: int = 0,
    padding_bytes: int = 0,
    issuer: str = ISSUER,
) -> str:
    """A good JWT for user ``number``; ``age`` seconds old, so that beyond ``LIFETIME`` it is expired."""
    now = int(time.time()) - age
    claims = {
        "iss": issuer,
        "aud": [AUDIENCE],
        "sub": f"user_{number}",
        "jti": f"sess_{number}",
        "sid": f"sess_{number}",
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        **own_claims(flavour, number, now),
    }
    if padding_bytes:
        claims["note"] = "x" * padding_bytes
    kind = "at+jwt" if flavour == "rfc9068" else "JWT"
    parts = ({"alg": "RS256", "kid": kid, "typ": kind}, claims)
    text = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{text}.{b64(key(kid).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def mint_many(numbers: range, flavour: Flavour = "moonkey", **more: Any) -> list[str]:
    """Many JWTs, on both cores: signing releases the interpreter's lock. More arguments are those of ``mint``."""
    key(KID)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda number: mint(number, flavour, **more), numbers))


REFUSED = ("expired", "foreign", "garbage")


def refused(count: int) -> dict[str, list[str]]:
    """What must be refused, all different: genuine but expired, of another issuer, or a good head and then noise.

    All name a key of ours, so they cost no fetch of the key set.
    """
    head = b64(json.dumps({"alg": "RS256", "kid": KID, "typ": "JWT"}).encode())
    return {
        "expired": mint_many(range(count), age=3600),
        "foreign": mint_many(range(count), issuer="https://other.example"),
        "garbage": [
            f"{head}.{b64(secrets.token_bytes(450))}.{b64(secrets.token_bytes(256))}" for _ in range(count)
        ],
    }


def changed_signature(jwt: str) -> str:
    """The same JWT with one character of its signature changed."""
    text, _, signature = jwt.rpartition(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return f"{text}.{signature[:middle]}{other}{signature[middle + 1 :]}"


def unknown_kid(like: str, kid: str | None = None) -> str:
    """A JWT under a random key id that no key set has, with the claims of another and a signature of noise."""
    head = {"alg": "RS256", "kid": kid or f"jwk-{secrets.token_hex(8)}", "typ": "JWT"}
    body = like.split(".")[1]
    return f"{b64(json.dumps(head).encode())}.{body}.{b64(secrets.token_bytes(256))}"


def opaque(number: int, kind: str = "tok") -> str:
    """A session token that the mock accepts, as long as a real one; with another ``kind`` it is refused."""
    return f"{kind}_{number}_".ljust(64, "x")


def good(flavour: Flavour, number: int = 1) -> str:
    """A token that must be accepted."""
    return opaque(number) if flavour == "opaque" else mint(number, flavour)


BAD = 999_998  # of no other token: a session whose JWT is refused by the service is over for its other JWTs, too


def bad(flavour: Flavour) -> dict[str, str]:
    """What nobody may accept, by what is wrong with it."""
    if flavour == "opaque":
        return {"no session": opaque(1, "bad"), "its time over": opaque(1, "old")}
    return {
        "a changed signature": changed_signature(mint(BAD, flavour)),
        "its time over": mint(BAD, flavour, age=3600),
    }


def pool(flavour: Flavour, count: int, *, padding_bytes: int = 0) -> list[str]:
    """Good tokens of users 0, 1, 2 …"""
    if flavour == "opaque":
        return [opaque(number) for number in range(count)]
    return mint_many(range(count), flavour, padding_bytes=padding_bytes)
