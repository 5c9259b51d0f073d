"""From a :class:`Fetch` to its outcome, once for threads and once for tasks.

Both share the decisions of a call (``retries``) and bring the waiting: for the call that another caller has begun
(``single_flight``), for the shared store, for a slot (``limiter``), for the reply, before the next attempt.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import finalize

from moonkey_core import _clock
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import AwaitPublished, ClaimState, Done, Fetch, Outcome, TransportError, step
from moonkey_core._publication import RevocationState
from moonkey_core._transport.circuit_breaker import CircuitBreaker
from moonkey_core._transport.deadlines import Deadline
from moonkey_core._transport.event_loops import (
    MAX_BACKGROUND_TASKS,
    LoopState,
    LoopStates,
    log_background_failure,
    sender_factory,
)
from moonkey_core._transport.limiter import ThreadLimiter
from moonkey_core._transport.messages import tls_context
from moonkey_core._transport.replies import is_reusable
from moonkey_core._transport.retries import (
    CIRCUIT_OPEN,
    CLOSED,
    Attempt,
    CallMonitor,
    ClaimCall,
    LoadFromStore,
    ReleaseCall,
    SaveToStore,
    SendRequest,
    begins_with_attempt,
    call_steps,
    end_of,
    has_priority,
    is_final,
)
from moonkey_core._transport.single_flight import SyncSingleFlight, start_revocation_generation
from moonkey_core._transport.store import AsyncStore, Store
from moonkey_core.events import Hooks
from moonkey_core.settings import Settings

if TYPE_CHECKING:
    import httpx


class SyncExchange:
    """The exchange for the calls of threads. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        *,
        breaker: CircuitBreaker | None = None,
        hooks: Hooks | None = None,
        on_clock: Callable[[float], None] | None = None,
        store: Store | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        """Make an exchange; it opens no connection yet.

        Args:
            settings: The settings of the client.
            breaker: The circuit breaker, where it is shared with another part of the client.
            hooks: Where each attempt is reported.
            on_clock: Is called with the seconds that the clock of the API is ahead, as far as that is proven.
            store: The store that the processes of the app share, if there is one.
            http_client: Used for all calls instead of connections of our own, and never closed.

        Raises:
            TypeError: ``http_client`` is not of the blocking kind.
        """
        if http_client is not None:
            import httpx

            if not isinstance(http_client, httpx.Client):
                raise TypeError(
                    "http_client must be an httpx.Client here; an httpx.AsyncClient is for AsyncMoonKey."
                )
        self._settings = settings
        self._store = store
        self._http_client = http_client
        self._tls = tls_context(settings) if http_client is None else False
        self._monitor = CallMonitor(breaker, hooks, settings.leeway, settings.call_budget, on_clock)
        self.breaker: CircuitBreaker = self._monitor.breaker
        self._open()
        reset_after_fork(self.reset)

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._background_count = 0
        self._single_flight = SyncSingleFlight(_clock.monotonic, is_reusable)
        self._limiter = ThreadLimiter(self._settings.max_connections)
        from moonkey_core._transport import httpx_backend as _httpx

        self._sender = _httpx.SyncSender(self._settings, self._tls, self._http_client)
        self._finalizer = finalize(self, self._sender.close)
        self._finalizer.atexit = False

    def reset(self) -> None:
        """Make new locks and connections in the child of a fork.

        The old ones are neither used nor closed: they belong to the parent process.
        """
        self._finalizer.detach()
        if self._http_client is not None:
            from moonkey_core._transport import httpx_connections as _connections

            _connections.forget_connections(self._http_client)
        self._open()

    def close(self) -> None:
        """Close all connections, those of calls under way when they end. Another call has no effect."""
        self._monitor.closed = True
        self._closing.set()
        self._sender.close()

    def run_in_background(self, run: Callable[[], object], *, lasts: bool = False) -> bool:
        """Run something in a thread of its own, beside the request. An exception is logged.

        Args:
            run: What to run.
            lasts: Whether it may last, and does not count among the few that run at a time. The caller makes sure
                that there is one at most.

        Returns:
            ``False`` where it is not run, since too much is under way.
        """
        counted = 0 if lasts else 1
        with self._lock:
            if self._monitor.closed or self._background_count + counted > MAX_BACKGROUND_TASKS:
                return False
            self._background_count += counted
        try:
            work = threading.Thread(
                target=self._run_background, args=(run, counted), name="moonkey-later", daemon=True
            )
            work.start()
        except RuntimeError:  # the interpreter is about to end
            self._background_ended(counted)
            return False
        return True

    def _run_background(self, run: Callable[[], object], counted: int) -> None:
        try:
            run()
        except Exception:
            log_background_failure()
        finally:
            self._background_ended(counted)

    def _background_ended(self, counted: int) -> None:
        with self._lock:
            self._background_count -= counted

    def carry_out(self, action: Fetch | AwaitPublished, deadline: float) -> Outcome | RevocationState:
        """Make a call, or wait until what was revoked is published.

        Raises:
            RuntimeError: The client is closed.
        """
        if isinstance(action, AwaitPublished):
            return action.revocation.wait(action.seconds)
        return self(action, deadline)

    def __call__(self, fetch: Fetch, deadline: float) -> Outcome:
        """Make a call, and return its outcome by ``deadline`` (monotonic seconds).

        Raises:
            RuntimeError: The client is closed.
        """
        if self._monitor.closed:
            raise RuntimeError("This MoonKey client is closed.")
        end = end_of(fetch, deadline)
        try:
            if fetch.coalesce_key:
                return self._single_flight.call(fetch, end, partial(self._call, fetch, end))
            return self._call(fetch, end)
        finally:
            if fetch.revokes:
                start_revocation_generation()  # even without a reply: the call may have had its effect

    def _call(self, fetch: Fetch, end: float) -> Outcome:
        has_store, first = self._store is not None, None
        if begins_with_attempt(fetch, has_store) and (left := end - _clock.elapsed()) > 0:
            first = self._send(fetch, left, 0)
            if is_final(first):
                return first
        call = call_steps(fetch, end, has_store, self._monitor, first)
        action = step(call, None)
        while not isinstance(action, Done):
            answer: Outcome | ClaimState | None = None
            if isinstance(action, SendRequest):
                answer = self._send(fetch, action.seconds, action.resend_count)
            elif isinstance(action, LoadFromStore):
                answer = self._store.get(action.policy) if self._store else None
            elif isinstance(action, SaveToStore):
                if self._store:
                    self._store.put(action.policy, action.reply)
            elif isinstance(action, ClaimCall):
                answer = self._store.claim(action.policy, action.token) if self._store else "alone"
            elif isinstance(action, ReleaseCall):
                if self._store:
                    self._store.release(action.policy, action.token)
            else:
                self._closing.wait(action.seconds)
            action = step(call, answer)
        return action.value

    def _send(self, fetch: Fetch, seconds: float, resend_count: int) -> Outcome:
        if self._monitor.refuses(fetch):
            return CIRCUIT_OPEN
        end = _clock.elapsed() + seconds
        pause = self._monitor.pause(fetch, seconds)
        if isinstance(pause, TransportError):
            return pause
        if pause:
            self._closing.wait(pause)
        admission = self._limiter.acquire(has_priority(fetch), end - _clock.elapsed() if pause else seconds)
        if admission != "granted":
            return TransportError("busy" if admission == "busy" else "timeout", unsent=True)
        try:
            if self._monitor.closed:
                return CLOSED
            left = end - _clock.elapsed()
            if left <= 0:
                return TransportError("timeout", unsent=True)
            attempt = self._monitor.begin_attempt(fetch, left, seconds - left, resend_count)
            return CIRCUIT_OPEN if attempt is None else self._attempt(attempt, left)
        finally:
            self._limiter.release()

    def _attempt(self, attempt: Attempt, seconds: float) -> Outcome:
        try:
            outcome = self._sender.send(attempt.fetch, seconds)
        except BaseException as error:
            attempt.ended_by(error)
            if self._monitor.closed and isinstance(error, RuntimeError):
                return TransportError("broken")
            raise
        finally:
            if self._monitor.closed:
                self._sender.close()  # the client was closed meanwhile; the connection of this call was left open
        return attempt.finished(outcome)


