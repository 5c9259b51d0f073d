"""A revocation as a value, and the checks of what it is made of."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import field, replace
from datetime import datetime

from moonkey_core._dataclass import dataclass
from moonkey_core._verified import DEFAULT_SCOPE, Key

MAX_CLOCK_AHEAD = 60.0
"""Seconds that a time may lie in the future: the largest clock difference that can be configured."""

_SCOPE = r"[!\"$-~]{1,255}"  # visible ASCII without "#", which no issuer has


def parts_of(key: Key) -> tuple[str, str]:
    """Return the scope and the id of a key."""
    return (DEFAULT_SCOPE, key) if isinstance(key, str) else key


def as_it_is(user_id: str) -> str:
    """Return a user's id: the normal form where there is one spelling only."""
    return user_id


def checked_scope(value: object) -> str:
    """Return a scope as it is.

    Raises:
        ValueError: It is not at most 255 visible ASCII characters, without ``#``.
    """
    if not isinstance(value, str) or not re.fullmatch(_SCOPE, value):
        raise ValueError("not a scope")
    return value


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation: of a session, or of everything that was issued up to a time to one user or to all users.

    A report is an entry with ``confirm_before`` and a session or a credential: the provider has said that a
    credential of a session is dead. The session may go on with another credential, so a report by itself refuses
    nothing. Without a session, and without ``issued_before``, it stands for sessions that the provider has ended
    and that are not remembered singly, of one user or of all users.

    All times are Unix seconds.

    Attributes:
        session_id: The session, which is revoked as a whole, unless this is a report about it; or ``None``.
        user_id: The user; ``None`` together with ``session_id`` for all users.
        issued_before: Revoked is what was issued at or before this time, by the dates of JWTs and sessions.
            ``None`` for a session.
        added_at: When the entry was added, by the clock of this machine. It shows the age of the entry.
        exempt_session_id: A session of the user that is not revoked.
        confirm_before: What was issued to the user after ``issued_before``, but at or before this time, has to be
            confirmed by the API. In a report: what the API has not vouched for since this time.
        by_local_clock: Whether ``issued_before`` and ``confirm_before`` are by the clock of this machine, as the
            common clock was not known.
        is_precaution: Whether it stands for entries that there was no room for. It refuses everything, and says of
            no session that it is over.
        credential: In a report on a session whose id is unknown, the keyed digest of the dead credential.
        scope: Whose ids these are: ``moonkey``, or an issuer.
        is_ended: Whether the provider has confirmed that it has ended the session, or all those of the user. So it
            accepts none of their credentials any more.
        owner: Of a session, its user. Of what the app has recorded, the id of all records of its user. ``None``
            where unknown.
        is_record: Whether it is not a session that is revoked, but what the app has recorded of a user.
        ends_records: Of a report on all users: whether what was recorded until then is over.
    """

    session_id: str | None
    user_id: str | None
    issued_before: float | None
    added_at: float
    exempt_session_id: str | None = None
    confirm_before: float | None = None
    by_local_clock: bool = field(default=False, compare=False, repr=False)
    credential: str | None = field(default=None, repr=False)
    is_precaution: bool = field(default=False, compare=False, repr=False)
    scope: str = DEFAULT_SCOPE
    is_ended: bool = field(default=False, compare=False, repr=False)
    owner: str | None = field(default=None, compare=False, repr=False)
    is_record: bool = field(default=False, compare=False, repr=False)
    ends_records: bool = field(default=False, compare=False, repr=False)

    @property
    def is_report(self) -> bool:
        """Whether the entry only reports a dead credential."""
        return self.confirm_before is not None and (self.session_id is not None or self.credential is not None)

    @property
    def is_overflow(self) -> bool:
        """Whether the entry is a report on all that a user, or all users, had until then."""
        return self.confirm_before is not None and self.issued_before is None and not self.is_report

    def shifted(self, offset: float) -> Revocation:
        """Return the entry by the common clock, which is ``offset`` seconds ahead of that of this machine."""
        return self._with_times(lambda at: at + offset) if self.by_local_clock else self

    def limited_to(self, latest: float) -> Revocation:
        """Return the entry without what is issued after ``latest``."""
        revoked, confirm = self.issued_before, self.confirm_before
        # Nearly all are like that, and a copy is what costs most of receiving one.
        is_earlier = (revoked is None or revoked <= latest) and (confirm is None or confirm <= latest)
        if is_earlier and not self.by_local_clock:
            return self
        return self._with_times(lambda at: min(at, latest))

    def _with_times(self, change: Callable[[float], float]) -> Revocation:
        revoked, confirm = (None if at is None else change(at) for at in (self.issued_before, self.confirm_before))
        return replace(self, issued_before=revoked, confirm_before=confirm, by_local_clock=False)


def unix_seconds(value: object) -> float:
    """Convert ``issued_before`` to Unix seconds."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("issued_before has no time zone: use datetime.now(UTC) or the like.")
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise ValueError("issued_before must be an aware datetime or Unix seconds.")


_CREDENTIAL = "credential_"


def credential_id(digest: str) -> str:
    """Return what stands in the place of a session id where a credential is revoked by itself."""
    return f"{_CREDENTIAL}{digest}"


def credential_in(entry: Revocation) -> str | None:
    """Return the keyed digest of the credential that an entry revokes by itself; ``None`` for any other entry."""
    session_id = entry.session_id
    if entry.is_report or session_id is None or not session_id.startswith(_CREDENTIAL):
        return None
    return session_id.removeprefix(_CREDENTIAL)
