"""What is shown of users, sessions and devices: plain data for JSON and pages, and never a credential."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from moonkey_core.models import Device, Session

# In English whatever the locale of the server, which is not that of the reader.
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_MAX_DEVICE_NAME = 60  # characters

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


def page_view(view: dict[str, Any], routes: str) -> dict[str, Any]:
    """Extend a view from :func:`session_list_views` for a page: its times in words, and the path that ends it.

    Args:
        view: The view of one session.
        routes: The path under which the routes are mounted.
    """
    words = {f"{name}_words": time_in_words(view[name]) for name in ("started_at", "last_active_at", "expires_at")}
    return {**view, **words, "revoke_url": f"{routes}/sessions/{quote(view['id'], safe='')}/revoke"}


def device_view(device: Device | None) -> dict[str, str | None]:
    """Show a device: its description, and the user agent and address that the provider stored."""
    known = Device() if device is None else device
    return {"name": describe_device(known.user_agent), **known.to_dict()}


def time_in_words(moment: str | None) -> str:
    """Format an ISO 8601 time for a reader; empty where it is not known."""
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC"


def describe_device(user_agent: str | None) -> str:
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
        return browser if system is None else f"{browser} on {system}"
    plain = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_DEVICE_NAME])
    plain = " ".join(plain.split())
    if not plain:
        return "Unknown device"
    return plain if len(plain) <= _MAX_DEVICE_NAME else plain[: _MAX_DEVICE_NAME - 1].rstrip() + "…"


def _list_entry(session: Session) -> dict[str, Any]:
    view = session_view(session)
    return {name: view[name] for name in ("id", "device", "started_at", "last_active_at", "expires_at")}


def _first_match(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for mark, name in table if mark in text), None)
