"""The decisions of one call: shared store, bounded attempts, what each of them means for breaker and hooks.

:func:`call_steps` is a generator. It yields what is to be done next, and an exchange does it.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Generator
from dataclasses import replace

from moonkey_core import _clock
from moonkey_core._plan import ClaimState, Fetch, Outcome, Reply, StorePolicy, TransportError
from moonkey_core._repeated_log import log_repeated
from moonkey_core._tracing import CallSpan, CallTracer, begin_span, end_span
from moonkey_core._transport.call_budget import CallBudget
from moonkey_core._transport.circuit_breaker import NOT_TRIED, CircuitBreaker, failure_of
from moonkey_core._transport.replies import comes_from_service, http_date, retry_after
from moonkey_core.events import Hooks, UpstreamCall

logger: logging.Logger = logging.getLogger("moonkey")

_MAX_ATTEMPTS = 2
_BACKOFF = (0.05, 0.25)  # seconds, jittered between
_CLAIM_LOOKS = 4  # at the store, while another process makes the call
_CLAIM_PAUSE = (0.05, 0.2)  # seconds before the first of them, jittered between; the n-th pause is n times as long
_JITTER = random.SystemRandom()  # forked workers share the state of any other generator
_PRIORITY_OPERATIONS = ("jwks", "key-probe")  # the verification of all credentials depends on these

_DATE_WIDTH = 2.0  # seconds: a Date is cut to whole ones, and many servers make a new one once a second only
_CAUSES = {
    "connect": "no connection",
    "timeout": "timed out",
    "broken": "broken off",
    "too_large": "the reply is too large",
    "busy": "too many calls are waiting already",
    "circuit_open": "not asked, since the calls before have failed",
    "over_budget": "not asked, since call_budget is spent",
}
"""The cause of a failed call, where nothing more is known."""

CLOSED = TransportError("broken", unsent=True)  # by another thread or task, while the call waited
CIRCUIT_OPEN = TransportError("circuit_open", unsent=True)
_NO_TIME = TransportError("timeout", unsent=True)


def has_priority(fetch: Fetch) -> bool:
    """Return whether a call goes before others where calls have to wait."""
    return fetch.priority or not fetch.uses_breaker or fetch.operation in _PRIORITY_OPERATIONS


class LoadFromStore:
    """Load a reply from the shared store, and send it back into the generator, or ``None``."""

    __slots__ = ("policy",)

    def __init__(self, policy: StorePolicy) -> None:
        self.policy = policy


class SaveToStore:
    """Save a reply in the shared store."""

    __slots__ = ("policy", "reply")

    def __init__(self, policy: StorePolicy, reply: Reply) -> None:
        self.policy = policy
        self.reply = reply


class ClaimCall:
    """Claim the call for this process, and send the :data:`ClaimState` back into the generator."""

    __slots__ = ("policy", "token")

    def __init__(self, policy: StorePolicy, token: bytes) -> None:
        self.policy = policy
        self.token = token


class ReleaseCall:
    """End a claim that is held."""

    __slots__ = ("policy", "token")

    def __init__(self, policy: StorePolicy, token: bytes) -> None:
        self.policy = policy
        self.token = token


class SendRequest:
    """Send the request now, within ``seconds``, and send its outcome back into the generator.

    ``resend_count`` is how many times it was sent before.
    """

    __slots__ = ("resend_count", "seconds")

    def __init__(self, seconds: float, resend_count: int) -> None:
        self.seconds = seconds
        self.resend_count = resend_count


class Sleep:
    """Wait for ``seconds`` before an attempt."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def end_of(fetch: Fetch, deadline: float) -> float:
    """Return when a call has to have ended (monotonic seconds).

    Args:
        fetch: The call; its ``timeout`` begins now.
        deadline: That of the plan (monotonic seconds).
    """
    if fetch.timeout is None:
        return deadline
    own = _clock.elapsed() + fetch.timeout
    return own if fetch.own_deadline else min(deadline, own)


CallStep = LoadFromStore | SaveToStore | ClaimCall | ReleaseCall | SendRequest | Sleep
CallSteps = Generator[CallStep, Outcome | ClaimState | None, Outcome]


def begins_with_attempt(fetch: Fetch, has_store: bool) -> bool:
    """Return whether a call begins with its first attempt: no store is read, and nothing is waited for."""
    return not fetch.pause and (fetch.store_policy is None or not has_store)


def is_final(outcome: Outcome) -> bool:
    """Return whether an outcome is that of the call, without any further decision: mostly it is."""
    return isinstance(outcome, Reply) and outcome.status < 400


