"""What a provider is asked about a credential, and what it answers where it is good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.credentials import Credentials


@dataclass(slots=True, eq=False, repr=False)
class Question:
    """Is this credential good? ``digest`` stands for it wherever it must not stand itself.

    With ``minutes``, its session is also extended. ``session_id`` and ``users`` are what the credential itself
    names. ``refresh``: it is a JWT whose time is over. ``known``: it was good before. ``max_staleness`` (seconds):
    how old an answer may be. ``session_is_gone`` is set where the API says that it is the session which is over.
    """

    credentials: Credentials
    digest: bytes = field(repr=False)
    minutes: int | None = None
    session_id: str | None = None
    users: Iterable[str] = ()
    refresh: bool = False
    known: bool = False
    max_staleness: float | None = None
    session_is_gone: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Answer:
    """It is, as of ``asked_at``. All times are Unix seconds; the others are its session's.

    ``body`` is the whole answer, with credentials; ``fresh_jwt`` is a new JWT for the same session, where a
    refresh was asked for.
    """

    session_id: str
    user_id: str
    started_at: float | None
    ends_at: float
    fresh_jwt: str | None = field(repr=False)
    asked_at: float = 0.0
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
