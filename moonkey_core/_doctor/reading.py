"""Reads a credential that nothing is known of: which kind is it, and what does a JWT say by itself?"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from moonkey_core._strict_json import load_object


def unverified_part(jwt: str, place: int) -> dict[str, Any] | None:
    """Return one part of a JWT, of which nothing is proven: 0 for the header, 1 for the claims.

    Returns:
        The part; ``None`` where it cannot be read.
    """
    parts = jwt.split(".")
    try:
        return load_object(base64.urlsafe_b64decode(parts[place] + "=" * (-len(parts[place]) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return None
