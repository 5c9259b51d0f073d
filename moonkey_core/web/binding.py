"""The binding of a session JWT in a cookie to the session token beside it.

It is a keyed digest of both, in a cookie of its own, so the cookie of the JWT holds a plain JWT. Without it, a JWT
that an attacker has planted beside another user's session token would decide who that user is, and a genuine JWT
would count beside any text in the place of the token.
"""

from __future__ import annotations

from moonkey_core._crypto import rotating_sealer
from moonkey_core.settings import Settings

_PURPOSE = "cookie pair"


def make_binding(pair: str, settings: Settings) -> str:
    """Return the binding of a pair, which is given as one text: 64 hexadecimal digits."""
    return rotating_sealer(settings, _PURPOSE).digest(pair)


def is_binding(value: str, pair: str, settings: Settings) -> bool:
    """Return whether a value is the binding of a pair, made with the current secret or with the previous one."""
    return rotating_sealer(settings, _PURPOSE).is_digest(value, pair)
