"""Sealed cookies: what one step of a sign-in leaves for the next, in a browser that cannot read or change it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moonkey_core import _clock
from moonkey_core._strict_json import load_object
from moonkey_core.errors import MalformedCredentials
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import MAX_COOKIE_BYTES, set_cookie
from moonkey_core.web.credentials import HeaderView, cookie_lines, one_cookie

if TYPE_CHECKING:
    from moonkey_core._crypto import Sealer

SECONDS = 600
"""How long such a cookie is good; the end is also sealed in, as a browser may keep it longer."""


def sealed_cookie(settings: Settings, purpose: str, data: Mapping[str, str]) -> str:
    """The ``Set-Cookie`` value with ``data``, for one purpose (such as ``"otp"``) and ten minutes.

    Where it would be too long for a browser, ``next`` is left out. Never log it.
    """
    cookie = _cookie(settings, purpose, data)
    if len(cookie) > MAX_COOKIE_BYTES:
        cookie = _cookie(settings, purpose, {**data, "next": ""})
    return cookie


def opened(headers: HeaderView, settings: Settings, purpose: str) -> dict[str, str] | None:
    """What a request's cookie holds; ``None`` where there is none, it is too old, or not sealed by us for this."""
    name = _name(settings, purpose)
    try:
        value = one_cookie(cookie_lines(headers), name)
    except MalformedCredentials:
        return None
    if not value or len(value) > MAX_COOKIE_BYTES:
        return None
    try:
        sealed = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
        content = load_object(_sealer(settings).open(name, sealed))
    except (ValueError, binascii.Error):
        return None
    until, data = content.get("until"), content.get("data")
    if not isinstance(until, int) or _clock.wall() >= until or not isinstance(data, dict):
        return None
    return data


def cleared(settings: Settings, purpose: str) -> str:
    """The ``Set-Cookie`` value that removes the cookie of a purpose."""
    return _set(settings, _name(settings, purpose), "", 0)


def _cookie(settings: Settings, purpose: str, data: Mapping[str, str]) -> str:
    name = _name(settings, purpose)
    content = json.dumps({"until": int(_clock.wall()) + SECONDS, "data": data}, ensure_ascii=False)
    sealed = _sealer(settings).seal(name, content.encode())
    return _set(settings, name, base64.urlsafe_b64encode(sealed).decode().rstrip("="), SECONDS)


def _set(settings: Settings, name: str, value: str, max_age: int) -> str:
    # Lax: a provider's redirect back to us is another site's link.
    return set_cookie(settings, name, value, max_age, same_site="Lax")


def _name(settings: Settings, purpose: str) -> str:
    """``__Host-`` keeps other hosts of the domain from planting one (RFC 6265bis section 4.1.3.2)."""
    assert settings.cookies is not None
    return f"{'' if settings.cookies.insecure_development else '__Host-'}moonkey_{purpose}"


def _sealer(settings: Settings) -> Sealer:
    from moonkey_core._crypto import fleet_sealer  # its cryptography takes time to load

    return fleet_sealer(settings, "flow cookie")
