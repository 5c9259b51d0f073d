"""What a provider is asked about a credential, and what it answers where it is good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.errors import MoonKeyError
from moonkey_core.lag import REFRESH_SECONDS
from moonkey_core.web.credentials import Credentials


@dataclass(slots=True, eq=False, repr=False)
class Question:
    """Is this credential good? ``digest`` stands for it wherever it must not stand itself.

    With ``minutes``, its session is also extended; ``extend_by`` (minutes) does so by the way, and may share its
    answer. ``session_id`` and ``users`` are what the credential itself names. ``refresh``: a JWT whose time is
    over is to be renewed; ``linger`` is how many seconds that answer is shared. ``wants_jwt``: a new one is
    welcome. ``known``: it was good before. ``max_staleness`` (seconds): how old an answer may be.
    ``unextended`` is set where the credential was judged without extending its session, as the API refused that.
    """

    credentials: Credentials
    digest: bytes = field(repr=False)
    minutes: int | None = None
    session_id: str | None = None
    users: Iterable[str] = ()
    refresh: bool = False
    wants_jwt: bool = False
    extend_by: int | None = None
    linger: float = REFRESH_SECONDS
    known: bool = False
    max_staleness: float | None = None
    unextended: MoonKeyError | None = None

    @property
    def asks_for(self) -> int | None:
        """How many minutes the session is to last from now, if it is to be extended."""
        return self.extend_by if self.minutes is None else self.minutes


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