def call_steps(
    fetch: Fetch,
    end: float,
    has_store: bool,
    monitor: CallMonitor,
    first: Outcome | None = None,
) -> CallSteps:
    """Yield the steps of one call, and return its outcome.

    Args:
        fetch: The call.
        end: When it has to have ended (monotonic seconds).
        has_store: Whether there is a shared store.
        monitor: That of the exchange.
        first: The outcome of the first attempt, where the call began with it and it has been made.
    """
    policy = fetch.store_policy if has_store else None
    if policy is not None and policy.read:
        found = yield from _stored(policy)
        if found is not None:
            return found
    if fetch.pause:
        yield Sleep(fetch.pause)
    claim: bytes | None = None
    if policy is not None and policy.claim_seconds > 0:
        claimed = yield from _claimed_or_stored(policy, end)
        if isinstance(claimed, Reply):
            return claimed
        claim = claimed
    outcome = yield from _attempts(fetch, end, monitor, first)
    if policy is not None and isinstance(outcome, Reply) and outcome.status == 200:
        yield SaveToStore(policy, outcome)
    if policy is not None and claim is not None:
        yield ReleaseCall(policy, claim)  # where this process dies before, the claim ends by itself
    return outcome


def _stored(policy: StorePolicy) -> Generator[CallStep, Outcome | ClaimState | None, Reply | None]:
    """Return the reply in the store, if it is of use."""
    found = yield LoadFromStore(policy)
    if isinstance(found, Reply) and (policy.accepts is None or policy.accepts(found)):
        return replace(found, from_store=True)
    return None


def _claimed_or_stored(
    policy: StorePolicy, end: float
) -> Generator[CallStep, Outcome | ClaimState | None, Reply | bytes | None]:
    """Claim a call for this process, or wait for the reply that another process puts into the store.

    The wait is bounded, as the other process may have died, and leaves half of the time for a call of our own.

    Args:
        policy: That of the call.
        end: When the call has to have ended (monotonic seconds).

    Returns:
        The reply of the other process; else the token of the claim; ``None`` to make the call without one.
    """
    token = secrets.token_hex(8).encode()
    for number in range(1, _CLAIM_LOOKS + 1):
        state = yield ClaimCall(policy, token)
        if state == "held":
            # Between the last look and this claim, another process may have saved its reply and ended its claim.
            found = yield from _stored(policy)
            if found is not None:
                yield ReleaseCall(policy, token)
            return found or token
        if state != "taken":
            return None
        pause = number * _JITTER.uniform(*_CLAIM_PAUSE)
        if pause > (end - _clock.elapsed()) / 2:
            return None
        yield Sleep(pause)
        found = yield from _stored(policy)
        if found is not None:
            return found
    return None


def _attempts(fetch: Fetch, end: float, monitor: CallMonitor, first: Outcome | None) -> CallSteps:
    """Yield the attempts of one call and the pauses between them."""
    outcome: Outcome = _NO_TIME
    for attempt in range(_MAX_ATTEMPTS):
        answer: Outcome | ClaimState | None = None if attempt else first
        if answer is None:
            left = end - _clock.elapsed()
            if left <= 0:
                break
            answer = yield SendRequest(left, attempt)
        assert isinstance(answer, (Reply, TransportError))
        if isinstance(answer, TransportError):  # an attempt that was not begun has no address yet
            answer = _with_address(answer, fetch)
        if attempt and isinstance(answer, TransportError):
            if answer.kind in NOT_TRIED:
                break  # the outcome of the first attempt is more precise
            unsent = answer.unsent and isinstance(outcome, TransportError) and outcome.unsent
            answer = replace(answer, unsent=unsent)
        outcome = answer
        if is_final(outcome):
            break
        wait = _retry_delay(fetch, outcome)
        if attempt == _MAX_ATTEMPTS - 1 or wait is None or wait >= end - _clock.elapsed():
            break
        if monitor.closed or monitor.refuses(fetch):
            break
        yield Sleep(wait)
    return outcome


def _with_address(outcome: TransportError, fetch: Fetch) -> TransportError:
    """Add the address that was called and the cause."""
    return replace(outcome, address=fetch.address, cause=outcome.cause or _CAUSES[outcome.kind])


def _retry_delay(fetch: Fetch, outcome: Outcome) -> float | None:
    """Return how many seconds to wait before the next attempt, or ``None`` where there must be none."""
    backoff = _JITTER.uniform(*_BACKOFF)
    if isinstance(outcome, TransportError):
        if outcome.kind in NOT_TRIED:
            return None
        safe = outcome.unsent or (fetch.idempotent and outcome.kind == "broken")
        return backoff if safe else None
    if outcome.status == 429 or (outcome.status >= 500 and fetch.idempotent):
        return max(backoff, retry_after(outcome) or 0.0)
    return None


