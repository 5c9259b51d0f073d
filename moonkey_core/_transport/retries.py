"""What a call consists of, for whoever sends and waits: the fleet's store, bounded tries, a watch over each."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from dataclasses import replace

from moonkey_core import _clock
from moonkey_core._other_clock import OtherClock
from moonkey_core._plan import Fetch, Outcome, Reply, Stored, TransportError
from moonkey_core._strict_json import load_object
from moonkey_core._transport.circuit_breaker import Breaker, failure
from moonkey_core._transport.replies import api_error, http_date, retry_after
from moonkey_core.events import Hooks, UpstreamCall

logger = logging.getLogger("moonkey")

_TRIES = 2
_BACKOFF = (0.05, 0.25)  # seconds, jittered between
_JITTER = random.SystemRandom()  # workers that were forked share the state of any other
_GOES_FIRST = ("jwks", "key-probe")  # all credentials depend on these

_DATE_WIDTH = 2.0  # seconds: a date is cut to whole ones, and many servers make a new one once a second only
_CAUSES = {
    "connect": "no connection",
    "timeout": "timed out",
    "broken": "broken off",
    "too_large": "the reply is too large",
    "busy": "too many calls are waiting already",
    "circuit_open": "not asked, since the calls before have failed",
}
"""What is said of a call that failed, where nothing more is known."""

CLOSED = TransportError("broken", unsent=True)  # by another thread or task, meanwhile
CIRCUIT_OPEN = TransportError("circuit_open", unsent=True)


def goes_first(fetch: Fetch) -> bool:
    """Whether a call goes before others where calls have to wait."""
    return fetch.known or not fetch.trips or fetch.operation in _GOES_FIRST


class Look:
    """Look into the store; the answer is what it holds."""

    __slots__ = ("stored",)

    def __init__(self, stored: Stored) -> None:
        self.stored = stored


class Keep:
    """Put a reply into the store."""

    __slots__ = ("reply", "stored")

    def __init__(self, stored: Stored, reply: Reply) -> None:
        self.stored = stored
        self.reply = reply


class Send:
    """Send the request now; it may take this many seconds. The answer is its outcome."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Sleep:
    """Wait before a try."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def time_left(fetch: Fetch, deadline: float) -> Callable[[], float]:
    """How many seconds a call has left, by the deadline of its plan (monotonic seconds) and its own."""
    end = deadline
    if fetch.timeout is not None:
        own = _clock.elapsed() + fetch.timeout
        end = own if fetch.own_deadline else min(deadline, own)
    return lambda: end - _clock.elapsed()


Steps = Generator[Look | Keep | Send | Sleep, Outcome | None, Outcome]


def steps(fetch: Fetch, remaining: Callable[[], float], has_store: bool, watch: Watch) -> Steps:
    """A call, for whoever looks up, sends and sleeps: the store before and after the tries."""
    stored = fetch.stored if has_store else None
    if stored is not None and stored.look:
        found = yield Look(stored)
        if isinstance(found, Reply):
            return replace(found, stored=True)
    if fetch.pause:
        yield Sleep(fetch.pause)
    outcome = yield from _tries(fetch, remaining, watch)
    if stored is not None and isinstance(outcome, Reply) and outcome.status == 200:
        yield Keep(stored, outcome)
    return outcome


def _tries(fetch: Fetch, remaining: Callable[[], float], watch: Watch) -> Steps:
    """The bounded retry loop."""
    outcome: Outcome = TransportError("timeout", unsent=True)
    for attempt in range(_TRIES):
        if remaining() <= 0:
            break
        answer = yield Send(remaining())
        assert answer is not None
        if isinstance(answer, TransportError):  # one that was not even begun has not been told yet
            answer = _located(answer, fetch)
        if attempt and isinstance(answer, TransportError):
            if answer.kind in ("busy", "circuit_open"):
                break  # what came of the first try says more
            unsent = answer.unsent and isinstance(outcome, TransportError) and outcome.unsent
            answer = replace(answer, unsent=unsent)
        outcome = answer
        wait = _retry_wait(fetch, outcome)
        if attempt == _TRIES - 1 or wait is None or wait >= remaining():
            break
        if watch.closed or watch.refuses(fetch):
            break
        yield Sleep(wait)
    return outcome


def _located(outcome: Outcome, fetch: Fetch) -> Outcome:
    """An outcome that says whom we called and, where no reply came, why."""
    if isinstance(outcome, Reply):
        return replace(outcome, address=fetch.address)
    return replace(outcome, address=fetch.address, cause=outcome.cause or _CAUSES[outcome.kind])


def _retry_wait(fetch: Fetch, outcome: Outcome) -> float | None:
    """Seconds to wait before trying again, or ``None`` where that is of no use or could do harm."""
    backoff = _JITTER.uniform(*_BACKOFF)
    if isinstance(outcome, TransportError):
        if outcome.kind in ("busy", "circuit_open"):
            return None
        safe = outcome.unsent or (fetch.repeatable and outcome.kind == "broken")
        return backoff if safe else None
    if outcome.status == 429 or (outcome.status >= 500 and fetch.repeatable):
        return max(backoff, retry_after(outcome) or 0.0)
    return None


class Watch:
    """Sees every try: asks the breaker before it, tells breaker and hooks after it. Once ``closed``, no more."""

    def __init__(self, breaker: Breaker | None, hooks: Hooks | None, leeway: float = 0.0) -> None:
        self.hooks = Hooks() if hooks is None else hooks
        self.breaker = Breaker(self.hooks) if breaker is None else breaker
        self.closed = False
        self._api_clock = OtherClock(leeway)

    def note_date(self, fetch: Fetch, reply: Reply, asked_at: float) -> None:
        """Compare our clock with the API's, which dates JWTs: a difference beyond the leeway is logged once."""
        if fetch.operation == "jwks" or "age" in reply.headers:
            return  # it may come from a cache
        date = http_date(reply.headers.get("date", ""))
        if date is None or not self._api_clock.saw(date, date + _DATE_WIDTH, asked_at, _clock.wall()):
            return
        if self._api_clock.is_wrong:
            logger.warning(
                "the clock of this machine is %s that of the API (by the Date of its replies), more than leeway "
                "allows: JWTs may be refused or accepted at the wrong time. Set it by NTP",
                self._api_clock.difference(),
                extra={"reason": "clock_skew_api"},
            )
        else:
            logger.info("the clock agrees with that of the API again", extra={"reason": "clock_agrees_api"})

    def refuses(self, fetch: Fetch) -> bool:
        """Whether the breaker would refuse a call now."""
        return fetch.trips and self.breaker.refuses(goes_first(fetch))

    def begin(self, fetch: Fetch, seconds: float, waited: float) -> Try | None:
        """A try that may be made now, with so many seconds left after waiting; ``None`` if the breaker refuses."""
        if fetch.trips and not self.breaker.admit(goes_first(fetch)):
            return None
        return Try(self, fetch, fair=waited <= seconds)


