"""Many at once on one verifier: a crowd that starts together, and a flood of bad tokens beside good ones."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from contenders_keys import Keyed
from service import Upstream

SENDERS = 4
PAUSE = 0.002  # seconds between two tokens of a sender
FLOOD = 5.0  # seconds that a flood may take


@dataclass
class Flood:
    """What came of a flood. Latencies are milliseconds."""

    to_send: int = 0
    sent: int = 0
    fetches: int = 0
    accepted_bad: int = 0
    quiet: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    refused_good: int = 0
    unpaced: float = 0.0
    tries: int = 0
    new_key_after: float | None = None

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.quiet), statistics.median(self.busy)

    @property
    def ratio(self) -> float:
        """Good tokens' p50 in the flood over that of the quiet moment before it."""
        quiet, busy = self.medians
        return busy / quiet

    @property
    def sound(self) -> bool:
        """Whether it did all that ours are to do."""
        right = not self.accepted_bad and not self.refused_good and self.sent == self.to_send
        return right and self.fetches <= 3 and self.new_key_after is not None and self.ratio <= 1.5


class Runner:
    """Verifies for a contender from threads, whichever kind it is: an asynchronous one has a loop in a thread."""

    def __init__(self, keyed: Keyed, upstream: Upstream) -> None:
        self._is_async = keyed.is_async
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.verify = self.run(_made(keyed, upstream))

    def run(self, job: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(60)

    def crowd(self, tokens: list[str]) -> list[bool]:
        """Verify all at once: as tasks, or as threads that start together."""
        if self._is_async:
            found: list[bool] = self.run(_together(self.verify, tokens))
            return found
        gate = threading.Barrier(len(tokens))

        def one(token: str) -> bool:
            gate.wait(30)
            return _safely(self.verify, token)

        with ThreadPoolExecutor(len(tokens)) as threads:
            return list(threads.map(one, tokens))

    def flood(self, flood: Flood, tokens: list[str], goods: list[str], pause: float = PAUSE) -> None:
        """Four senders of bad tokens, and one of good ones that takes the time."""
        if self._is_async:
            self.run(_aflood(self.verify, flood, tokens, goods, pause))
        else:
            _flood(self.verify, flood, tokens, goods, pause)

    def accepts(self, token: str) -> bool:
        """Whether this token is taken for good, now."""
        return bool(self.run(_asafely(self.verify, token)) if self._is_async else _safely(self.verify, token))

    def timed(self, goods: list[str], pause: float = PAUSE) -> list[float]:
        """Milliseconds of each good token, with nothing else going on."""
        flood = Flood()
        self.flood(flood, [], goods, pause)
        return flood.busy

    def stop(self) -> None:
        """End the client, the loop and its thread."""
        close = getattr(self.verify, "close", None)
        if close is not None:
            self.run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


async def _made(keyed: Keyed, upstream: Upstream) -> Callable[[str], Any]:
    return keyed.make(upstream)


def _safely(verify: Callable[[str], Any], token: str) -> bool:
    try:
        return bool(verify(token))
    except Exception:
        return False


async def _asafely(verify: Callable[[str], Any], token: str) -> bool:
    try:
        return bool(await verify(token))
    except Exception:
        return False


async def _together(verify: Callable[[str], Any], tokens: list[str]) -> list[bool]:
    return await asyncio.gather(*(_asafely(verify, token) for token in tokens))


def _flood(verify: Callable[[str], Any], flood: Flood, tokens: list[str], goods: list[str], pause: float) -> None:
    end, left = time.perf_counter() + FLOOD, iter(tokens)
    over, lock = threading.Event(), threading.Lock()

    def send() -> None:
        while time.perf_counter() < end:
            with lock:
                token = next(left, None)
            if token is None:
                return
            taken = _safely(verify, token)
            with lock:
                flood.sent += 1
                flood.accepted_bad += taken
            time.sleep(pause)

    senders = [threading.Thread(target=send) for _ in range(SENDERS if tokens else 0)]
    for sender in senders:
        sender.start()

    def watch() -> None:
        for sender in senders:
            sender.join()
        over.set()

    threading.Thread(target=watch).start()
    for token in goods:
        began = time.perf_counter()
        flood.refused_good += not _safely(verify, token)
        flood.busy.append((time.perf_counter() - began) * 1e3)
        time.sleep(pause)
        if tokens and over.is_set():
            break
    over.wait(FLOOD * 2)


async def _aflood(
    verify: Callable[[str], Any], flood: Flood, tokens: list[str], goods: list[str], pause: float
) -> None:
    end, left = time.perf_counter() + FLOOD, iter(tokens)

    async def send() -> None:
        for token in left:
            flood.accepted_bad += await _asafely(verify, token)
            flood.sent += 1
            await asyncio.sleep(pause)
            if time.perf_counter() > end:
                return

    senders = asyncio.gather(*(send() for _ in range(SENDERS if tokens else 0)))
    for token in goods:
        began = time.perf_counter()
        flood.refused_good += not await _asafely(verify, token)
        flood.busy.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(pause)
        if tokens and senders.done():
            break
    await senders
