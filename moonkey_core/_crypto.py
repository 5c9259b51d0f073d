"""Sealing of data that leaves the process, and keyed digests that stand for credentials.

``cryptography`` takes 25 ms to load. It is imported where it is used, so that only processes which seal something
pay for it.
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b

from moonkey_core.settings import Settings

_FORM = b"\x01"  # the version of the sealed format
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Digest:
    """A keyed digest with a random key. Equal inputs have equal digests, which do not reveal the input."""

    __slots__ = ("_key",)

    def __init__(self) -> None:
        """Make a random key."""
        self._key = secrets.token_bytes(32)

    def __call__(self, purpose: str, value: str) -> str:
        """Return the digest of the whole ``value``, another one for each ``purpose`` (at most 16 characters)."""
        return blake2b(value.encode(), key=self._key, person=purpose.encode(), digest_size=32).hexdigest()


class Sealer:
    """Authenticated encryption of bytes under a name (AES-256-GCM), and keyed digests for names.

    Both keys come from the secret by HKDF (RFC 5869). Only processes with the same ``secret`` and ``purpose`` can
    read what this one seals.
    """

    __slots__ = ("_aead", "_digest_key")

    def __init__(self, secret: str, purpose: str) -> None:
        """Derive the keys from ``secret`` for ``purpose``."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead = AESGCM(_derived(secret, b"seal", purpose))
        self._digest_key = _derived(secret, b"digest", purpose)

    def seal(self, name: str, data: bytes) -> bytes:
        """Seal ``data``. It can be opened under the same name only."""
        # Nonces are random: two are alike with a chance of n²/2⁹⁷ after n sealings under one secret, which is 2⁻³³
        # after 2³² of them (NIST SP 800-38D section 8.3): fifty days of a thousand a second. A new secret begins
        # anew.
        nonce = os.urandom(_NONCE_BYTES)
        return _FORM + nonce + self._aead.encrypt(nonce, data, _FORM + name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return the data that was sealed under that name.

        Raises:
            ValueError: It was sealed with another key or under another name, or was changed.
        """
        from cryptography.exceptions import InvalidTag

        if sealed[:1] != _FORM or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise ValueError("not sealed by us")
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, rest, _FORM + name.encode())
        except InvalidTag:
            raise ValueError("not sealed by us under this name") from None

    def digest(self, value: str) -> str:
        """Return the keyed digest of a value, as 64 hexadecimal digits, which reveal nothing about the value."""
        return blake2b(value.encode(), key=self._digest_key, digest_size=32).hexdigest()


def fleet_sealer(settings: Settings, purpose: str) -> Sealer:
    """Make the sealer that all processes of an app have in common.

    Its secret is ``cache_secret``, else the secret key. The address of the API is part of the purpose: two
    environments cannot read the data of each other, even in one Redis.
    """
    secret = settings.cache_secret or settings.secret_key
    return Sealer(secret.reveal(), f"{purpose} {settings.base_url}")


def _derived(secret: str, key_name: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = b"moonkey " + key_name + b"\x00" + purpose.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode())
