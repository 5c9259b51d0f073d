"""Sealed data from one step to the next, kept by a client that can neither read nor change it.

A browser keeps it in a cookie. In the mode without cookies the client gets it as ``method_id``, and sends it back.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from moonkey_core import _clock
from moonkey_core._crypto import RotatingSealer, rotating_sealer
from moonkey_core._dataclass import dataclass
from moonkey_core._strict_json import load_object
from moonkey_core.errors import MalformedCredentials
from moonkey_core.flows.forms import body_fields
from moonkey_core.flows.routes import FlowRequest
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import MAX_COOKIE_BYTES, set_cookie
from moonkey_core.web.credentials import cookie_lines, one_cookie
from moonkey_core.web.request import HeaderView

LIFETIME = 600
"""Seconds that such a cookie is valid. The end is sealed in too, as a browser may keep the cookie longer."""


METHOD_ID = "method_id"
"""The field in which a client without cookies sends the data back."""


@dataclass(frozen=True, slots=True)
class Handed:
    """The data of a step on its way to the client: ``Set-Cookie`` values, or members of the JSON. Never log it."""

    cookies: tuple[str, ...] = field(default=(), repr=False)
    members: Mapping[str, str] = field(default_factory=dict, repr=False)


def hand_out(request: FlowRequest, settings: Settings, purpose: str, data: Mapping[str, str]) -> Handed:
    """Hand the data of a step out to the client of a request. The arguments are those of :func:`seal_cookie`."""
    if request.mode == "cookies":
        return Handed(cookies=(seal_cookie(settings, purpose, data),))
    text = _sealed_value(settings, _field(purpose), data, LIFETIME)
    if len(text) > MAX_COOKIE_BYTES:
        text = _sealed_value(settings, _field(purpose), {**data, "next": ""}, LIFETIME)
    return Handed(members={METHOD_ID: text})


def take_back(request: FlowRequest, settings: Settings, purpose: str) -> dict[str, str] | None:
    """Return the data that the client of a request sends back, as :func:`open_cookie` does.

    Raises:
        RequestRefused: The body that would hold it cannot be read.
    """
    if request.mode == "cookies":
        return open_cookie(request.headers, settings, purpose)
    return _still_valid(_opened(settings, _field(purpose), body_fields(request).get(METHOD_ID, "")))


def let_go(request: FlowRequest, settings: Settings, purpose: str) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values that remove the data from the client of a request, if it is in a cookie."""
    return (clear_cookie(settings, purpose),) if request.mode == "cookies" else ()


def seal_cookie(settings: Settings, purpose: str, data: Mapping[str, str], lifetime: int = LIFETIME) -> str:
    """Make the ``Set-Cookie`` value that carries ``data``. Never log it.

    Where it would be too long for a browser, ``next`` is left out.

    Args:
        settings: The settings of the client.
        purpose: Part of the cookie's name, such as ``"otp"``; it opens for no other purpose.
        data: The content.
        lifetime: Seconds that the cookie is valid.
    """
    cookie = _sealed(settings, purpose, data, lifetime)
    if len(cookie) > MAX_COOKIE_BYTES:
        cookie = _sealed(settings, purpose, {**data, "next": ""}, lifetime)
    return cookie


def seal_text(settings: Settings, purpose: str, data: Mapping[str, str], lifetime: int) -> str:
    """Seal data for a link. It opens as a text only, never as a cookie; where it is too long, without ``next``."""
    text = _sealed_value(settings, _field(f"{purpose} link"), data, lifetime)
    if len(text) > MAX_COOKIE_BYTES:
        text = _sealed_value(settings, _field(f"{purpose} link"), {**data, "next": ""}, lifetime)
    return text


def open_text(settings: Settings, purpose: str, value: str) -> dict[str, str] | None:
    """Return the data that was sealed for a link; ``None`` if it is expired, or not sealed by us for this."""
    return _still_valid(_opened(settings, _field(f"{purpose} link"), value))


def open_cookie(headers: HeaderView, settings: Settings, purpose: str) -> dict[str, str] | None:
    """Return the data in a request's cookie; ``None`` if it is missing, expired, or not sealed by us for this."""
    return _still_valid(_content(headers, settings, purpose))


def is_expired(headers: HeaderView, settings: Settings, purpose: str) -> bool:
    """Return whether a request has a cookie of ours for this purpose that is certainly too old."""
    content = _content(headers, settings, purpose)
    return content is not None and _clock.wall() >= content["until"]


def _still_valid(content: dict[str, Any] | None) -> dict[str, str] | None:
    return None if content is None or _clock.wall() >= content["until"] else content["data"]


def _content(headers: HeaderView, settings: Settings, purpose: str) -> dict[str, Any] | None:
    name = _name(settings, purpose)
    try:
        value = one_cookie(cookie_lines(headers), name)
    except MalformedCredentials:
        return None
    return _opened(settings, name, value or "")


def _opened(settings: Settings, name: str, value: str) -> dict[str, Any] | None:
    if not value or len(value) > MAX_COOKIE_BYTES:
        return None
    try:
        sealed = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
        content = load_object(_sealer(settings).open(name, sealed))
    except (ValueError, binascii.Error):
        return None
    is_complete = isinstance(content.get("until"), int) and isinstance(content.get("data"), dict)
    return content if is_complete else None


def clear_cookie(settings: Settings, purpose: str) -> str:
    """Make the ``Set-Cookie`` value that removes the cookie of a purpose."""
    return _set_cookie(settings, _name(settings, purpose), "", 0)


def _sealed(settings: Settings, purpose: str, data: Mapping[str, str], lifetime: int) -> str:
    name = _name(settings, purpose)
    return _set_cookie(settings, name, _sealed_value(settings, name, data, lifetime), lifetime)


def _sealed_value(settings: Settings, name: str, data: Mapping[str, str], lifetime: int) -> str:
    content = json.dumps({"until": int(_clock.wall()) + lifetime, "data": data}, ensure_ascii=False)
    sealed = _sealer(settings).seal(name, content.encode())
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _field(purpose: str) -> str:
    """Return the name that data in a field is sealed under; no cookie has it, so neither opens as the other."""
    return f"field {purpose}"


def _set_cookie(settings: Settings, name: str, value: str, max_age: int) -> str:
    # Lax: a provider's redirect back to us is a link on another site.
    return set_cookie(settings, name, value, max_age, same_site="Lax")


def _name(settings: Settings, purpose: str) -> str:
    """Return the cookie's name. ``__Host-`` keeps other hosts of the domain from setting one.

    Source: RFC 6265bis section 4.1.3.2.
    """
    assert settings.cookies is not None
    return f"{'' if settings.cookies.insecure_development else '__Host-'}moonkey_{purpose}"


def _sealer(settings: Settings) -> RotatingSealer:
    return rotating_sealer(settings, "flow cookie")
