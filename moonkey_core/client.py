"""The clients: :class:`MoonKey` for threads, :class:`AsyncMoonKey` for tasks. Same constructor, same methods."""

from __future__ import annotations

import asyncio
import os
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack
from weakref import WeakSet

from moonkey_core import _repeated_log
from moonkey_core import redis as _redis
from moonkey_core._operations import namespaces as m
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.client_base import ClientBase
from moonkey_core._operations.core import Core, Headers
from moonkey_core._session_life.watch_policy import Reason
from moonkey_core._session_life.watchers import AsyncEndings, Endings
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.auth import Auth
from moonkey_core.gate import Requirements
from moonkey_core.settings import Options, Settings, check_names
from moonkey_core.web.origin import RequestInfo

if TYPE_CHECKING:
    import httpx

    from moonkey_core.flows.namespaces import AsyncFlows, Flows

__all__ = ["AsyncMoonKey", "MoonKey"]


class MoonKey(ClientBase, m.Runs):
    """The blocking client. Make one per process and share it among threads.

    Settings by keyword (see :class:`~moonkey_core.settings.Settings`), each missing one from its ``MOONKEY_*``
    variable; the secret key, or a whole ``Settings`` object, may stand first. Raises
    :class:`~moonkey_core.errors.ConfigurationError` for a wrong or missing one. Usable as a context manager;
    survives ``fork()``.
    """

    _authenticate = m.blocking(operations.authenticate)

    def authenticate(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth:
        """The identity of a request, from its headers. What every framework package calls.

        ``headers`` is a mapping, or a function that returns all values of one header by its lower-case name.
        ``requirements`` are those of the route: how fresh the answer has to be. ``info`` tells of the request what
        cookies are judged by; without it, they are those of an unsafe request from who knows where. Raises only
        :class:`~moonkey_core.errors.ConfigurationError`; anything about the caller or the API is in the ``Auth``.
        """
        found = self._core.start(headers, requirements, info)
        return found if isinstance(found, Auth) else self._authenticate(found, requirements)

    def __init__(
        self,
        settings: Settings | str | None = None,
        /,
        *,
        http_client: httpx.Client | None = None,
        **options: Unpack[Options],
    ) -> None:
        core = _core(_settings(settings, options, http_client))
        self._store = _redis.RedisStore(core.settings) if core.settings.redis_url else None
        exchange = SyncExchange(
            core.settings, breaker=core.breaker, hooks=core.hooks, store=self._store, http_client=http_client
        )
        super().__init__(core, exchange)
        seconds = core.settings.timeout  # not `core` itself, which would then hold itself
        core.run_later = lambda plan: exchange.later(partial(m.run_in_time, exchange, seconds, plan))
        self.sessions = m.Sessions(core, exchange)
        self.otps = m.Otps(core, exchange)
        self.magic_links = m.MagicLinks(core, exchange)
        self.oauth = m.OAuth(core, exchange)
        self.totps = m.Totps(core, exchange)
        self.wallets = m.Wallets(core, exchange)
        self.users = m.Users(core, exchange)
        self._endings = Endings(core.revocations, core.feed, core.settings.on_feed_lost)
        _clients.add(self)

    @cached_property
    def flows(self) -> Flows:
        """The ready-made session routes."""
        from moonkey_core.flows.namespaces import Flows

        return Flows(self._core, self._exchange)

    def is_over(self, auth: Auth) -> bool:
        """Whether the session of an identity has ended or is revoked, as far as this process knows. Asks nobody.

        A revocation is forgotten when no JWT of its time is accepted any more: ask within five minutes, or leave
        that to :func:`moonkey_core.streams.bound_items`. Raises ``ValueError`` unless ``auth`` is authenticated.
        """
        with self._endings.bound(auth, asks=False) as binding:
            return self._endings.is_over(binding, None)

    def close(self) -> None:
        """Close all connections; may be called again. The client is of no use afterwards."""
        try:
            self._exchange.close()
            if self._store is not None:
                self._store.close()
        finally:
            _leave(self._core)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncMoonKey(ClientBase, m.Awaits):
    """The asynchronous client. Make one per process; it keeps one pool of connections per event loop.

    Settings as for :class:`MoonKey`; usable as an asynchronous context manager; survives ``fork()``.
    """

    _authenticate = m.awaiting(operations.authenticate)

    async def authenticate(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth:
        """The identity of a request, from its headers. What every framework package calls.

        ``headers`` is a mapping, or a function that returns all values of one header by its lower-case name.
        ``requirements`` are those of the route: how fresh the answer has to be. ``info`` tells of the request what
        cookies are judged by; without it, they are those of an unsafe request from who knows where. Raises only
        :class:`~moonkey_core.errors.ConfigurationError`; anything about the caller or the API is in the ``Auth``.
        """
        found = self._core.start(headers, requirements, info)
        if isinstance(found, Auth):
            return found
        await self._exchange.turn(found.share)  # a thousand that begin at once must not hold up the event loop
        return await self._authenticate(found, requirements)

    def __init__(
        self,
        settings: Settings | str | None = None,
        /,
        *,
        http_client: httpx.AsyncClient | None = None,
        **options: Unpack[Options],
    ) -> None:
        core = _core(_settings(settings, options, http_client))
        self._store = _redis.AsyncRedisStore(core.settings) if core.settings.redis_url else None
        exchange = AsyncExchange(
            core.settings, breaker=core.breaker, hooks=core.hooks, store=self._store, http_client=http_client
        )
        super().__init__(core, exchange)
        seconds = core.settings.timeout
        core.run_later = lambda plan: exchange.later(partial(m.arun_in_time, exchange, seconds, plan))
        self.sessions = m.AsyncSessions(core, exchange)
        self.otps = m.AsyncOtps(core, exchange)
        self.magic_links = m.AsyncMagicLinks(core, exchange)
        self.oauth = m.AsyncOAuth(core, exchange)
        self.totps = m.AsyncTotps(core, exchange)
        self.wallets = m.AsyncWallets(core, exchange)
        self.users = m.AsyncUsers(core, exchange)
        self._endings = AsyncEndings(core.revocations, core.feed, core.settings.on_feed_lost)
        _clients.add(self)

    @cached_property
    def flows(self) -> AsyncFlows:
        """The ready-made session routes."""
        from moonkey_core.flows.namespaces import AsyncFlows

        return AsyncFlows(self._core, self._exchange)

    async def session_end(
        self, auth: Auth, headers: Headers | None = None, info: RequestInfo | None = None
    ) -> Reason:
        """Wait until the session of an identity is over, and say why: ``"expired"`` or ``"revoked"``.

        For a connection that outlives its request; to be called when the identity has just been verified. With
        the ``headers`` and ``info`` that it came from, the API is asked at the known end whether the session was
        extended (where it cannot be asked, that is the end), and now and then while a feed is away for minutes.
        May be cancelled. Raises ``ValueError`` unless ``auth`` is authenticated.
        """
        asks = (
            None if headers is None else partial(self.authenticate, headers, Requirements(max_staleness=0), info)
        )
        return await self._endings.end_of(auth, asks)

    async def aclose(self) -> None:
        """Close all connections; may be called again. The client is of no use afterwards."""
        try:
            await self._exchange.aclose()
            if self._store is not None:
                await self._store.aclose()
        finally:
            if self._core.feed is not None:
                await asyncio.to_thread(_leave, self._core)  # it may wait for the feed's last words

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _settings(first: Settings | str | None, options: Options, http_client: object) -> Settings:
    """The settings of a client; ``first`` is its one positional argument: all of them, or the secret key."""
    if isinstance(first, Settings):
        if options:
            raise TypeError("Give either a Settings object or single settings, not both.")
        return first
    check_names(options, beside=("http_client",))
    if http_client is not None and (options.get("trust_env") is True or options.get("transport") == "aiohttp"):
        raise TypeError("http_client carries the calls: trust_env and transport have no effect beside it.")
    if first is not None and "secret_key" in options:
        raise TypeError("Give the secret key once.")
    return Settings.load(options if first is None else {**options, "secret_key": first})


def _core(settings: Settings) -> Core:
    """The deciding half; what is revoked is known to all clients of an app in this process."""
    revocations, feed = _redis.shared_revocations(settings)
    core = Core(settings, revocations=revocations, feed=feed)
    if feed is not None:
        feed.acquire(core.hooks)
    return core


def _leave(core: Core) -> None:
    closed, core.closed = core.closed, True
    if core.feed is not None and not closed:
        core.feed.release(core.hooks)


_clients: WeakSet[MoonKey | AsyncMoonKey] = WeakSet()


def _after_fork() -> None:
    _repeated_log.reset()
    _redis.after_fork()
    # Locks may be held by threads that do not exist here, and connections belong to the parent.
    for client in _clients:
        client._core.reset_locks()
        client._exchange.reset()
        client._endings.reset()
        if client._store is not None:
            client._store.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
