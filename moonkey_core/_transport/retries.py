"""What a call consists of, for whoever sends and waits: the fleet's store, bounded tries, a watch over each."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from dataclasses import replace

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Outcome, Reply, StorePolicy, TransportError
from moonkey_core._strict_json import load_object
from moonkey_core._transport.circuit_breaker import CircuitBreaker, failure_of
from moonkey_core._transport.replies import api_error, http_date, retry_after
from moonkey_core.events import Hooks, UpstreamCall

logger = logging.getLogger("moonkey")

_MAX_ATTEMPTS = 2
_BACKOFF = (0.05, 0.25)  # seconds, jittered between
_JITTER = random.SystemRandom()  # workers that were forked share the state of any other
_PRIORITY_OPERATIONS = ("jwks", "key-probe")  # all credentials depend on these

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


def has_priority(fetch: Fetch) -> bool:
    """Whether a call goes before others where calls have to wait."""
    return fetch.priority or not fetch.uses_breaker or fetch.operation in _PRIORITY_OPERATIONS


class LoadFromStore:
    """Look into the store; the answer is what it holds."""

    __slots__ = ("policy",)

    def __init__(self, policy: StorePolicy) -> None:
        self.policy = policy


class SaveToStore:
    """Put a reply into the store."""

    __slots__ = ("policy", "reply")

    def __init__(self, policy: StorePolicy, reply: Reply) -> None:
        self.policy = policy
        self.reply = reply


class SendRequest:
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


CallSteps = Generator[LoadFromStore | SaveToStore | SendRequest | Sleep, Outcome | None, Outcome]


def call_steps(fetch: Fetch, remaining: Callable[[], float], has_store: bool, monitor: CallMonitor) -> CallSteps:
    """A call, for whoever looks up, sends and sleeps: the store before and after the tries."""
    policy = fetch.store_policy if has_store else None
    if policy is not None and policy.read:
        found = yield LoadFromStore(policy)
        if isinstance(found, Reply):
            return replace(found, from_store=True)
    if fetch.pause:
        yield Sleep(fetch.pause)
    outcome = yield from _attempts(fetch, remaining, monitor)
    if policy is not None and isinstance(outcome, Reply) and outcome.status == 200:
        yield SaveToStore(policy, outcome)
    return outcome


def _attempts(fetch: Fetch, remaining: Callable[[], float], monitor: CallMonitor) -> CallSteps:
    """The bounded retry loop."""
    outcome: Outcome = TransportError("timeout", unsent=True)
    for attempt in range(_MAX_ATTEMPTS):
        if remaining() <= 0:
            break
        answer = yield SendRequest(remaining())
        assert answer is not None
        if isinstance(answer, TransportError):  # one that was not even begun has not been told yet
            answer = _with_address(answer, fetch)
        if attempt and isinstance(answer, TransportError):
            if answer.kind in ("busy", "circuit_open"):
                break  # what came of the first try says more
            unsent = answer.unsent and isinstance(outcome, TransportError) and outcome.unsent
            answer = replace(answer, unsent=unsent)
        outcome = answer
        wait = _retry_delay(fetch, outcome)
        if attempt == _MAX_ATTEMPTS - 1 or wait is None or wait >= remaining():
            break
        if monitor.closed or monitor.refuses(fetch):
            break
        yield Sleep(wait)
    return outcome


def _with_address(outcome: Outcome, fetch: Fetch) -> Outcome:
    """An outcome that says whom we called and, where no reply came, why."""
    if isinstance(outcome, Reply):
        return replace(outcome, address=fetch.address)
    return replace(outcome, address=fetch.address, cause=outcome.cause or _CAUSES[outcome.kind])


def _retry_delay(fetch: Fetch, outcome: Outcome) -> float | None:
    """Seconds to wait before trying again, or ``None`` where that is of no use or could do harm."""
    backoff = _JITTER.uniform(*_BACKOFF)
    if isinstance(outcome, TransportError):
        if outcome.kind in ("busy", "circuit_open"):
            return None
        safe = outcome.unsent or (fetch.idempotent and outcome.kind == "broken")
        return backoff if safe else None
    if outcome.status == 429 or (outcome.status >= 500 and fetch.idempotent):
        return max(backoff, retry_after(outcome) or 0.0)
    return None


class CallMonitor:
    """Sees every try: asks the breaker before it, tells breaker and hooks after it. Once ``closed``, no more."""

    def __init__(self, breaker: CircuitBreaker | None, hooks: Hooks | None, leeway: float = 0.0) -> None:
        self.hooks = Hooks() if hooks is None else hooks
        self.breaker = CircuitBreaker(self.hooks) if breaker is None else breaker
        self.closed = False
        self._api_clock = _clock.RemoteClock(leeway)

    def compare_clocks(self, fetch: Fetch, reply: Reply, asked_at: float) -> None:
        """Compare our clock with the API's, which dates JWTs: a difference beyond the leeway is logged once."""
        if fetch.operation == "jwks" or "age" in reply.headers:
            return  # it may come from a cache
        date = http_date(reply.headers.get("date", ""))
        if date is None or not self._api_clock.observe(date, date + _DATE_WIDTH, asked_at, _clock.wall()):
            return
        if self._api_clock.is_wrong:
            logger.warning(
                "the clock of this machine is %s that of the API (by the Date of its replies), more than leeway "
                "allows: JWTs may be refused or accepted at the wrong time. Set it by NTP",
                self._api_clock.describe_difference(),
                extra={"reason": "clock_skew_api"},
            )
        else:
            logger.info("the clock agrees with that of the API again", extra={"reason": "clock_agrees_api"})

    def refuses(self, fetch: Fetch) -> bool:
        """Whether the breaker would refuse a call now."""
        return fetch.uses_breaker and self.breaker.refuses(has_priority(fetch))

    def begin_attempt(self, fetch: Fetch, seconds: float, waited: float) -> Attempt | None:
        """A try that may be made now, with so many seconds left after waiting; ``None`` if the breaker refuses."""
        if fetch.uses_breaker and not self.breaker.admit(has_priority(fetch)):
            return None
        return Attempt(self, fetch, counts_timeout=waited <= seconds)


