"""Streams that end with the session: the items of an iterable, for as long as it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator, Iterable
from functools import partial
from typing import Any, TypeVar

from moonkey_core._operations.core import Headers
from moonkey_core.auth import Auth
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.gate import Requirements
from moonkey_core.web.origin import RequestInfo

__all__ = ["Ended", "abound_items", "before", "bound_items"]

T = TypeVar("T")


class Ended(Exception):
    """What is waited for comes too late: it has ended before."""


async def before(end: asyncio.Future[Any], work: Awaitable[T]) -> T:
    """The result of ``work``; when ``end`` is done, ``work`` is cancelled, and this raises :class:`Ended`.

    All in the same task, as a generator may hold what belongs to a task: a timeout, a task group.
    """
    scope = asyncio.timeout(None)
    try:
        async with scope:
            is_waiting = True

            def stop(_: object) -> None:
                if is_waiting:
                    scope.reschedule(0.0)  # long past: at once

            end.add_done_callback(stop)
            try:
                return await work
            finally:
                is_waiting = False
                end.remove_done_callback(stop)
    except TimeoutError:
        if not scope.expired():
            raise  # it is one of the work's own
        raise Ended from None


def bound_items(
    client: MoonKey,
    auth: Auth,
    items: Iterable[T],
    headers: Headers | None = None,
    info: RequestInfo | None = None,
) -> Generator[T, None, None]:
    """The items, until the session is over; each look at that takes about a microsecond.

    ``headers`` and ``info`` are as for :meth:`AsyncMoonKey.session_end`. Raises ``ValueError`` at the first item
    unless ``auth`` is authenticated.
    """
    verify = (
        None if headers is None else partial(client.authenticate, headers, Requirements(max_staleness=0), info)
    )
    endings = client._endings
    try:
        with endings.bound(auth, asks=verify is not None) as binding:
            iterator = iter(items)
            while not endings.is_over(binding, verify):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                if endings.is_over(binding, verify):
                    return
                yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


async def abound_items(
    client: AsyncMoonKey,
    auth: Auth,
    items: AsyncIterable[T],
    headers: Headers | None = None,
    info: RequestInfo | None = None,
) -> AsyncGenerator[T, None]:
    """The items, until the session is over: whoever makes the next one is cancelled then.

    ``headers`` and ``info`` are as for :meth:`AsyncMoonKey.session_end`. Raises ``ValueError`` at the first item
    unless ``auth`` is authenticated.
    """
    iterator = aiter(items)
    end = asyncio.ensure_future(client.session_end(auth, headers, info))
    try:
        await asyncio.sleep(0)  # it looks whether it has come already
        while not end.done():
            try:
                item = await before(end, anext(iterator))
            except (StopAsyncIteration, Ended):
                break
            if not end.done():
                yield item
        if end.done() and not end.cancelled():
            end.result()  # raises what is wrong with our being here
    finally:
        end.cancel()
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()
