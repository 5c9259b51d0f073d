"""What each event loop has of its own: connections, limiter, shared calls, work in the background."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import ssl
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, ref

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Outcome
from moonkey_core._transport.deadlines import Deadlines
from moonkey_core._transport.limiter import LoopThrottle, TaskLimiter
from moonkey_core._transport.replies import is_reusable
from moonkey_core._transport.single_flight import AsyncSingleFlight
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

if TYPE_CHECKING:
    import httpx

logger: logging.Logger = logging.getLogger("moonkey")

_WORK_SECONDS = 0.0003
_ENTRY_SECONDS = 0.0003
"""For how many seconds of CPU time calls may begin or be sent in one iteration of the loop, and for how many more
requests may be looked at meanwhile: each takes tens or hundreds of microseconds, and a thousand that come at the
same time must not hold up everything else."""

MAX_BACKGROUND_TASKS = 4
"""The most tasks in the background at the same time; more are not run."""


class Sender(Protocol):
    """What sends the calls of one event loop."""

    few_calls: int
    """How many calls may be begun and sent without a pause of the loop in between."""

    async def send(self, fetch: Fetch, seconds: float, /) -> Outcome:
        """Send once and read the reply."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Forget all connections without closing them."""


class CloseOnLoopShutdown:
    """A hook that calls ``close`` when the running event loop shuts down, once :meth:`arm` was called there.

    An event loop that shuts down closes the asynchronous generators that were started on it. So connections are
    closed on the loop that they belong to, even where the app does not call ``aclose()``.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._guard = self._until_shutdown()
        self.is_armed: bool = False

    async def arm(self) -> None:
        """Call ``close`` at the shut-down of this event loop."""
        if not self.is_armed:
            self.is_armed = True
            await anext(self._guard)

    async def _until_shutdown(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self._close()


class LoopState:
    """What one event loop has of its own.

    Attributes:
        calls: How many callers wait for the outcome of a call.
    """

    def __init__(self, settings: Settings, sender: Sender) -> None:
        self.single_flight = AsyncSingleFlight(_clock.monotonic, is_reusable)
        self.deadlines = Deadlines()
        self.limiter = TaskLimiter(settings.max_connections)
        self.entry_throttle = LoopThrottle(_ENTRY_SECONDS)
        self.begin_throttle = LoopThrottle(_WORK_SECONDS)
        self.send_throttle = LoopThrottle(_WORK_SECONDS)
        self.sender = sender
        self.calls = 0
        self._background: set[asyncio.Task[None]] = set()
        self._lasting: set[asyncio.Task[None]] = set()
        self.shutdown = CloseOnLoopShutdown(self.close)

    @property
    def is_busy(self) -> bool:
        """Whether so many calls are under way that they are spread over iterations of the loop."""
        return self.calls > self.sender.few_calls

    def run_in_background(self, run: Callable[[], Coroutine[Any, Any, object]], *, lasts: bool) -> bool:
        """Run a task beside the requests. Returns ``False`` where too many of its kind are under way."""
        tasks = self._lasting if lasts else self._background
        if len(tasks) >= MAX_BACKGROUND_TASKS:
            return False
        task = asyncio.get_running_loop().create_task(self._run_background(run))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return True

    async def _run_background(self, run: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await self.shutdown.arm()
            await run()
        except Exception:
            log_background_failure()

    async def close(self) -> None:
        """Cancel what is under way, and close the connections."""
        tasks = (*self._background, *self._lasting)
        background = [task for task in tasks if task is not asyncio.current_task()]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.single_flight.stop()
        await self.sender.aclose()


def log_background_failure() -> None:
    """Log the exception that is being handled: it has ended work in the background."""
    logger.exception("work in the background failed", extra={"reason": "background_failed"})


def sender_factory(
    settings: Settings, tls: ssl.SSLContext | bool, http_client: httpx.AsyncClient | None
) -> Callable[[], Sender]:
    """Return what makes the sender of an event loop: ``aiohttp`` where it can be used, else ``httpx``.

    Args:
        settings: The settings of the client.
        tls: The context for its connections, or ``False`` where all addresses are plain http.
        http_client: The client that was given to us, if any. It is used instead.

    Raises:
        ConfigurationError: ``aiohttp`` is required, but is not installed, or proxies of the environment are to be
            used, which only ``httpx`` does.
    """
    from moonkey_core._transport import httpx_backend as _httpx

    _httpx.check_httpx()
    plain = partial(_httpx.AsyncSender, settings, tls, http_client)
    if http_client is not None or settings.transport == "httpx":
        return plain
    proxied = settings.trust_env and _has_proxies()
    if importlib.util.find_spec("aiohttp") is not None and not proxied:
        # Imported here, as it takes 100 ms, for its users only.
        from moonkey_core._transport import aiohttp_backend as _aiohttp
        from moonkey_core._transport import aiohttp_connections as _aiohttp_connections

        _aiohttp_connections.check_aiohttp()
        return partial(_aiohttp.AsyncSender, settings, tls)
    if settings.transport == "aiohttp":
        raise ConfigurationError(
            "MOONKEY_TRANSPORT (transport) is 'aiohttp', which uses no proxies of the environment. "
            "Set it to 'auto' or 'httpx'."
            if proxied
            else "MOONKEY_TRANSPORT (transport) is 'aiohttp', which is not installed. "
            "Run pip install 'moonkey[fast]', or set it to 'auto'."
        )
    return plain


def _has_proxies() -> bool:
    from urllib.request import getproxies

    return any(name != "no" for name in getproxies())


class LoopStates:
    """The state of every event loop that a client is used on. Thread-safe, as loops run in several threads."""

    def __init__(self, settings: Settings, make_sender: Callable[[], Sender], single_loop: bool) -> None:
        self._settings = settings
        self._make_sender = make_sender
        self._single_loop = single_loop
        self._owner_loop: ref[asyncio.AbstractEventLoop] | None = None
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopState] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._loops)

    def current(self) -> LoopState:
        """Return the state of the running event loop.

        Raises:
            RuntimeError: No loop runs, or the client that was given to us belongs to another one.
        """
        loop = asyncio.get_running_loop()
        state = self._loops.get(loop)
        return state if state is not None else self._create(loop)

    def _create(self, loop: asyncio.AbstractEventLoop) -> LoopState:
        with self._lock:
            if self._single_loop and self._owner_loop is not None and self._owner_loop() is not loop:
                raise RuntimeError(
                    "The http_client of this AsyncMoonKey belongs to the event loop on which it was first used. "
                    "Give each loop a client of its own, or leave http_client out."
                )
            self._owner_loop = ref(loop)
            for other in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(other).sender.abandon()
            state = self._loops[loop] = LoopState(self._settings, self._make_sender())
        return state

    async def close(self) -> None:
        """Close the connections of all event loops."""
        current = self._loops.pop(asyncio.get_running_loop(), None)
        self.close_elsewhere()
        if current is not None:
            await current.close()

    def close_elsewhere(self) -> None:
        """Close the connections of loops that run in other threads. A loop that has ended has closed its own."""
        for loop, state in list(self._loops.items()):
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(state.close(), loop)
            else:
                state.sender.abandon()
        self._loops.clear()

    def abandon(self) -> None:
        """Forget everything without closing it, in the child of a fork."""
        for state in list(self._loops.values()):
            state.sender.abandon()
        self._loops.clear()
