"""What lies outside the process is sealed: nobody without the secret can read, change or move it."""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from moonkey_core.settings import Settings

_FORM = b"\x01"  # of what is sealed; another form would get another number
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Sealer:
    """Seals bytes under a name (AES-256-GCM), and makes keyed digests for names.

    Both keys come from the secret by HKDF (RFC 5869). Processes with the same ``secret`` and ``purpose``
    understand each other; any other purpose is another world.
    """

    __slots__ = ("_aead", "_digest_key")

    def __init__(self, secret: str, purpose: str) -> None:
        self._aead = AESGCM(_derived(secret, b"seal", purpose))
        self._digest_key = _derived(secret, b"digest", purpose)

    def seal(self, name: str, data: bytes) -> bytes:
        """``data``, to be opened under the same name only."""
        # Nonces are random: two are alike with a chance of n²/2⁹⁷ after n sealings under one secret, which is 2⁻³³
        # after 2³² of them (NIST SP 800-38D section 8.3): fifty days of a thousand a second. A new secret begins
        # anew.
        nonce = os.urandom(_NONCE_BYTES)
        return _FORM + nonce + self._aead.encrypt(nonce, data, _FORM + name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """What was sealed under that name. Raises ``ValueError`` for anything else."""
        if sealed[:1] != _FORM or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise ValueError("not sealed by us")
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, rest, _FORM + name.encode())
        except InvalidTag:
            raise ValueError("not sealed by us under this name") from None

    def digest(self, value: str) -> str:
        """The keyed digest of a value, as 64 hexadecimal digits: equal values meet, and nothing can be learnt."""
        return blake2b(value.encode(), key=self._digest_key, digest_size=32).hexdigest()


def fleet_sealer(settings: Settings, purpose: str) -> Sealer:
    """The sealer that all processes of an app have in common.

    Its secret is ``cache_secret``, else the secret key. The API's address takes part, so that two environments
    never meet, even in one Redis.
    """
    secret = settings.cache_secret or settings.secret_key
    return Sealer(secret.reveal(), f"{purpose} {settings.base_url}")


def _derived(secret: str, key_name: bytes, purpose: str) -> bytes:
    info = b"moonkey " + key_name + b"\x00" + purpose.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode())
