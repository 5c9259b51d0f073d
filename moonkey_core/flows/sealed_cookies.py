"""Sealed cookies: they carry data from one step to the next in a browser that cannot read or change it."""

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
from moonkey_core.web.credentials import cookie_lines, one_cookie
from moonkey_core.web.request import HeaderView

if TYPE_CHECKING:
    from moonkey_core._crypto import Sealer

LIFETIME = 600
"""Seconds that such a cookie is valid. The end is sealed in too, as a browser may keep the cookie longer."""


def seal_cookie(settings: Settings, purpose: str, data: Mapping[str, str]) -> str:
    """Make the ``Set-Cookie`` value that carries ``data``. Never log it.

    Where it would be too long for a browser, ``next`` is left out.

    Args:
        settings: The settings of the client.
        purpose: Part of the cookie's name, such as ``"otp"``; it opens for no other purpose.
        data: The content.
    """
    cookie = _sealed(settings, purpose, data)
    if len(cookie) > MAX_COOKIE_BYTES:
        cookie = _sealed(settings, purpose, {**data, "next": ""})
    return cookie


def open_cookie(headers: HeaderView, settings: Settings, purpose: str) -> dict[str, str] | None:
    """Return the data in a request's cookie; ``None`` if it is missing, expired, or not sealed by us for this."""
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


def clear_cookie(settings: Settings, purpose: str) -> str:
    """Make the ``Set-Cookie`` value that removes the cookie of a purpose."""
    return _set_cookie(settings, _name(settings, purpose), "", 0)


def _sealed(settings: Settings, purpose: str, data: Mapping[str, str]) -> str:
    name = _name(settings, purpose)
    content = json.dumps({"until": int(_clock.wall()) + LIFETIME, "data": data}, ensure_ascii=False)
    sealed = _sealer(settings).seal(name, content.encode())
    return _set_cookie(settings, name, base64.urlsafe_b64encode(sealed).decode().rstrip("="), LIFETIME)


def _set_cookie(settings: Settings, name: str, value: str, max_age: int) -> str:
    # Lax: a provider's redirect back to us is a link on another site.
    return set_cookie(settings, name, value, max_age, same_site="Lax")


def _name(settings: Settings, purpose: str) -> str:
    """Return the cookie's name. ``__Host-`` keeps other hosts of the domain from setting one.

    Source: RFC 6265bis section 4.1.3.2.
    """
    assert settings.cookies is not None
    return f"{'' if settings.cookies.insecure_development else '__Host-'}moonkey_{purpose}"


def _sealer(settings: Settings) -> Sealer:
    from moonkey_core._crypto import fleet_sealer  # its cryptography takes time to load

    return fleet_sealer(settings, "flow cookie")
