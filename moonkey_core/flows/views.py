"""What is shown of users, sessions and devices: plain data for JSON and pages, and never a credential."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from moonkey_core.errors import MalformedCredentials
from moonkey_core.flows.routes import FlowRequest
from moonkey_core.models import Device, Session
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import cookie_lines, one_cookie
from moonkey_core.web.texts import TEXTS, Translate, text_of

_WORDS = TEXTS["views"]

_MAX_DEVICE_NAME = 60  # characters
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]{0,31}(?:/[A-Za-z0-9_+\-]{1,31}){0,2}")  # a name of the IANA database

# The order matters: most browsers also name those that they descend from.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)


def session_view(session: Session) -> dict[str, Any]:
    """Show a session: ``Session.to_dict()``, the seconds that are left, and a name for its device."""
    return {
        **session.to_dict(),
        "expires_in": int(session.expires_in.total_seconds()),
        "device": device_view(session.device),
    }


def session_list_views(sessions: tuple[Session, ...], current_id: str) -> list[dict[str, Any]]:
    """Show all sessions of a user: the current one first, then the last used ones first."""
    never = datetime.min.replace(tzinfo=UTC)
    by_use = sorted(sessions, key=lambda one: one.last_active_at or one.started_at or never, reverse=True)
    ordered = sorted(by_use, key=lambda one: one.id != current_id)
    return [{**_list_entry(session), "current": session.id == current_id} for session in ordered]


def page_view(
    view: dict[str, Any], routes: str, zone: tzinfo = UTC, translate: Translate | None = None
) -> dict[str, Any]:
    """Extend a view from :func:`session_list_views` for a page: its times in words, and the path that ends it.

    Args:
        view: The view of one session.
        routes: The path under which the routes are mounted.
        zone: The time zone of the reader.
        translate: The app's translation; ``None`` for English.
    """
    moments = ("started_at", "last_active_at", "expires_at")
    words = {f"{name}_words": time_in_words(view[name], zone, translate) for name in moments}
    device = {**view["device"], "name": describe_device(view["device"]["user_agent"], translate)}
    return {
        **view,
        **words,
        "device": device,
        "revoke_url": f"{routes}/sessions/{quote(view['id'], safe='')}/revoke",
    }


def device_view(device: Device | None) -> dict[str, str | None]:
    """Show a device: its description, and the user agent and address that the provider stored."""
    known = Device() if device is None else device
    return {"name": describe_device(known.user_agent), **known.to_dict()}


def time_in_words(moment: str | None, zone: tzinfo = UTC, translate: Translate | None = None) -> str:
    """Format an ISO 8601 time for a reader in this time zone; empty where it is not known."""
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment)
    if at.tzinfo is not None:
        with suppress(OverflowError):  # at the end of the calendar
            at = at.astimezone(zone)
    name = at.tzname() or "UTC"
    values = {
        "day": at.day,
        "month": text_of(_WORDS[f"month_{at.month}"], {}, translate),
        "year": at.year,
        "time": f"{at:%H:%M}",
        "zone": f"UTC{name}" if name[0] in "+-" else name,
    }
    return text_of(_WORDS["moment"], values, translate)


def reader_zone(request: FlowRequest, settings: Settings) -> tzinfo:
    """Return the time zone of the reader: by the app's cookie, else as the framework knows it, else UTC."""
    name = settings.sign_in.time_zone_cookie
    named = None if name is None else _zone_in_cookie(request, name)
    return named or request.time_zone or UTC


def _zone_in_cookie(request: FlowRequest, name: str) -> tzinfo | None:
    try:
        value = unquote(one_cookie(cookie_lines(request.headers), name) or "")
        return ZoneInfo(value) if _ZONE.fullmatch(value) else None
    except (MalformedCredentials, ValueError, KeyError, OSError):  # no such zone, or no data about any
        return None


def describe_device(user_agent: str | None, translate: Translate | None = None) -> str:
    """Describe a device by its user agent, such as "Chrome on Windows".

    It is a guess, as a client may send any user agent. Where the browser is not known, it is the start of the user
    agent itself.
    """
    text = user_agent or ""
    browser = _first_match(_BROWSERS, text) if text.startswith("Mozilla/5.0 (") else None
    if browser == "Safari" and "Safari/" not in text:
        browser = None
    system = _first_match(_SYSTEMS, text)
    if browser is not None:
        names = {"browser": browser, "system": system}
        return browser if system is None else text_of(_WORDS["device_on"], names, translate)
    plain = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_DEVICE_NAME])
    plain = " ".join(plain.split())
    if not plain:
        return text_of(_WORDS["device_unknown"], {}, translate)
    return plain if len(plain) <= _MAX_DEVICE_NAME else plain[: _MAX_DEVICE_NAME - 1].rstrip() + "…"


def _list_entry(session: Session) -> dict[str, Any]:
    view = session_view(session)
    return {name: view[name] for name in ("id", "device", "started_at", "last_active_at", "expires_at")}


def _first_match(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for mark, name in table if mark in text), None)
