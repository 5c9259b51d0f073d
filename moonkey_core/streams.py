"""Streams that end with the session: the items of an iterable until the session is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, TypeVar, Unpack

from moonkey_core._operations.core import Headers
from moonkey_core._session_life.bound import AsyncBoundSession, BoundSession, OnRenewed
from moonkey_core._session_life.renewal import CredentialIn, Renewal, Renewed, json_member, renewal_of
from moonkey_core.auth import Auth
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.gate import RequirementOptions
from moonkey_core.web.request import RequestInfo

__all__ = [
    "AsyncBoundSession", "AsyncBoundStream", "BoundSession", "BoundStream", "CredentialIn", "Renewal", "Renewed",
    "abound_items", "bound_items", "json_member", "renewal_of",
]  # fmt: skip

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


class BoundStream(Generator[T, None, None]):
    """The items of a stream until its session is over. Made by :func:`bound_items`."""

    def __init__(self, bound: BoundSession, items: Generator[T, None, None]) -> None:
        self._bound = bound
        self._items = items

    @property
    def auth(self) -> Auth:
        """The identity by the newest credential."""
        return self._bound.auth

    def renew(self, credential: str, **requirements: Unpack[RequirementOptions]) -> Auth:
        """Go on with a newer credential, see :meth:`BoundSession.renew`. May be called in any thread."""
        return self._bound.renew(credential, **requirements)

    def renew_by(self, renewal: Renewal, message: object) -> Renewed | None:
        """Go on with the credential in a message, see :meth:`BoundSession.renew_by`."""
        return self._bound.renew_by(renewal, message)

    def __next__(self) -> T:
        return next(self._items)

    def send(self, value: None, /) -> T:
        """Do the same as a generator."""
        return self._items.send(value)

    def throw(self, kind: Any, error: Any = None, trace: TracebackType | None = None, /) -> T:
        """Do the same as a generator."""
        return self._items.throw(kind if error is None else error)

    def close(self) -> None:
        """Do the same as a generator."""
        self._items.close()


class AsyncBoundStream(AsyncGenerator[T, None]):
    """The items of a stream until its session is over. Made by :func:`abound_items`."""

    def __init__(self, bound: AsyncBoundSession, items: AsyncGenerator[T, None]) -> None:
        self._bound = bound
        self._items = items

    @property
    def auth(self) -> Auth:
        """The identity by the newest credential."""
        return self._bound.auth

    async def renew(self, credential: str, **requirements: Unpack[RequirementOptions]) -> Auth:
        """Go on with a newer credential, see :meth:`BoundSession.renew`."""
        return await self._bound.renew(credential, **requirements)

    def __anext__(self) -> Coroutine[Any, Any, T]:
        return self._items.__anext__()

    def asend(self, value: None, /) -> Coroutine[Any, Any, T]:
        """Do the same as an asynchronous generator."""
        return self._items.asend(value)

    def athrow(
        self, kind: Any, error: Any = None, trace: TracebackType | None = None, /
    ) -> Coroutine[Any, Any, T]:
        """Do the same as an asynchronous generator."""
        return self._items.athrow(kind if error is None else error)

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Do the same as an asynchronous generator."""
        return self._items.aclose()


def bound_items(
    client: MoonKey,
    auth: Auth,
    items: Iterable[T],
    headers: Headers | None = None,
    info: RequestInfo | None = None,
    *,
    on_renewed: OnRenewed | None = None,
    renewal: Renewal | CredentialIn | None = None,
) -> BoundStream[T]:
    """Return the items until the session is over. Each check of that takes about a microsecond.

    Args:
        client: The client that has verified ``auth``.
        auth: The identity of the request.
        items: The items.
        headers: As for :meth:`AsyncMoonKey.session_end`.
        info: As for :meth:`AsyncMoonKey.session_end`.
        on_renewed: Is called with the new identity, and the headers that it comes from, after each renewal.
        renewal: Finds a newer credential in an item, which is left out then; the stream goes on with it.

    Raises:
        ValueError: ``auth`` is not authenticated.
    """
    bound = client.bind(auth, headers, info)
    bound.on_renewed = on_renewed
    return BoundStream(bound, _until_over(bound, items, renewal_of(renewal)))


def _until_over(bound: BoundSession, items: Iterable[T], renewal: Renewal | None) -> Generator[T, None, None]:
    try:
        with bound.watching():
            iterator = iter(items)
            while not bound.is_over():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                if bound.is_over():
                    return
                renewed = None if renewal is None else bound.renew_by(renewal, item)
                if renewed is None:
                    yield item
                elif renewed.answer is not None:
                    yield renewed.answer
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def abound_items(
    client: AsyncMoonKey,
    auth: Auth,
    items: AsyncIterable[T],
    headers: Headers | None = None,
    info: RequestInfo | None = None,
    *,
    on_renewed: OnRenewed | None = None,
    renewal: Renewal | CredentialIn | None = None,
) -> AsyncBoundStream[T]:
    """Return the items until the session is over; the work on the next item is cancelled then.

    Args:
        client: The client that has verified ``auth``.
        auth: The identity of the request.
        items: The items.
        headers: As for :meth:`AsyncMoonKey.session_end`.
        info: As for :meth:`AsyncMoonKey.session_end`.
        on_renewed: Is called with the new identity, and the headers that it comes from, after each renewal.
        renewal: Finds a newer credential in an item, which is left out then; the stream goes on with it.

    Raises:
        ValueError: ``auth`` is not authenticated.
    """
    bound = client.bind(auth, headers, info)
    bound.on_renewed = on_renewed
    return AsyncBoundStream(bound, _auntil_over(bound, items, renewal_of(renewal)))


async def _auntil_over(
    bound: AsyncBoundSession, items: AsyncIterable[T], renewal: Renewal | None
) -> AsyncGenerator[T, None]:
    iterator = aiter(items)
    end = asyncio.ensure_future(bound.session_end())
    try:
        await asyncio.sleep(0)  # lets it see whether the session is over already
        while not end.done():
            try:
                item = await run_until(end, anext(iterator))
                renewed = None if renewal is None else await run_until(end, bound.renew_by(renewal, item))
            except (StopAsyncIteration, Ended):
                break
            if end.done():
                break
            if renewed is None:
                yield item
            elif renewed.answer is not None:
                yield renewed.answer
        if end.done() and not end.cancelled():
            end.result()  # raises its error, if it has one
    finally:
        end.cancel()
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()
