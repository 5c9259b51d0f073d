"""What is shown of users, sessions and devices: plain data for JSON and pages, and never a credential."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from moonkey_core.models import Device, Session, User


def user_view(user: User) -> dict[str, Any]:
    """A user. ``complete`` is false where only the id is known."""
    return {
        "id": user.id,
        "email": user.email,
        "phone_number": user.phone_number,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "complete": user.complete,
    }


def session_view(session: Session) -> dict[str, Any]:
    """A session, with its times in ISO 8601; ``expires_in`` is in seconds."""
    factors = [
        {
            "type": factor.type,
            "delivery_channel": factor.delivery_channel,
            "last_verified_at": iso(factor.last_verified_at),
        }
        for factor in session.factors
    ]
    return {
        "id": session.id,
        "started_at": iso(session.started_at),
        "expires_at": iso(session.expires_at),
        "expires_in": int(session.expires_in.total_seconds()),
        "last_active_at": iso(session.last_active_at),
        "factors": factors,
        "device": device_view(session.device),
    }


def listed_views(sessions: tuple[Session, ...], current: str) -> list[dict[str, Any]]:
    """All sessions of a user: the one with the id ``current`` first, then by when they were last used."""
    known = datetime.min.replace(tzinfo=UTC)
    newest = sorted(sessions, key=lambda one: one.last_active_at or one.started_at or known, reverse=True)
    ordered = sorted(newest, key=lambda one: one.id != current)
    return [{**_listed_view(session), "current": session.id == current} for session in ordered]


def for_page(view: dict[str, Any], routes: str) -> dict[str, Any]:
    """One of these for templates: its times also in words, and where to end it; ``routes`` is where they are."""
    words = {f"{name}_words": in_words(view[name]) for name in ("started_at", "last_active_at", "expires_at")}
    return {**view, **words, "revoke_url": f"{routes}/sessions/{quote(view['id'], safe='')}/revoke"}


def device_view(device: Device | None) -> dict[str, str | None]:
    """A device: in a few words, and what these are taken from."""
    agent, address = (None, None) if device is None else (device.user_agent, device.ip)
    return {"name": describe_device(agent), "user_agent": agent, "ip": address}


def iso(moment: datetime | None) -> str | None:
    """A time in ISO 8601, in whole seconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def in_words(moment: str | None) -> str:
    """Such a time for people; empty where it is not known."""
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC"


def _listed_view(session: Session) -> dict[str, Any]:
    whole = session_view(session)
    return {name: whole[name] for name in ("id", "device", "started_at", "last_active_at", "expires_at")}


# Not by the locale of the server, which knows nothing of the reader's.
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


_LONGEST_NAME = 60

# The order decides: most browsers also name those that they descend from.
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


def describe_device(user_agent: str | None) -> str:
    """A device in a few words; the start of the text itself where it is not that of a known browser."""
    text = user_agent or ""
    browser = _first(_BROWSERS, text) if text.startswith("Mozilla/5.0 (") else None
    if browser == "Safari" and "Safari/" not in text:
        browser = None
    system = _first(_SYSTEMS, text)
    if browser is not None:
        return browser if system is None else f"{browser} on {system}"
    plain = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST_NAME])
    plain = " ".join(plain.split())
    if not plain:
        return "Unknown device"
    return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1].rstrip() + "…"


def _first(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for mark, name in table if mark in text), None)
