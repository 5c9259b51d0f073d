"""From a :class:`Fetch` to its outcome: shared calls, the store, the line, the breaker, connections, deadlines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from weakref import finalize

import httpx

from moonkey_core import _clock
from moonkey_core._plan import Done, Fetch, Outcome, TransportError, step
from moonkey_core._transport.circuit_breaker import Breaker
from moonkey_core._transport.event_loops import AT_ONCE_LATER, Loop, Loops, log_background_failure, sender_maker
from moonkey_core._transport.limiter import ThreadLimiter
from moonkey_core._transport.messages import tls_context
from moonkey_core._transport.replies import is_settled
from moonkey_core._transport.retries import (
    CIRCUIT_OPEN,
    CLOSED,
    Keep,
    Look,
    Send,
    Try,
    Watch,
    goes_first,
    steps,
    time_left,
)
from moonkey_core._transport.single_flight import SyncSharing, end_era
from moonkey_core._transport.store import AsyncStore, Store
from moonkey_core.events import Hooks
from moonkey_core.settings import Settings


class SyncExchange:
    """Calls from threads.

    ``http_client`` is used for all calls instead of connections of our own, and never closed. Raises ``TypeError``
    for one of another kind.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        breaker: Breaker | None = None,
        hooks: Hooks | None = None,
        store: Store | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise TypeError("http_client must be an httpx.Client here; an httpx.AsyncClient is for AsyncMoonKey.")
        self._settings = settings
        self._store = store
        self._given = http_client
        self._tls = tls_context(settings) if http_client is None else False
        self._watch = Watch(breaker, hooks, settings.leeway)
        self.breaker = self._watch.breaker
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._working = 0
        self._sharing = SyncSharing(_clock.monotonic, is_settled)
        self._line = ThreadLimiter(self._settings.max_connections)
        from moonkey_core._transport import httpx_backend as _httpx

        self._sender = _httpx.SyncSender(self._settings, self._tls, self._given)
        self._close_when_dropped = finalize(self, self._sender.close)
        self._close_when_dropped.atexit = False

    def reset(self) -> None:
        """New locks and connections, the old ones neither used nor closed: they belong to the parent process."""
        self._close_when_dropped.detach()
        self._watch.breaker.reset_lock()
        if self._given is not None:
            from moonkey_core._transport import httpx_backend as _httpx

            _httpx.forget_parent(self._given)
        self._begin()

    def close(self) -> None:
        """Close all connections, those of calls under way when they end; may be called again."""
        self._watch.closed = True
        self._sender.close()

    def later(self, run: Callable[[], object]) -> bool:
        """Run something in a thread of its own, beside the request. False: too much is under way, it is dropped.

        An exception is logged and goes no further.
        """
        with self._lock:
            if self._watch.closed or self._working >= AT_ONCE_LATER:
                return False
            self._working += 1
        try:
            threading.Thread(target=self._work, args=(run,), name="moonkey-later", daemon=True).start()
        except RuntimeError:  # the interpreter is about to end
            self._worked()
            return False
        return True

    def _work(self, run: Callable[[], object]) -> None:
        try:
            run()
        except Exception:
            log_background_failure()
        finally:
            self._worked()

    def _worked(self) -> None:
        with self._lock:
            self._working -= 1

    def __call__(self, fetch: Fetch, deadline: float) -> Outcome:
        """The outcome of a call by ``deadline`` (monotonic seconds)."""
        if self._watch.closed:
            raise RuntimeError("This MoonKey client is closed.")
        remaining = time_left(fetch, deadline)
        make = partial(self._call, fetch, remaining)
        try:
            return self._sharing.call(fetch, remaining, make) if fetch.share else make()
        finally:
            if fetch.revokes:
                end_era()  # even where no answer came: it may have had its effect

    def _call(self, fetch: Fetch, remaining: Callable[[], float]) -> Outcome:
        call = steps(fetch, remaining, self._store is not None, self._watch)
        action = step(call, None)
        while not isinstance(action, Done):
            answer: Outcome | None = None
            if isinstance(action, Send):
                answer = self._send(fetch, action.seconds)
            elif isinstance(action, Look):
                answer = self._store.get(action.stored) if self._store else None
            elif isinstance(action, Keep):
                if self._store:
                    self._store.put(action.stored, action.reply)
            else:
                time.sleep(action.seconds)
            action = step(call, answer)
        return action.value

    def _send(self, fetch: Fetch, seconds: float) -> Outcome:
        if self._watch.refuses(fetch):
            return CIRCUIT_OPEN
        end = _clock.elapsed() + seconds
        verdict = self._line.enter(goes_first(fetch), seconds)
        if verdict != "go":
            return TransportError("busy" if verdict == "busy" else "timeout", unsent=True)
        try:
            if self._watch.closed:
                return CLOSED
            left = end - _clock.elapsed()
            if left <= 0:
                return TransportError("timeout", unsent=True)
            attempt = self._watch.begin(fetch, left, seconds - left)
            return CIRCUIT_OPEN if attempt is None else self._attempt(attempt, fetch, left)
        finally:
            self._line.leave()

    def _attempt(self, attempt: Try, fetch: Fetch, seconds: float) -> Outcome:
        try:
            outcome = self._sender.send(fetch, seconds)
        except BaseException as error:
            attempt.dropped()
            if self._watch.closed and isinstance(error, RuntimeError):
                return TransportError("broken")
            raise
        finally:
            if self._watch.closed:
                self._sender.close()  # meanwhile, and this call's connection was left open for it
        return attempt.ended(outcome)


