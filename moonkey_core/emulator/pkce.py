"""Proof Key for Code Exchange (RFC 7636), the side of the server."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256


def proves(verifier: str, challenge: str) -> bool:
    """Return whether a verifier belongs to an ``S256`` challenge (RFC 7636, section 4.6)."""
    digest = urlsafe_b64encode(sha256(verifier.encode("utf-8", "replace")).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.rstrip("=").encode("utf-8", "replace"))