class Attempt:
    """One attempt under way.

    ``counts_timeout`` is false where the call has waited so long that a time-out is not the API's fault.
    """

    __slots__ = ("_began", "_counts_timeout", "_fetch", "_monitor", "asked_at")

    def __init__(self, monitor: CallMonitor, fetch: Fetch, counts_timeout: bool) -> None:
        self._monitor = monitor
        self._fetch = fetch
        self._counts_timeout = counts_timeout
        self.asked_at = _clock.wall()
        self._began = _clock.elapsed()

    def finished(self, outcome: Outcome) -> Outcome:
        """It came to an outcome; a reply gets its time."""
        outcome = _with_address(outcome, self._fetch)
        self._emit_event(outcome.status if isinstance(outcome, Reply) else None, failure_of(outcome))
        if self._counts_timeout or not (isinstance(outcome, TransportError) and outcome.kind == "timeout"):
            self._monitor.breaker.remember(outcome)
            if self._fetch.uses_breaker:
                self._monitor.breaker.count(outcome, _is_api_reply)
        if not isinstance(outcome, Reply):
            return outcome
        self._monitor.compare_clocks(self._fetch, outcome, self.asked_at)
        return Reply(outcome.status, outcome.headers, outcome.body, self.asked_at, address=outcome.address)

    def cancelled(self) -> None:
        """Whoever asked went away."""
        self._emit_event(None, "cancelled")

    def _emit_event(self, status: int | None, trouble: str | None) -> None:
        if self._monitor.hooks:
            seconds = _clock.elapsed() - self._began
            trouble = None if status is not None else trouble
            self._monitor.hooks.emit(UpstreamCall(self._fetch.operation, self.asked_at, seconds, status, trouble))


def _is_api_reply(reply: Reply) -> bool:
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
