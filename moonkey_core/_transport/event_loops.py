"""What belongs to each event loop: its connections, its line, its shared calls, its work in the background."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import ssl
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary, ref

import httpx

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Outcome
from moonkey_core._transport.limiter import Pace, TaskLimiter
from moonkey_core._transport.loop_shutdown import ClosesWithLoop
from moonkey_core._transport.replies import is_settled
from moonkey_core._transport.single_flight import AsyncSharing
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

logger = logging.getLogger("moonkey")

_BEGINS_PER_TURN = 8
_SENDS_PER_TURN = 8
"""Calls that begin, and that are sent, within one turn of the loop: each takes tens or hundreds of microseconds,
and a thousand that come at once must not hold up everything else."""

AT_ONCE_LATER = 4
"""Pieces of work in the background; more are dropped."""


class Sender(Protocol):
    async def send(self, fetch: Fetch, seconds: float, /) -> Outcome:
        """Send once and read the reply."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Let go of all connections without touching them."""


class Loop:
    """What belongs to one event loop."""

    def __init__(self, settings: Settings, sender: Sender) -> None:
        self.sharing = AsyncSharing(_clock.monotonic, is_settled)
        self.line = TaskLimiter(settings.max_connections)
        self.begins = Pace(_BEGINS_PER_TURN)
        self.sends = Pace(_SENDS_PER_TURN)
        self.sender = sender
        self._background: set[asyncio.Task[None]] = set()
        self.shutdown = ClosesWithLoop(self.close)

    def later(self, run: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Run a task beside the others, unless too many are under way."""
        if len(self._background) >= AT_ONCE_LATER:
            return False
        task = asyncio.get_running_loop().create_task(self._work(run))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return True

    async def _work(self, run: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await self.shutdown.watch()
            await run()
        except Exception:
            log_background_failure()

    async def close(self) -> None:
        """Cancel what is under way and close the connections."""
        background = [task for task in self._background if task is not asyncio.current_task()]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.sharing.stop()
        await self.sender.aclose()


def log_background_failure() -> None:
    """Log the exception that has ended work in the background."""
    logger.exception("work in the background failed", extra={"reason": "background_failed"})


def sender_maker(
    settings: Settings, tls: ssl.SSLContext | bool, given: httpx.AsyncClient | None
) -> Callable[[], Sender]:
    """What makes the sender of a loop: ``aiohttp`` where it is wanted and can do what is wanted, else ``httpx``.

    Raises :class:`~moonkey_core.errors.ConfigurationError` where ``aiohttp`` is asked for but is not there, or
    proxies of the environment are to be used, which are left to ``httpx``.
    """
    from moonkey_core._transport import httpx_backend as _httpx

    _httpx.check_httpx()
    plain = partial(_httpx.AsyncSender, settings, tls, given)
    if given is not None or settings.transport == "httpx":
        return plain
    proxied = settings.trust_env and _has_proxies()
    if importlib.util.find_spec("aiohttp") is not None and not proxied:
        # Imported here, as it takes 100 ms that only its users should pay.
        from moonkey_core._transport import aiohttp_backend as _aiohttp
        from moonkey_core._transport import aiohttp_unread as _aiohttp_turns

        _aiohttp_turns.check_aiohttp()
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


class Loops:
    """The state of every event loop that a client is used on. Loops of several threads share this table."""

    def __init__(self, settings: Settings, make_sender: Callable[[], Sender], one_only: bool) -> None:
        self._settings = settings
        self._make_sender = make_sender
        self._one_only = one_only
        self._only: ref[asyncio.AbstractEventLoop] | None = None
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Loop] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._loops)

    def here(self) -> Loop:
        """The state of the running loop. Raises ``RuntimeError`` if all calls belong to another one."""
        loop = asyncio.get_running_loop()
        state = self._loops.get(loop)
        return state if state is not None else self._made(loop)

    def _made(self, loop: asyncio.AbstractEventLoop) -> Loop:
        with self._lock:
            if self._one_only and self._only is not None and self._only() is not loop:
                raise RuntimeError(
                    "The http_client of this AsyncMoonKey belongs to the event loop on which it was first used. "
                    "Give each loop a client of its own, or leave http_client out."
                )
            self._only = ref(loop)
            for other in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(other).sender.abandon()
            state = self._loops[loop] = Loop(self._settings, self._make_sender())
        return state

    async def close(self) -> None:
        """Close what belongs to the running loop, then what belongs to the others."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        self.close_elsewhere()
        if here is not None:
            await here.close()

    def close_elsewhere(self) -> None:
        """Close the connections of loops that run in other threads; one that has ended has done so itself."""
        for loop, state in list(self._loops.items()):
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(state.close(), loop)
            else:
                state.sender.abandon()
        self._loops.clear()

    def abandon(self) -> None:
        """In the child of a fork: let go of everything without touching it."""
        for state in list(self._loops.values()):
            state.sender.abandon()
        self._loops.clear()