class Try:
    """One try under way. Where ``fair`` is false it has waited so long that a time-out is not the API's fault."""

    __slots__ = ("_began", "_fair", "_fetch", "_watch", "asked_at")

    def __init__(self, watch: Watch, fetch: Fetch, fair: bool) -> None:
        self._watch = watch
        self._fetch = fetch
        self._fair = fair
        self.asked_at = _clock.wall()
        self._began = _clock.elapsed()

    def ended(self, outcome: Outcome) -> Outcome:
        """It came to an outcome; a reply gets its time."""
        outcome = _located(outcome, self._fetch)
        self._tell(outcome.status if isinstance(outcome, Reply) else None, failure(outcome))
        if self._fair or not (isinstance(outcome, TransportError) and outcome.kind == "timeout"):
            self._watch.breaker.remember(outcome)
            if self._fetch.trips:
                self._watch.breaker.count(outcome, _is_understood)
        if not isinstance(outcome, Reply):
            return outcome
        self._watch.note_date(self._fetch, outcome, self.asked_at)
        return Reply(outcome.status, outcome.headers, outcome.body, self.asked_at, address=outcome.address)

    def dropped(self) -> None:
        """Whoever asked went away."""
        self._tell(None, "cancelled")

    def _tell(self, status: int | None, trouble: str | None) -> None:
        if self._watch.hooks:
            seconds = _clock.elapsed() - self._began
            trouble = None if status is not None else trouble
            self._watch.hooks.emit(UpstreamCall(self._fetch.operation, self.asked_at, seconds, status, trouble))


def _is_understood(reply: Reply) -> bool:
    """Whether the API itself has answered, rather than something in front of it."""
    if 200 <= reply.status < 300:
        try:
            load_object(reply.body)
        except ValueError:
            return False
        return True
    if not 400 <= reply.status < 500:
        return False
    return api_error(reply) is not None or (reply.status == 401 and not reply.body)
