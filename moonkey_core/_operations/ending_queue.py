"""Sessions that are to end, and of whose end the API could not be told yet. In memory, bounded, without I/O."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Literal
from weakref import finalize

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._fork import reset_after_fork
from moonkey_core._repeated_log import log_repeated

_MOST = 1000
_MOST_CHARACTERS = 1024 * 1024
_LONGEST = 86_400.0  # seconds that one of them is tried again

EndingKind = Literal["session_id", "session_token", "session_jwt", "user_id"]


@dataclass(frozen=True, slots=True)
class Ending:
    """One session that is to end, or all of a user that began before a time.

    Attributes:
        kind: What ``value`` is.
        value: An id, or a credential.
        session_id: The id of the session; empty where it is unknown.
        user_id: The id of the user; empty where it is unknown.
        kept: Of all sessions of a user, the id of the one that goes on.
        before: Of all sessions of a user, those go that began by this time (Unix seconds).
        scope: The scope of the ids; ``None`` where the provider has only one.
    """

    kind: EndingKind
    value: str = field(repr=False)
    session_id: str = ""
    user_id: str = ""
    kept: str | None = None
    before: float = 0.0
    scope: str | None = None

    @property
    def characters(self) -> int:
        """How much it takes up."""
        return sum(len(text or "") for text in (self.value, self.session_id, self.user_id, self.kept))


@dataclass(slots=True)
class _Waiting:
    since: float  # monotonic seconds
    refused_at: float


class EndingQueue:
    """The endings that are tried again, in turn. Thread-safe.

    What is left when the process ends, or the client is closed, is lost; an error in the log says so.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Ending, _Waiting] = {}
        self._is_running = False
        self._is_closed = False
        finalize(self, _report, self._waiting)  # at the end of the process, too
        reset_after_fork(self.reset)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ending: Ending) -> bool:
        """Add one that is refused already; return ``False`` where there is no room, or the client is closed."""
        now = _clock.monotonic()
        with self._lock:
            if ending in self._waiting:
                return True
            taken = sum(one.characters for one in self._waiting)
            is_full = len(self._waiting) >= _MOST or taken + ending.characters > _MOST_CHARACTERS
            if is_full or self._is_closed:
                return False
            self._waiting[ending] = _Waiting(now, now)
            return True

    def claim(self) -> bool:
        """Return whether the caller has to run the retries, as nothing else does."""
        with self._lock:
            if self._is_running or not self._waiting:
                return False
            self._is_running = True
            return True

    def next(self) -> Ending | None:
        """Return the next one to try; ``None`` ends what :meth:`claim` began."""
        with self._lock:
            ending = next(iter(self._waiting), None)
            self._is_running = ending is not None
            return ending

    def remove(self, ending: Ending) -> None:
        """Remove one that has been carried out, or is given up."""
        with self._lock:
            self._waiting.pop(ending, None)

    def postpone(self, ending: Ending) -> bool:
        """Try one again after all others; return ``False`` where it was removed, as its time is over."""
        with self._lock:
            waiting = self._waiting.pop(ending, None)
            if waiting is None:
                return True  # removed meanwhile by others, who have said so
            is_over = _clock.monotonic() - waiting.since >= _LONGEST
            if not is_over:
                self._waiting[ending] = waiting
            return not is_over

    def to_refuse_again(self, seconds: float) -> Iterator[Ending]:
        """Yield those that were refused so many seconds ago; they count as refused now."""
        now = _clock.monotonic()
        with self._lock:
            found = [one for one, waiting in self._waiting.items() if now - waiting.refused_at >= seconds]
            for one in found:
                self._waiting[one].refused_at = now
        yield from found

    def give_up(self) -> None:
        """Remove all, with an error in the log where there are any."""
        with self._lock:
            self._is_running = False
            lost = dict(self._waiting)
            self._waiting.clear()
        _report(lost)

    def close(self) -> None:
        """Give all up, and take no more."""
        with self._lock:
            self._is_closed = True
        self.give_up()

    def reset(self) -> None:
        """Forget all in the child of a fork: the parent process goes on with them."""
        self._lock = threading.Lock()
        self._waiting.clear()
        self._is_running = False


def log_given_up(count: int, cause: str) -> None:
    """Log that the API was not told of the end of so many sessions, and why it is told no more."""
    log_repeated(
        logging.ERROR,
        "the API was not told of the end of %d sessions or users, which may still be active: %s",
        count,
        cause,
        extra={"reason": "session_end_given_up"},
        sentence=cause,
    )


def _report(lost: Mapping[Ending, _Waiting]) -> None:
    if lost:
        log_given_up(len(lost), "this client has ended, and they are no longer refused here")
