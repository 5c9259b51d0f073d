"""Keyed digests, so that a credential is never a key of any table."""

from __future__ import annotations

import secrets
from hashlib import blake2b


class Digest:
    """Digests under a key of this object's own: equal inputs meet, and nothing can be learnt from the output."""

    __slots__ = ("_key",)

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, purpose: str, value: str) -> str:
        """The digest of the whole ``value``, distinct for each ``purpose`` (a short constant)."""
        return blake2b(value.encode(), key=self._key, person=purpose.encode(), digest_size=32).hexdigest()
