"""Running the operations of the clients, with a time limit for all calls together; what all namespaces share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan, RevokingPlan, arun, run

if TYPE_CHECKING:
    from moonkey_core._transport.exchange import AsyncExchange, SyncExchange

T = TypeVar("T")


def run_in_time(exchange: SyncExchange, seconds: float, plan: RevokingPlan[T]) -> T:
    """Run a plan to its result; all its calls together may take so many seconds."""
    return run(plan, partial(exchange.carry_out, deadline=_clock.elapsed() + seconds))


def arun_in_time(exchange: AsyncExchange, seconds: float, plan: RevokingPlan[T]) -> Coroutine[Any, Any, T]:
    """Run a plan to its result, with awaited calls; all of them together may take so many seconds from now."""
    return arun(plan, partial(exchange.carry_out, deadline=_clock.elapsed() + seconds))


def run_each_in_time(exchange: SyncExchange, seconds: float, plan: Plan[T]) -> T:
    """Run a plan beside the requests to its result; each call may take so many seconds after its pause."""
    return run(plan, lambda fetch: exchange(fetch, _clock.elapsed() + fetch.pause + seconds))


async def arun_each_in_time(exchange: AsyncExchange, seconds: float, plan: Plan[T]) -> T:
    """Run a plan in the same way, with awaited calls."""
    return await arun(plan, lambda fetch: exchange(fetch, _clock.elapsed() + fetch.pause + seconds))


class _Named:
    """A class that gives its methods their names, as ``def`` would: they are made before they have one."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in vars(cls).items():
            if isinstance(method, FunctionType) and hasattr(method, "__signature__"):
                method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
                method.__module__ = cls.__module__


class Runs(_Named):
    """The base of the namespaces of a blocking client."""

    _select: Callable[[bool, Mapping[str, Any]], Runs] | None = None
    """With several providers: returns the namespace of the one that a call is about, by its arguments."""

    def __init__(self, core: Core, exchange: SyncExchange) -> None:
        self._core = core
        self._exchange = exchange

    def _run(self, plan: Generator[Any, Any, T]) -> T:
        return run_in_time(self._exchange, self._core.settings.timeout, plan)


class Awaits(_Named):
    """The base of the namespaces of an asynchronous client."""

    _select: Callable[[bool, Mapping[str, Any]], Awaits] | None = None
    """With several providers: returns the namespace of the one that a call is about, by its arguments."""

    def __init__(self, core: Core, exchange: AsyncExchange) -> None:
        self._core = core
        self._exchange = exchange

    async def _run(self, plan: Generator[Any, Any, T]) -> T:
        return await arun_in_time(self._exchange, self._core.settings.timeout, plan)
