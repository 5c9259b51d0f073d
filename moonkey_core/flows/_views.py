"""What is shown of users, sessions and devices: plain data for JSON and pages, and never a credential."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from moonkey_core.flows._devices import describe_device
from moonkey_core.models import Device, Session


def session_view(session: Session) -> dict[str, Any]:
    """A session, with the seconds that it has left, and a name for its device."""
    return {
        **session.to_dict(),
        "expires_in": int(session.expires_in.total_seconds()),
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
    known = Device() if device is None else device
    return {"name": describe_device(known.user_agent), **known.to_dict()}


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
