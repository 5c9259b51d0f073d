"""Contenders side by side: in turn, in short slices, compared by the median of paired slices."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from tokens import Flavour, bad, good

Call = Callable[[Any], Any]


class NotFit(Exception):
    """A contender took a bad token for good, or a good one for bad: it is not timed."""


@dataclass
class Contender:
    """Something that verifies.

    ``call`` is what is timed; ``wrap`` makes its argument from a token, untimed. A refusal is an exception, or a
    result that ``accepted`` says no to. With ``once`` each token is shown to it only once.
    """

    name: str
    call: Call
    wrap: Callable[[str], Any] = str
    accepted: Callable[[Any], bool] = bool
    flavour: Flavour = "moonkey"
    is_async: bool = False
    once: bool = False
    note: str = ""

    def results(self, arguments: Sequence[Any], loop: asyncio.AbstractEventLoop) -> tuple[float, list[Any]]:
        """Seconds and results of one slice."""
        if self.is_async:
            return loop.run_until_complete(self._aslice(arguments))
        call = self.call
        start = time.perf_counter()
        results = [call(argument) for argument in arguments]
        return time.perf_counter() - start, results

    async def _aslice(self, arguments: Sequence[Any]) -> tuple[float, list[Any]]:
        call: Callable[[Any], Coroutine[Any, Any, Any]] = self.call
        start = time.perf_counter()
        results = [await call(argument) for argument in arguments]
        return time.perf_counter() - start, results

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
    """Tokens by flavour; slices are taken in order and begin again at the end."""

    tokens: dict[Flavour, list[str]]

    def take(self, contender: Contender, turn: int, count: int) -> list[Any]:
        """The arguments of one slice, made anew as a request's headers are."""
        pool = self.tokens[contender.flavour]
        if contender.once and (turn + 1) * count > len(pool):
            raise ValueError(f"too few tokens to show {contender.name} each only once")
        return [contender.wrap(pool[(turn * count + i) % len(pool)]) for i in range(count)]


@dataclass
class Series:
    """Microseconds per call, one figure for each round."""

    rounds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def ratio(self, other: Series) -> float:
        """The median of the ratios of slices of the same round."""
        return statistics.median(one / two for one, two in zip(self.rounds, other.rounds, strict=True))

    def added(self, other: Series) -> float:
        """The median of the differences of slices of the same round, in microseconds."""
        return statistics.median(one - two for one, two in zip(self.rounds, other.rounds, strict=True))


def race(
    contenders: Sequence[Contender],
    pools: Pools,
    loop: asyncio.AbstractEventLoop,
    *,
    rounds: int,
    count: int | dict[str, int],
) -> dict[str, Series]:
    """Time every contender in every round, each round beginning with another one. ``count``: calls in a slice."""
    series = {contender.name: Series([]) for contender in contenders}
    settle()
    for turn in range(rounds):
        shift = turn % len(contenders)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            size = count if isinstance(count, int) else count[contender.name]
            arguments = pools.take(contender, turn, size)
            seconds, results = contender.results(arguments, loop)
            if not all(contender.accepted(result) for result in results):
                raise NotFit(f"{contender.name} refused a good token while it was timed")
            series[contender.name].rounds.append(seconds / size * 1e6)
    return series


def slice_sizes(
    contenders: Sequence[Contender], pools: Pools, loop: asyncio.AbstractEventLoop, seconds: float
) -> dict[str, int]:
    """How many calls of each make a slice of about ``seconds``."""
    sizes = {}
    for contender in contenders:
        contender.results(pools.take(contender, 0, 5), loop)
        spent = min(contender.results(pools.take(contender, 0, 5), loop)[0] for _ in range(3)) / 5
        sizes[contender.name] = max(3, min(2000, int(seconds / spent)))
    return sizes


def settle() -> None:
    """Nothing that was made until here is looked at again by the garbage collector, which stays on."""
    gc.collect()
    gc.freeze()
