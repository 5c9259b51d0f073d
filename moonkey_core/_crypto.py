"""Sealing of data that leaves the process, and keyed digests that stand for credentials.

``cryptography`` takes 25 ms to load. It is imported where it is used, so that only processes which seal something
pay for it.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from moonkey_core.settings import Secret, Settings

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


class RotatingSealer:
    """The sealers of the current secret and, while it is being changed, of the previous one.

    Everything new is sealed with the current secret. What was sealed or digested with either of them is accepted.
    """

    __slots__ = ("_current", "_sealers")

    def __init__(self, sealers: Sequence[Sealer]) -> None:
        """Take the sealers, that of the current secret first."""
        self._current = sealers[0]
        self._sealers = sealers

    def seal(self, name: str, data: bytes) -> bytes:
        """Seal ``data`` with the current secret. See :meth:`Sealer.seal`."""
        return self._current.seal(name, data)

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return the data that was sealed under that name with one of the secrets.

        Raises:
            ValueError: It was not, or was changed.
        """
        for sealer in self._sealers:
            with contextlib.suppress(ValueError):
                return sealer.open(name, sealed)
        raise ValueError("not sealed by us under this name")

    def digest(self, value: str) -> str:
        """Return the digest of a value with the current secret. See :meth:`Sealer.digest`."""
        return self._current.digest(value)

    def is_digest(self, digest: str, value: str) -> bool:
        """Return whether ``digest`` is that of a value with one of the secrets. Compares in constant time."""
        if not digest.isascii():
            return False
        return any(hmac.compare_digest(digest, sealer.digest(value)) for sealer in self._sealers)


_OF_THIS_PROCESS = Secret(secrets.token_hex(32))


class Secrets(NamedTuple):
    """What keys and names are derived from.

    Attributes:
        fleet: The secret that all processes of an app have in common: ``cache_secret``, else the secret key.
            Where there is neither, nothing leaves the process, and a random secret of this process does.
        api: The secret key; where there is none, the same secret.
    """

    fleet: Secret
    api: Secret


def secrets_of(settings: Settings) -> tuple[Secrets, ...]:
    """Return the current secrets and, where the settings name a previous one, those that were in use with it."""
    key = settings.secret_key
    if key is None:
        fleet = settings.cache_secret or _OF_THIS_PROCESS
        before = settings.previous_cache_secret or fleet
        current, previous = Secrets(fleet, fleet), Secrets(before, before)
    else:
        api = settings.previous_secret_key or key
        current = Secrets(settings.cache_secret or key, key)
        previous = Secrets(settings.previous_cache_secret or settings.cache_secret or api, api)
    return (current,) if previous == current else (current, previous)


def fleet_secrets(settings: Settings) -> tuple[Secret, ...]:
    """Return the secret that all processes of an app have in common, and the previous one, if that is another."""
    return tuple(dict.fromkeys(one.fleet for one in secrets_of(settings)))


def fleet_sealers(settings: Settings, purpose: str) -> tuple[Sealer, ...]:
    """Return the sealers that all processes of an app have in common, the current one first.

    The address of the API is part of the purpose: two environments cannot read the data of each other, even in one
    Redis.
    """
    return tuple(sealer_of(secret, settings, purpose) for secret in fleet_secrets(settings))


def sealer_of(secret: Secret, settings: Settings, purpose: str) -> Sealer:
    """Return the sealer with one secret of an app."""
    return _sealer(secret, f"{purpose} {settings.sealed_for}")


def fleet_sealer(settings: Settings, purpose: str) -> Sealer:
    """Return the sealer of the current secret, see :func:`fleet_sealers`."""
    return fleet_sealers(settings, purpose)[0]


def rotating_sealer(settings: Settings, purpose: str) -> RotatingSealer:
    """Return all the sealers of a purpose, see :func:`fleet_sealers`."""
    return RotatingSealer(fleet_sealers(settings, purpose))


@lru_cache(64)  # secrets and purposes come from settings and from this package, never from a request
def _sealer(secret: Secret, purpose: str) -> Sealer:
    return Sealer(secret.reveal(), purpose)


def _derived(secret: str, key_name: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = b"moonkey " + key_name + b"\x00" + purpose.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode())
