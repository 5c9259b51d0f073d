"""The one harness: contenders take turns in short slices of one process, by CPU time; the fastest slice decides.

What else the machine does makes a slice slower and never faster, so the minimum of many slices is what the code
costs. The median is shown beside it: it includes the garbage collector.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokens import Flavour, bad, good

Call = Callable[[Any], Any]
Kind = Literal["ours", "peer", "base", "raw"]
ROUNDS, QUICK_ROUNDS = 40, 6  # slices of each contender
SLICE = 0.004  # CPU seconds; short, so that few are interrupted


class NotFit(Exception):
    """A contender took a bad token for good, or a good one for bad: it is not timed."""


@dataclass
class Contender:
    """Something that verifies.

    ``call`` is what is timed; ``wrap`` makes its argument from a token, untimed. A refusal is an exception, or a
    result that ``accepted`` says no to. With ``once`` each token is shown to it only once. ``hops``: part of its
    work is done in other threads, so the CPU time of the process counts. ``id`` is what goals know it by.
    ``pool`` is the name of the tokens that it gets, if not those of its flavour.
    """

    name: str
    call: Call
    wrap: Callable[[str], Any] = str
    accepted: Callable[[Any], bool] = bool
    flavour: Flavour = "moonkey"
    is_async: bool = False
    once: bool = False
    note: str = ""
    kind: Kind = "peer"
    id: str = ""
    hops: bool = False
    pool: str = ""

    @property
    def clock(self) -> Callable[[], int]:
        """CPU nanoseconds of this thread, or of all."""
        return time.process_time_ns if self.hops else time.thread_time_ns

    def results(self, arguments: Sequence[Any], loop: asyncio.AbstractEventLoop) -> tuple[float, list[Any]]:
        """CPU seconds and results of one slice."""
        if self.is_async:
            return loop.run_until_complete(self._aslice(arguments))
        call, clock = self.call, self.clock
        start = clock()
        results = [call(argument) for argument in arguments]
        return (clock() - start) / 1e9, results

    async def _aslice(self, arguments: Sequence[Any]) -> tuple[float, list[Any]]:
        call: Callable[[Any], Coroutine[Any, Any, Any]] = self.call
        clock = self.clock
        start = clock()
        results = [await call(argument) for argument in arguments]
        return (clock() - start) / 1e9, results

    def accepts(self, token: str, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it takes this token for good."""
        try:
            return self.accepted(self.results([self.wrap(token)], loop)[1][0])
        except Exception:
            return False


def admit(contender: Contender, loop: asyncio.AbstractEventLoop) -> None:
    """Raises ``NotFit`` unless the good token is accepted and every bad one refused."""
    token = good(contender.flavour, 999_999)
    if not contender.accepts(token, loop):
        raise NotFit(f"{contender.name} refused a good token")
    for what, other in bad(contender.flavour).items():
        if contender.accepts(other, loop):
            raise NotFit(f"{contender.name} accepted a token with {what}")
    if not contender.accepts(token, loop):
        raise NotFit(f"{contender.name} refused a good token after a bad one")


def admitted(
    builders: Sequence[Callable[[Any], Contender]],
    upstream: Any,
    failed: list[str],
    loop: asyncio.AbstractEventLoop,
) -> list[Contender]:
    """The contenders that can be built and know good tokens from bad; ``failed`` gets a line for each other."""
    found = []
    for build in builders:
        try:
            contender = build(upstream)
            admit(contender, loop)
        except (ImportError, NotFit) as error:
            failed.append(f"{build.__name__}: not timed: {error}")
        else:
            found.append(contender)
    return found


@dataclass
class Pools:
    """Tokens by flavour, or by the name of a pool; slices are taken in order and begin again at the end."""

    tokens: dict[str, list[str]]

    def take(self, contender: Contender, turn: int, count: int) -> list[Any]:
        """The arguments of one slice, made anew as a request's headers are."""
        pool = self.tokens[contender.pool or contender.flavour]
        if contender.once and (turn + 1) * count > len(pool):
            raise ValueError(f"too few tokens to show {contender.name} each only once")
        return [contender.wrap(pool[(turn * count + i) % len(pool)]) for i in range(count)]


@dataclass
class Series:
    """CPU microseconds per call, one figure for each slice."""

    rounds: list[float]

    @property
    def best(self) -> float:
        """The fastest slice, which decides."""
        return min(self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def ratio(self, other: Series) -> float:
        """The best of this one over the best of another."""
        return self.best / other.best

    def added(self, other: Series) -> float:
        """Microseconds more than another, each at its best."""
        return self.best - other.best


def race(
    contenders: Sequence[Contender],
    pools: Pools,
    loop: asyncio.AbstractEventLoop,
    *,
    rounds: int,
    count: int | dict[str, int],
) -> dict[str, Series]:
    """Time every contender in every round, each round beginning with another one. ``count``: calls in a slice.

    Every other round goes the other way round. What runs just before a contender has left its own code in the
    caches of the processor, or not: each of two that are compared gets the better neighbour.
    """
    series = {contender.name: Series([]) for contender in contenders}
    settle()
    for turn in range(rounds):
        shift = turn % len(contenders)
        order = [*contenders[shift:], *contenders[:shift]]
        for contender in order if turn % 2 == 0 else reversed(order):
            size = count if isinstance(count, int) else count[contender.name]
            arguments = pools.take(contender, turn, size)
            seconds, results = contender.results(arguments, loop)
            wrong = next((result for result in results if not contender.accepted(result)), None)
            if wrong is not None:
                raise NotFit(f"{contender.name} gave a wrong answer while it was timed: {wrong!r}")
            series[contender.name].rounds.append(seconds / size * 1e6)
    return series


def slice_sizes(
    contenders: Sequence[Contender], pools: Pools, loop: asyncio.AbstractEventLoop, rounds: int
) -> dict[str, int]:
    """How many calls of each make a slice; as many as there are new tokens for, where each is shown once."""
    sizes = {}
    for contender in contenders:
        if contender.once:
            sizes[contender.name] = len(pools.tokens[contender.pool or contender.flavour]) // rounds
            continue
        contender.results(pools.take(contender, 0, 5), loop)
        spent = min(contender.results(pools.take(contender, 0, 5), loop)[0] for _ in range(3)) / 5
        sizes[contender.name] = max(3, min(2000, int(SLICE / spent)))
    return sizes


def settle() -> None:
    """Nothing that was made until here is looked at again by the garbage collector, which stays on."""
    gc.collect()
    gc.freeze()
