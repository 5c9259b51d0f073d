"""The custom claims that an app sets in a session: checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moonkey_core.providers.stytch.wire import VENDOR_PREFIX, is_reserved

MAX_BYTES = 4096
"""The most bytes of all custom claims of a session together, as JSON."""


def checked_claims(claims: object) -> dict[str, Any]:
    """Return custom claims as the API takes them: merged by name with those that there are; ``None`` deletes one.

    Raises:
        ValueError: They are no mapping by names, no JSON, too long, or one has a name that is not for the app.
    """
    if not isinstance(claims, Mapping) or not claims:
        raise ValueError('custom_claims must be a mapping by name that is not empty, such as {"plan": "pro"}.')
    for name in claims:
        if not isinstance(name, str) or not name:
            raise ValueError("The name of each custom claim must be a text that is not empty.")
        if is_reserved(name) or name.casefold().startswith(VENDOR_PREFIX):
            raise ValueError(
                f"{name[:60]!r} cannot be a custom claim: the registered claims of a JWT (aud, exp, iat, iss, "
                f"jti, nbf, sub) and all names that begin with {VENDOR_PREFIX} are not for apps."
            )
    problem = ""
    try:
        text = json.dumps(dict(claims), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        size = len(text.encode())
        if json.loads(text) != _as_json(claims):
            problem = "is not what JSON can carry as it is, such as a key that is no text"
        elif size > MAX_BYTES:
            problem = f"is {size} bytes long as JSON, and may be {MAX_BYTES}"
    except (TypeError, ValueError, RecursionError):
        problem = "is not JSON"
    if problem:  # outside of the handler: the context of the exception would hold the claims
        raise ValueError(f"What custom_claims holds {problem}.")
    return dict(claims)


def _as_json(value: Any) -> Any:
    """Return the value with lists in the place of tuples."""
    if isinstance(value, Mapping):
        return {name: _as_json(one) for name, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, list | tuple) else value
