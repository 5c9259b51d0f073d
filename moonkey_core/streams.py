"""Streams that end with the session: the items of an iterable until the session is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator, Iterable
from functools import partial
from typing import Any, TypeVar

from moonkey_core._operations.core import Headers
from moonkey_core.auth import Auth
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.gate import Requirements
from moonkey_core.web.request import RequestInfo

__all__ = ["abound_items", "bound_items"]

T = TypeVar("T")


class Ended(Exception):
    """The end came before the result."""


async def run_until(end: asyncio.Future[Any], work: Awaitable[T]) -> T:
    """Return the result of ``work``, unless ``end`` is done before.

    All is run in the same task, as a generator may contain what belongs to a task: a timeout, a task group.

    Raises:
        Ended: ``end`` was done first; ``work`` has been cancelled.
    """
    scope = asyncio.timeout(None)
    try:
        async with scope:
            is_waiting = True

            def stop(_: object) -> None:
                if is_waiting:
                    scope.reschedule(0.0)  # in the past: at once

            end.add_done_callback(stop)
            try:
                return await work
            finally:
                is_waiting = False
                end.remove_done_callback(stop)
    except TimeoutError:
        if not scope.expired():
            raise  # a timeout of the work itself
        raise Ended from None


def bound_items(
    client: MoonKey,
    auth: Auth,
    items: Iterable[T],
    headers: Headers | None = None,
    info: RequestInfo | None = None,
) -> Generator[T, None, None]:
    """Yield the items until the session is over. Each check of that takes about a microsecond.

    Args:
        client: The client that has verified ``auth``.
        auth: The identity of the request.
        items: The items.
        headers: As for :meth:`AsyncMoonKey.session_end`.
        info: As for :meth:`AsyncMoonKey.session_end`.

    Raises:
        ValueError: At the first item, where ``auth`` is not authenticated.
    """
    verify = (
        None if headers is None else partial(client.authenticate, headers, Requirements(max_staleness=0), info)
    )
    watcher = client._session_watcher
    try:
        with watcher.watching(auth, can_verify=verify is not None) as watched:
            iterator = iter(items)
            while not watcher.is_over(watched, verify):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                if watcher.is_over(watched, verify):
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
    """Yield the items until the session is over; the work on the next item is cancelled then.

    Args:
        client: The client that has verified ``auth``.
        auth: The identity of the request.
        items: The items.
        headers: As for :meth:`AsyncMoonKey.session_end`.
        info: As for :meth:`AsyncMoonKey.session_end`.

    Raises:
        ValueError: At the first item, where ``auth`` is not authenticated.
    """
    iterator = aiter(items)
    end = asyncio.ensure_future(client.session_end(auth, headers, info))
    try:
        await asyncio.sleep(0)  # lets it see whether the session is over already
        while not end.done():
            try:
                item = await run_until(end, anext(iterator))
            except (StopAsyncIteration, Ended):
                break
            if not end.done():
                yield item
        if end.done() and not end.cancelled():
            end.result()  # raises its error, if it has one
    finally:
        end.cancel()
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()