class AsyncExchange:
    """Calls from tasks, over connections of each event loop's own.

    ``http_client`` is used for all calls instead, and never closed; it belongs to one event loop, that of its
    owner. Raises ``TypeError`` for one of another kind.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        breaker: Breaker | None = None,
        hooks: Hooks | None = None,
        store: AsyncStore | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise TypeError("http_client must be an httpx.AsyncClient here; an httpx.Client is for MoonKey.")
        self._settings = settings
        self._store = store
        self._given = http_client
        tls = tls_context(settings) if http_client is None else False
        self._make_sender = sender_maker(settings, tls, http_client)
        self._watch = Watch(breaker, hooks, settings.leeway)
        self.breaker = self._watch.breaker
        self._begin()

    def _begin(self) -> None:
        self._loops = Loops(self._settings, self._make_sender, one_only=self._given is not None)
        self._close_when_dropped = finalize(self, self._loops.close_elsewhere)
        self._close_when_dropped.atexit = False

    def reset(self) -> None:
        """Forget all loops: they belong to the parent process."""
        self._close_when_dropped.detach()
        self._watch.breaker.reset_lock()
        self._loops.abandon()
        if self._given is not None:
            from moonkey_core._transport import httpx_backend as _httpx

            _httpx.forget_parent(self._given)
        self._begin()

    async def aclose(self) -> None:
        """Close the connections of every loop that still runs; may be called again."""
        self._watch.closed = True
        await self._loops.close()

    def later(self, run: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Run something as a task beside the request. False: too much is under way, it is dropped.

        It is cancelled when the client is closed or the loop ends. An exception is logged and goes no further.
        Where no loop runs, or a given client belongs to another, it is dropped as well.
        """
        try:
            return not self._watch.closed and self._loops.here().later(run)
        except RuntimeError:
            return False

    async def turn(self, share: str | None = None) -> None:
        """Wait where many begin at this moment, so that the event loop is not held up.

        Who will share a call of that name which is under way need not wait.
        """
        if self._watch.closed:
            raise RuntimeError("This MoonKey client is closed.")
        here = self._loops.here()
        if share is None or not here.sharing.is_under_way(share):
            await here.begins.turn()

    async def __call__(self, fetch: Fetch, deadline: float) -> Outcome:
        """The outcome of a call by ``deadline`` (monotonic seconds)."""
        if self._watch.closed:
            raise RuntimeError("This MoonKey client is closed.")
        here = self._loops.here()
        remaining = time_left(fetch, deadline)
        make = partial(self._call, here, fetch, remaining)
        try:
            return await (here.sharing.call(fetch, remaining, make) if fetch.share else make())
        finally:
            if fetch.revokes:
                end_era()  # even where no answer came: it may have had its effect

    async def _call(self, here: Loop, fetch: Fetch, remaining: Callable[[], float]) -> Outcome:
        call = steps(fetch, remaining, self._store is not None, self._watch)
        action = step(call, None)
        while not isinstance(action, Done):
            answer: Outcome | None = None
            if isinstance(action, Send):
                answer = await self._send(here, fetch, action.seconds)
            elif isinstance(action, Look):
                answer = await self._store.get(action.stored) if self._store else None
            elif isinstance(action, Keep):
                if self._store:
                    await self._store.put(action.stored, action.reply)
            else:
                await asyncio.sleep(action.seconds)
            action = step(call, answer)
        return action.value

    async def _send(self, here: Loop, fetch: Fetch, seconds: float) -> Outcome:
        if self._watch.refuses(fetch):
            return CIRCUIT_OPEN
        began = _clock.elapsed()
        attempt: Try | None = None
        try:
            async with asyncio.timeout(seconds):
                if await here.line.enter(goes_first(fetch)) == "busy":
                    return TransportError("busy", unsent=True)
                try:
                    await here.sends.turn()
                    if self._watch.closed:
                        return CLOSED
                    waited = _clock.elapsed() - began
                    attempt = self._watch.begin(fetch, seconds - waited, waited)
                    if attempt is None:
                        return CIRCUIT_OPEN
                    await here.shutdown.watch()
                    outcome = await here.sender.send(fetch, seconds - waited)
                finally:
                    here.line.leave()
        except TimeoutError:
            outcome = TransportError("timeout", unsent=attempt is None, cause="timed out")
        except BaseException as error:
            if attempt is not None:
                attempt.dropped()
            if self._watch.closed and isinstance(error, RuntimeError):
                return TransportError("broken")
            raise
        return outcome if attempt is None else attempt.ended(outcome)
