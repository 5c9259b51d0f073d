"""API keys, and the check of the JWT that each call of a developer's server carries."""

from __future__ import annotations

import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from starlette.datastructures import Headers
from starlette.types import Scope

from moonkey_core.emulator.cdp.errors import unauthorized
from moonkey_core.emulator.cdp.records import ApiKeyRecord, base64_pair
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.errors import ApiError

API = "/platform/v2"
ALGORITHMS = ("ES256", "EdDSA")
MAX_LIFE_SECONDS = 120.0
CLOCK_SKEW_SECONDS = 30.0


def new_key(algorithm: str, key_id: str | None = None, audience: str | None = None) -> ApiKeyRecord:
    """Make an API key.

    Raises:
        ValueError: CDP has no keys of that algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}")
    name = key_id or str(uuid.uuid4())
    if algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.TraditionalOpenSSL
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
        return ApiKeyRecord(name, pem, key.public_key(), algorithm, audience)
    pair = ed25519.Ed25519PrivateKey.generate()
    secret = base64_pair(pair.private_bytes_raw(), pair.public_key().public_bytes_raw())
    return ApiKeyRecord(name, secret, pair.public_key(), algorithm, audience)


def refusal(state: CdpState, scope: Scope) -> ApiError | None:
    """Return the error for a call to the API without the JWT of an API key; ``None`` where it has one.

    It has to name this call: method, host with its port, and path.
    """
    if not scope["path"].startswith(f"{API}/"):
        return None
    headers = Headers(scope=scope)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    uri = f"{scope['method']} {headers.get('host', '')}{scope['path']}"
    with state.lock:
        is_good = scheme.lower() == "bearer" and _is_good(state, token.strip(), uri)
    return None if is_good else unauthorized()


def _is_good(state: CdpState, token: str, uri: str) -> bool:
    try:
        header = jwt.get_unverified_header(token)
        key = state.api_keys.get(header.get("kid", ""))
        if key is None:
            return False
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public_key,
            algorithms=[key.algorithm],
            audience=key.audience,
            issuer="cdp",
            subject=key.key_id,
            options={
                "require": ["exp", "nbf", "sub", "iss"],
                # Its times are judged by the emulator's clock below.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": key.audience is not None,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError):
        return False
    return _names(header, claims, uri) and _is_of_now(claims, state.now())


def _names(header: dict[str, Any], claims: dict[str, Any], uri: str) -> bool:
    uris, nonce = claims.get("uris"), header.get("nonce")
    return isinstance(uris, list) and uri in uris and isinstance(nonce, str) and bool(nonce)


def _is_of_now(claims: dict[str, Any], now: float) -> bool:
    starts, ends = claims["nbf"], claims["exp"]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (starts, ends)):
        return False
    return bool(starts <= now + CLOCK_SKEW_SECONDS and now < ends <= starts + MAX_LIFE_SECONDS)