class AsyncExchange:
    """The exchange for the calls of tasks. Each event loop has connections of its own.

    Attributes:
        is_crowded: Whether requests may have to :meth:`enter`: on one of the event loops, calls wait to begin.
        sleep: What waits between two attempts. The test kit waits where the clock of the event loop is frozen.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        breaker: CircuitBreaker | None = None,
        hooks: Hooks | None = None,
        on_clock: Callable[[float], None] | None = None,
        store: AsyncStore | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Make an exchange; it opens no connection yet.

        Args:
            settings: The settings of the client.
            breaker: The circuit breaker, where it is shared with another part of the client.
            hooks: Where each attempt is reported.
            on_clock: Is called with the seconds that the clock of the API is ahead, as far as that is proven.
            store: The store that the processes of the app share, if there is one.
            http_client: Used for all calls instead of connections of our own, and never closed. It belongs to the
                event loop of its owner.

        Raises:
            TypeError: ``http_client`` is not of the asynchronous kind.
            ConfigurationError: The transport of the settings is not installed, or cannot do what they require.
        """
        if http_client is not None:
            import httpx

            if not isinstance(http_client, httpx.AsyncClient):
                raise TypeError("http_client must be an httpx.AsyncClient here; an httpx.Client is for MoonKey.")
        self.is_crowded: bool = False
        self.sleep: Callable[[float], Awaitable[None]] | None = None
        self._settings = settings
        self._store = store
        self._http_client = http_client
        tls = tls_context(settings) if http_client is None else False
        self._make_sender = sender_factory(settings, tls, http_client)
        self._monitor = CallMonitor(breaker, hooks, settings.leeway, settings.call_budget, on_clock)
        self.breaker: CircuitBreaker = self._monitor.breaker
        self._open()
        reset_after_fork(self.reset)

    def _open(self) -> None:
        self._loops = LoopStates(self._settings, self._make_sender, single_loop=self._http_client is not None)
        self._finalizer = finalize(self, self._loops.close_elsewhere)
        self._finalizer.atexit = False

    def reset(self) -> None:
        """Forget all event loops in the child of a fork: they belong to the parent process."""
        self._finalizer.detach()
        self._loops.abandon()
        if self._http_client is not None:
            from moonkey_core._transport import httpx_connections as _connections

            _connections.forget_connections(self._http_client)
        self._open()

    async def aclose(self) -> None:
        """Close the connections of every event loop that still runs. Another call has no effect."""
        self._monitor.closed = True
        await self._loops.close()

    def run_in_background(self, run: Callable[[], Coroutine[Any, Any, object]], *, lasts: bool = False) -> bool:
        """Run something as a task beside the request. An exception is logged.

        The task is cancelled when the client is closed or the event loop ends.

        Args:
            run: What to run.
            lasts: Whether it may last, and does not count among the few that run at a time. The caller makes sure
                that there is one at most.

        Returns:
            ``False`` where it is not run: too much is under way, no event loop runs, or the given client belongs
            to another one.
        """
        try:
            return not self._monitor.closed and self._loops.current().run_in_background(run, lasts=lasts)
        except RuntimeError:
            return False

    def throttles(self) -> bool:
        """Return whether a request that begins now has to :meth:`throttle`, so that other tasks run in between.

        Raises:
            RuntimeError: The client is closed, or the given client belongs to another event loop.
        """
        if self._monitor.closed:
            raise RuntimeError("This MoonKey client is closed.")
        state = self._loops.current()
        throttle = state.begin_throttle
        if (state.is_busy or throttle.has_waiters) and not throttle.passes():
            self.is_crowded = True
            return True
        return False

    async def enter(self) -> None:
        """Wait where so many requests begin that even the first look at each of them would hold up other tasks."""
        state = self._loops.current()
        if not state.begin_throttle.has_waiters:
            self.is_crowded = False
        elif not state.entry_throttle.passes():
            await state.entry_throttle.wait()

    async def throttle(self, coalesce_key: str | None = None) -> None:
        """Wait where many requests begin at the same time.

        Args:
            coalesce_key: That of the call to be made. Where such a call is under way there is nothing to wait for,
                as it will be shared.
        """
        state = self._loops.current()
        if coalesce_key is None or not state.single_flight.is_in_flight(coalesce_key):
            await state.begin_throttle.wait()

    def carry_out(
        self, action: Fetch | AwaitPublished, deadline: float
    ) -> Coroutine[Any, Any, Outcome | RevocationState]:
        """Return what makes a call, or waits until what was revoked is published, when it is awaited."""
        if isinstance(action, AwaitPublished):
            return action.revocation.wait_async(action.seconds)
        return self(action, deadline)

    async def __call__(self, fetch: Fetch, deadline: float) -> Outcome:
        """Make a call, and return its outcome by ``deadline`` (monotonic seconds).

        Raises:
            RuntimeError: The client is closed, or the given client belongs to another event loop.
        """
        if self._monitor.closed:
            raise RuntimeError("This MoonKey client is closed.")
        state = self._loops.current()
        end = end_of(fetch, deadline)
        state.calls += 1
        try:
            if fetch.coalesce_key:
                return await state.single_flight.call(fetch, end, partial(self._call, state, fetch, end))
            return await self._call(state, fetch, end)
        finally:
            state.calls -= 1
            if fetch.revokes:
                start_revocation_generation()  # even without a reply: the call may have had its effect

    async def _call(self, state: LoopState, fetch: Fetch, end: float) -> Outcome:
        has_store, first = self._store is not None, None
        if begins_with_attempt(fetch, has_store) and (left := end - _clock.elapsed()) > 0:
            first = await self._send(state, fetch, left, 0)
            if is_final(first):
                return first
        call = call_steps(fetch, end, has_store, self._monitor, first)
        action = step(call, None)
        while not isinstance(action, Done):
            answer: Outcome | ClaimState | None = None
            if isinstance(action, SendRequest):
                answer = await self._send(state, fetch, action.seconds, action.resend_count)
            elif isinstance(action, LoadFromStore):
                answer = await self._store.get(action.policy) if self._store else None
            elif isinstance(action, SaveToStore):
                if self._store:
                    await self._store.put(action.policy, action.reply)
            elif isinstance(action, ClaimCall):
                answer = await self._store.claim(action.policy, action.token) if self._store else "alone"
            elif isinstance(action, ReleaseCall):
                if self._store:
                    await self._store.release(action.policy, action.token)
            else:
                await (self.sleep or asyncio.sleep)(action.seconds)
            action = step(call, answer)
        return action.value

    async def _send(self, state: LoopState, fetch: Fetch, seconds: float, resend_count: int) -> Outcome:
        if self._monitor.refuses(fetch):
            return CIRCUIT_OPEN
        began = _clock.elapsed()
        pause = self._monitor.pause(fetch, seconds)
        if isinstance(pause, TransportError):
            return pause
        attempt: Attempt | None = None
        try:
            with Deadline(state.deadlines, seconds):
                if pause:
                    await (self.sleep or asyncio.sleep)(pause)
                limiter = state.limiter
                if not limiter.try_acquire() and await limiter.acquire(has_priority(fetch)) == "busy":
                    return TransportError("busy", unsent=True)
                try:
                    if state.is_busy and not state.send_throttle.passes():
                        await state.send_throttle.wait()
                    if self._monitor.closed:
                        return CLOSED
                    waited = _clock.elapsed() - began
                    attempt = self._monitor.begin_attempt(fetch, seconds - waited, waited, resend_count)
                    if attempt is None:
                        return CIRCUIT_OPEN
                    if not state.shutdown.is_armed:
                        await state.shutdown.arm()
                    outcome = await state.sender.send(attempt.fetch, seconds - waited)
                finally:
                    limiter.release()
        except TimeoutError:
            outcome = TransportError("timeout", unsent=attempt is None, cause="timed out")
        except BaseException as error:
            if attempt is not None:
                attempt.ended_by(error)
            if self._monitor.closed and isinstance(error, RuntimeError):
                return TransportError("broken")
            raise
        return outcome if attempt is None else attempt.finished(outcome)
