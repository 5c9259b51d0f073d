"""How we authenticate to the API of CDP: by a short-lived JWT that our API key signs for one method and path.

The key is an EC key in PEM (ES256), or the 64 bytes of an Ed25519 key in base64 (EdDSA). It is never part of an
address, a log line, an error or a ``repr``.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moonkey_core import _clock
from moonkey_core._secret import Secret
from moonkey_core.errors import ConfigurationError

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that sign should spend
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey

LIFE = 120.0
"""The seconds from ``nbf`` to ``exp`` of such a JWT."""

_REUSED = LIFE / 2  # seconds for which one is sent again: its end stays out of reach of a slow call
_NONCE_DIGITS = 16
_SEED, _PAIR = 32, 64  # bytes of an Ed25519 seed, and of seed and public key together (RFC 8032 section 5.1.5)
_CURVE = "secp256r1"


class ApiKey:
    """An API key, which makes the authorization of calls.

    Args:
        key_id: The id of the key.
        secret: The private key, in either form.
        audience: The ``aud`` of the JWTs; ``None``: they have none.
        clock: Returns Unix seconds.

    Raises:
        ConfigurationError: An argument is missing or malformed.
    """

    def __init__(
        self,
        key_id: str,
        secret: Secret,
        audience: tuple[str, ...] | None = None,
        clock: Callable[[], float] = _clock.wall,
    ) -> None:
        self._id = key_id
        self._audience = None if audience is None else list(audience)
        self._clock = clock
        self._algorithm, self._key = _loaded(secret.reveal())

    def for_call(self, method: str, url: str) -> SignedCall:
        """Return what authorizes calls of one method to one address. Its query does not count."""
        parts = urlsplit(url)
        return SignedCall(self._signed, f"{method} {parts.netloc}{parts.path}", self._clock)

    def _signed(self, uri: str, now: int) -> str:
        import jwt

        claims: dict[str, Any] = {
            "sub": self._id,
            "iss": "cdp",
            "nbf": now,
            "exp": now + int(LIFE),
            "uris": [uri],
        }
        if self._audience is not None:
            claims["aud"] = self._audience
        nonce = f"{secrets.randbelow(10**_NONCE_DIGITS):0{_NONCE_DIGITS}d}"
        return jwt.encode(claims, self._key, self._algorithm, headers={"kid": self._id, "nonce": nonce})

    def __repr__(self) -> str:
        """Return the algorithm alone."""
        return f"<API key of CDP, {self._algorithm}>"


class SignedCall:
    """The authorization of one kind of call: a JWT that is sent again for half of its life."""

    def __init__(self, sign: Callable[[str, int], str], uri: str, clock: Callable[[], float]) -> None:
        self._sign = sign
        self._uri = uri
        self._clock = clock
        self._kept: tuple[float, Secret] | None = None  # swapped as a whole: threads may sign twice, no more

    def header(self) -> str | None:
        """Return the value of the ``Authorization`` header. It is asked at each attempt."""
        now, kept = self._clock(), self._kept
        if kept is None or not 0 <= now - kept[0] < _REUSED:
            kept = self._kept = (now, Secret(f"Bearer {self._sign(self._uri, int(now))}"))
        return kept[1].reveal()

    def members(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}


def _loaded(text: str) -> tuple[str, SigningKey]:
    """Return the algorithm and the key of a secret.

    Raises:
        ConfigurationError: It has neither form.
    """
    plain = text.replace("\\n", "\n").strip()  # one line of a file of variables has two characters for each break
    found = _from_pem(plain) if plain.startswith("-----BEGIN") else _from_base64(plain)
    if found is None:
        raise ConfigurationError(
            "api_key_secret of CDP must be the secret of an API key as CDP's portal gives it: an EC key on P-256 "
            "in PEM (ES256; its line breaks may be written as \\n), or the 64 bytes of an Ed25519 key in base64 "
            "(EdDSA)."
        )
    return found


def _from_pem(text: str) -> tuple[str, SigningKey] | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # the text of the error may hold a part of the key
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name == _CURVE:
        return "ES256", key
    return None


def _from_base64(text: str) -> tuple[str, SigningKey] | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        pair = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(pair) != _PAIR:
        return None
    key = Ed25519PrivateKey.from_private_bytes(pair[:_SEED])
    return ("EdDSA", key) if key.public_key().public_bytes_raw() == pair[_SEED:] else None
