"""From a :class:`Fetch` to its outcome: connections, deadlines, retries. Only these rooms use ``httpx``."""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, finalize

import httpx

from moonkey_core._deadline import bound_reads, reads_until
from moonkey_core._http import TROUBLE, Body, build_request, client_options, tls_context, transport_error
from moonkey_core._plan import Done, Fetch, Outcome, TransportError, step
from moonkey_core._replies import is_settled, retry_after
from moonkey_core._sharing import AsyncSharing, SyncSharing, end_era
from moonkey_core.settings import Settings

_TRIES = 2
_BACKOFF = (0.05, 0.25)  # seconds, jittered between
_READ_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Send:
    """Send the request now; it may take this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class _Sleep:
    """Wait before the next try."""

    seconds: float


def _tries(fetch: Fetch, remaining: Callable[[], float]) -> Generator[_Send | _Sleep, Outcome | None, Outcome]:
    """The bounded retry loop, for whoever sends and sleeps."""
    outcome: Outcome = TransportError("timeout", unsent=True)
    for attempt in range(_TRIES):
        if remaining() <= 0:
            break
        answer = yield _Send(remaining())
        assert answer is not None
        outcome = answer
        wait = _retry_wait(fetch, outcome)
        if attempt == _TRIES - 1 or wait is None or wait >= remaining():
            break
        yield _Sleep(wait)
    return outcome


def _retry_wait(fetch: Fetch, outcome: Outcome) -> float | None:
    """Seconds to wait before trying again, or ``None`` where that is of no use or could do harm."""
    backoff = random.uniform(*_BACKOFF)  # noqa: S311 - jitter, not a secret
    if isinstance(outcome, TransportError):
        safe = outcome.unsent or (fetch.repeatable and outcome.kind == "broken")
        return backoff if safe else None
    if outcome.status == 429 or (outcome.status >= 500 and fetch.repeatable):
        return max(backoff, retry_after(outcome) or 0.0)
    return None


class SyncExchange:
    """Calls from threads, over one pool of connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tls = tls_context(settings)
        self._closed = False
        self._close_when_dropped: finalize[Any, Any] | None = None
        self.reset()

    def reset(self) -> None:
        """New locks and connections, the old ones neither used nor closed: they belong to the parent process."""
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        if self._close_when_dropped is not None:
            self._close_when_dropped.detach()
        self._sharing = SyncSharing(time.monotonic, is_settled)

    def close(self) -> None:
        """Close all connections; may be called again."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()

    def __call__(self, fetch: Fetch, deadline: float) -> Outcome:
        """The outcome of a call by ``deadline`` (monotonic seconds)."""
        remaining = _until(_shortened(fetch, deadline))
        make = partial(self._call, fetch, remaining)
        try:
            return self._sharing.call(fetch, remaining, make) if fetch.share else make()
        finally:
            if fetch.revokes:
                end_era()  # even where no answer came: it may have had its effect

    def _call(self, fetch: Fetch, remaining: Callable[[], float]) -> Outcome:
        tries = _tries(fetch, remaining)
        action = step(tries, None)
        while not isinstance(action, Done):
            if isinstance(action, _Send):
                action = step(tries, self._send(fetch, action.seconds))
            else:
                time.sleep(action.seconds)
                action = step(tries, None)
        return action.value

    def _send(self, fetch: Fetch, seconds: float) -> Outcome:
        client = self._connected()
        request = build_request(client, fetch, self._settings, seconds)
        try:
            with reads_until(time.monotonic() + seconds):
                response = client.send(request, stream=True, follow_redirects=False)
                try:
                    body = Body(response, fetch.max_bytes)
                    for chunk in response.iter_raw(_READ_SIZE):
                        body.add(chunk)
                finally:
                    response.close()
            return body.reply()
        except TROUBLE as error:
            return transport_error(error)
        except RuntimeError:
            if self._closed:  # by another thread, meanwhile
                return TransportError("broken")
            raise

    def _connected(self) -> httpx.Client:
        with self._lock:
            if self._closed:
                raise RuntimeError("This MoonKey client is closed.")
            if self._client is None:
                self._client = httpx.Client(**client_options(self._settings, self._tls))
                bound_reads(self._client)
                self._close_when_dropped = finalize(self, self._client.close)
                self._close_when_dropped.atexit = False
            return self._client


class _Loop:
    """What belongs to one event loop."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | bool) -> None:
        self.sharing = AsyncSharing(time.monotonic, is_settled)
        self.slots = asyncio.Semaphore(settings.max_connections)
        self._client = httpx.AsyncClient(**client_options(settings, tls))
        self._guard = self._until_shutdown()
        self._guarded = False

    async def _until_shutdown(self) -> AsyncGenerator[None]:
        # A loop that shuts down closes the asynchronous generators it has started: connections are given back on
        # the loop they belong to, even where nobody calls aclose().
        try:
            yield
        finally:
            await self.close()

    async def client(self) -> httpx.AsyncClient:
        if not self._guarded:
            self._guarded = True
            await anext(self._guard)
        return self._client

    async def close(self) -> None:
        await self.sharing.stop()
        await self._client.aclose()