class CallMonitor:
    """The monitor of a call: it checks the circuit breaker before each attempt, and reports to it and to hooks.

    ``closed`` is set when the client is closed: then no attempt is made any more. ``on_clock`` is called with the
    seconds that the clock of the API is ahead, as far as each reply proves it.
    """

    def __init__(
        self,
        breaker: CircuitBreaker | None,
        hooks: Hooks | None,
        leeway: float = 0.0,
        call_budget: float | None = None,
        on_clock: Callable[[float], None] | None = None,
    ) -> None:
        self._on_clock = on_clock
        self._budget = None if call_budget is None else CallBudget(call_budget)
        self.hooks = Hooks() if hooks is None else hooks
        self.breaker = CircuitBreaker(self.hooks) if breaker is None else breaker
        self.closed = False
        self._api_clock = _clock.RemoteClock(leeway)

    def compare_clocks(self, fetch: Fetch, reply: Reply, asked_at: float) -> None:
        """Compare our clock with that of the API, which dates JWTs. Logs once a difference beyond the leeway.

        Args:
            fetch: The call.
            reply: Its reply; the ``Date`` in it counts (RFC 9110 section 6.6.1).
            asked_at: When the request was sent (Unix seconds).
        """
        if fetch.operation == "jwks" or "age" in reply.headers:
            return  # the reply may come from a cache
        date = http_date(reply.headers.get("date", ""))
        if date is None:
            return
        has_changed = self._api_clock.observe(date, date + _DATE_WIDTH, asked_at, _clock.wall())
        if self._on_clock is not None:
            self._on_clock(self._api_clock.offset)
        if not has_changed:
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
        """Return whether the breaker would refuse a call now."""
        return fetch.uses_breaker and self.breaker.refuses(has_priority(fetch))

    def pause(self, fetch: Fetch, seconds: float) -> float | TransportError:
        """Return how many seconds an attempt has to wait for the budget of calls, or the refusal.

        Only calls that verify a credential take from it: neither those for keys nor those that end sessions.

        Args:
            fetch: The call.
            seconds: How long the attempt may take.
        """
        if self._budget is None or not fetch.verifies or fetch.operation in _PRIORITY_OPERATIONS:
            return 0.0
        found = self._budget.take(fetch.priority, seconds)
        if isinstance(found, TransportError):
            log_repeated(
                logging.WARNING,
                "the budget of calls is spent: a credential was not verified",
                extra={"reason": "call_budget_spent"},
            )
        return found

    def begin_attempt(self, fetch: Fetch, seconds: float, waited: float, resend_count: int) -> Attempt | None:
        """Begin an attempt, or return ``None`` where the breaker refuses it.

        Args:
            fetch: The call.
            seconds: How long the attempt may take.
            waited: How many seconds the call has waited for its slot.
            resend_count: How many attempts were made before.
        """
        if fetch.uses_breaker and not self.breaker.admit(has_priority(fetch)):
            return None
        return Attempt(self, fetch, counts_timeout=waited <= seconds, resend_count=resend_count)


class Attempt:
    """One attempt under way.

    ``counts_timeout`` is false where the call has waited so long that a time-out is not the API's fault.
    ``fetch`` is what is to be sent: the call, with the headers of its trace where it is traced.
    """

    __slots__ = ("_began", "_counts_timeout", "_monitor", "_span", "asked_at", "fetch")

    def __init__(self, monitor: CallMonitor, fetch: Fetch, counts_timeout: bool, resend_count: int) -> None:
        self._monitor = monitor
        self.fetch = fetch
        self._counts_timeout = counts_timeout
        self.asked_at = _clock.wall()
        self._began = _clock.elapsed()
        self._span: CallSpan | None = None
        if monitor.hooks.tracer is not None:
            self._begin_span(monitor.hooks.tracer, resend_count)

    def _begin_span(self, tracer: CallTracer, resend_count: int) -> None:
        span = begin_span(tracer, self.fetch, self._monitor.hooks.provider, self.asked_at, resend_count)
        self._span = span
        if span is not None and span.headers:
            # A call of its own: its reply may be shared and stored under the names of the one that was asked for.
            self.fetch = replace(self.fetch, trace_headers=span.headers)

    def finished(self, outcome: Outcome) -> Outcome:
        """Report the outcome of the attempt, and return it with its address and time; a new reply is completed."""
        if isinstance(outcome, Reply):
            outcome.asked_at, outcome.address = self.asked_at, self.fetch.address
        else:
            outcome = _with_address(outcome, self.fetch)
        if self._is_observed:
            self._report(outcome.status if isinstance(outcome, Reply) else None, failure_of(outcome))
        if self._counts_timeout or not (isinstance(outcome, TransportError) and outcome.kind == "timeout"):
            self._monitor.breaker.remember(outcome)
            if self.fetch.uses_breaker:
                self._monitor.breaker.count(outcome, self._comes_from_service)
        if isinstance(outcome, Reply):
            self._monitor.compare_clocks(self.fetch, outcome, self.asked_at)
        return outcome

    def _comes_from_service(self, reply: Reply) -> bool:
        return comes_from_service(self.fetch, reply)

    def ended_by(self, error: BaseException) -> None:
        """Report that there is no outcome: the caller was cancelled, or what sends the call has raised."""
        if self._is_observed:
            self._report(None, "raised" if isinstance(error, Exception) else "cancelled")

    @property
    def _is_observed(self) -> bool:
        return self._span is not None or bool(self._monitor.hooks.all)

    def _report(self, status: int | None, failure: str | None) -> None:
        seconds = _clock.elapsed() - self._began
        failure = None if status is not None else failure
        if self._span is not None:
            end_span(self._span, seconds, status, failure)
        if not self._monitor.hooks:
            return
        fetch = self.fetch
        self._monitor.hooks.emit(
            UpstreamCall(
                fetch.operation,
                self.asked_at,
                seconds,
                status,
                failure,
                method=fetch.method,
                address=fetch.address,
            )
        )