_Loops = WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop]


def _close_elsewhere(loops: _Loops) -> None:
    """Close the connections of loops that run in other threads; a loop that has ended has done so itself."""
    for loop, state in list(loops.items()):
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(state.close(), loop)
    loops.clear()


class AsyncExchange:
    """Calls from tasks, over one pool of connections for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tls = tls_context(settings)
        self._closed = False
        self._close_when_dropped: finalize[Any, Any] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all loops: they belong to the parent process."""
        if self._close_when_dropped is not None:
            self._close_when_dropped.detach()
        self._lock = threading.Lock()
        self._loops: _Loops = WeakKeyDictionary()
        self._close_when_dropped = finalize(self, _close_elsewhere, self._loops)
        self._close_when_dropped.atexit = False

    async def aclose(self) -> None:
        """Close the connections of every loop that still runs; may be called again."""
        self._closed = True
        here = self._loops.pop(asyncio.get_running_loop(), None)
        _close_elsewhere(self._loops)
        if here is not None:
            await here.close()

    async def __call__(self, fetch: Fetch, deadline: float) -> Outcome:
        """The outcome of a call by ``deadline`` (monotonic seconds)."""
        here = self._here()
        remaining = _until(_shortened(fetch, deadline))
        make = partial(self._call, here, fetch, remaining)
        try:
            return await (here.sharing.call(fetch, remaining, make) if fetch.share else make())
        finally:
            if fetch.revokes:
                end_era()  # even where no answer came: it may have had its effect

    def _here(self) -> _Loop:
        if self._closed:
            raise RuntimeError("This MoonKey client is closed.")
        loop = asyncio.get_running_loop()
        state = self._loops.get(loop)
        if state is None:
            state = _Loop(self._settings, self._tls)
            with self._lock:  # loops of several threads share this table
                for other in [other for other in self._loops if other.is_closed()]:
                    del self._loops[other]
                self._loops[loop] = state
        return state

    async def _call(self, here: _Loop, fetch: Fetch, remaining: Callable[[], float]) -> Outcome:
        tries = _tries(fetch, remaining)
        action = step(tries, None)
        while not isinstance(action, Done):
            if isinstance(action, _Send):
                action = step(tries, await self._send(here, fetch, action.seconds))
            else:
                await asyncio.sleep(action.seconds)
                action = step(tries, None)
        return action.value

    async def _send(self, here: _Loop, fetch: Fetch, seconds: float) -> Outcome:
        sent = False
        try:
            async with asyncio.timeout(seconds), here.slots:
                client = await here.client()
                request = build_request(client, fetch, self._settings, seconds)
                sent = True
                response = await client.send(request, stream=True, follow_redirects=False)
                try:
                    body = Body(response, fetch.max_bytes)
                    async for chunk in response.aiter_raw(_READ_SIZE):
                        body.add(chunk)
                finally:
                    await response.aclose()
            return body.reply()
        except TimeoutError:
            return TransportError("timeout", unsent=not sent)
        except TROUBLE as error:
            return transport_error(error)
        except RuntimeError:
            if self._closed:  # by another task, meanwhile
                return TransportError("broken")
            raise


def _until(deadline: float) -> Callable[[], float]:
    return lambda: deadline - time.monotonic()


def _shortened(fetch: Fetch, deadline: float) -> float:
    if fetch.timeout is None:
        return deadline
    own = time.monotonic() + fetch.timeout
    return own if fetch.own_deadline else min(deadline, own)
