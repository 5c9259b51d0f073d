"""The clients: :class:`MoonKey` for threads, :class:`AsyncMoonKey` for tasks. Same constructor, same methods."""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import httpx

from moonkey_core import redis as _redis
from moonkey_core._operations import namespaces as m
from moonkey_core._operations.client_base import ClientBase
from moonkey_core._operations.core import Core, Headers
from moonkey_core._session_life.watch_policy import Reason
from moonkey_core._session_life.watchers import AsyncSessionWatcher, SessionWatcher
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core._verify.authenticator import Pending
from moonkey_core.auth import Auth
from moonkey_core.gate import Requirements
from moonkey_core.settings import Options, Settings, check_names
from moonkey_core.web.request import RequestInfo

if TYPE_CHECKING:
    from moonkey_core.flows.namespaces import AsyncFlows, Flows

__all__ = ["AsyncMoonKey", "MoonKey", "Pending"]


class MoonKey(ClientBase, m.Runs):
    """The blocking client. Make one per process and share it among threads.

    It is a context manager, and it can be used after ``fork()``.

    Args:
        settings: The secret key, or a whole ``Settings`` object.
        http_client: A client of the app's own that makes the calls.
        options: Single settings by keyword, see :class:`~moonkey_core.settings.Settings`. Each missing one is
            read from its ``MOONKEY_*`` environment variable.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
        TypeError: Settings were passed in two ways, or have no effect beside ``http_client``.
    """

    def authenticate(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth:
        """Authenticate a request by its headers. Every framework package calls this.

        Args:
            headers: A mapping, or a function that returns all values of one header by its lower-case name.
            requirements: The requirements of the route; here only how fresh the verification has to be.
            info: The facts of the request that decide whether its cookies count. Without it they are judged as
                those of an unsafe request of unknown origin.

        Returns:
            The identity. Whatever is wrong with the request or the API is its ``error``, and is not raised.

        Raises:
            ConfigurationError: A setting of the app is wrong.
        """
        found = self._core.begin(headers, requirements, info)
        return found if isinstance(found, Auth) else self.finish(found)

    def finish(self, pending: Pending, requirements: Requirements | None = None) -> Auth:
        """Authenticate a request that :meth:`begin` could not decide, with the network call that it needs.

        Args:
            pending: The result of ``begin``.
            requirements: The requirements of the route, where they are stricter than those passed to ``begin``.

        Returns:
            The identity.
        """
        core = self._core
        return m.run_in_time(self._exchange, core.settings.timeout, core.finish(pending, requirements))

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
        seconds = core.settings.timeout  # the function must not refer to `core`, which refers to it
        core.run_later = lambda plan: exchange.run_in_background(partial(m.run_in_time, exchange, seconds, plan))
        self.sessions: m.Sessions = m.Sessions(core, exchange)
        self.otps: m.Otps = m.Otps(core, exchange)
        self.magic_links: m.MagicLinks = m.MagicLinks(core, exchange)
        self.oauth: m.OAuth = m.OAuth(core, exchange)
        self.totps: m.Totps = m.Totps(core, exchange)
        self.wallets: m.Wallets = m.Wallets(core, exchange)
        self.users: m.Users = m.Users(core, exchange)
        self._session_watcher = SessionWatcher(core.revocations, core.feed, core.settings.on_feed_lost)

    @cached_property
    def flows(self) -> Flows:
        """The ready-made sign-in and session routes."""
        from moonkey_core.flows.namespaces import Flows

        return Flows(self._core, self._exchange)

    def is_over(self, auth: Auth) -> bool:
        """Return whether the session of an identity has expired or is revoked, as far as this process knows.

        Makes no network call. A revocation is forgotten when no JWT of its time is accepted any more, so call this
        at least every five minutes, or use :func:`moonkey_core.streams.bound_items`.

        Args:
            auth: The identity.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        with self._session_watcher.watching(auth, can_verify=False) as watched:
            return self._session_watcher.is_over(watched, None)

    def close(self) -> None:
        """Close all connections. The client cannot be used after this. Further calls have no effect."""
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

    It is an asynchronous context manager, and it can be used after ``fork()``. The arguments and errors are those
    of :class:`MoonKey`.
    """

    async def authenticate(
        self, headers: Headers, requirements: Requirements | None = None, info: RequestInfo | None = None
    ) -> Auth:
        """Authenticate a request by its headers. Every framework package calls this.

        Args:
            headers: A mapping, or a function that returns all values of one header by its lower-case name.
            requirements: The requirements of the route; here only how fresh the verification has to be.
            info: The facts of the request that decide whether its cookies count. Without it they are judged as
                those of an unsafe request of unknown origin.

        Returns:
            The identity. Whatever is wrong with the request or the API is its ``error``, and is not raised.

        Raises:
            ConfigurationError: A setting of the app is wrong.
        """
        found = self._core.begin(headers, requirements, info)
        return found if isinstance(found, Auth) else await self.finish(found)

    async def finish(self, pending: Pending, requirements: Requirements | None = None) -> Auth:
        """Authenticate a request that :meth:`begin` could not decide, with the network call that it needs.

        Args:
            pending: The result of ``begin``.
            requirements: The requirements of the route, where they are stricter than those passed to ``begin``.

        Returns:
            The identity.
        """
        core = self._core
        # Many requests that begin at the same time must not hold up the event loop.
        await self._exchange.throttle(pending.coalesce_key)
        return await m.arun_in_time(self._exchange, core.settings.timeout, core.finish(pending, requirements))

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
        core.run_later = lambda plan: exchange.run_in_background(partial(m.arun_in_time, exchange, seconds, plan))
        self.sessions: m.AsyncSessions = m.AsyncSessions(core, exchange)
        self.otps: m.AsyncOtps = m.AsyncOtps(core, exchange)
        self.magic_links: m.AsyncMagicLinks = m.AsyncMagicLinks(core, exchange)
        self.oauth: m.AsyncOAuth = m.AsyncOAuth(core, exchange)
        self.totps: m.AsyncTotps = m.AsyncTotps(core, exchange)
        self.wallets: m.AsyncWallets = m.AsyncWallets(core, exchange)
        self.users: m.AsyncUsers = m.AsyncUsers(core, exchange)
        self._session_watcher = AsyncSessionWatcher(core.revocations, core.feed, core.settings.on_feed_lost)

    @cached_property
    def flows(self) -> AsyncFlows:
        """The ready-made sign-in and session routes."""
        from moonkey_core.flows.namespaces import AsyncFlows

        return AsyncFlows(self._core, self._exchange)

    async def session_end(
        self, auth: Auth, headers: Headers | None = None, info: RequestInfo | None = None
    ) -> Reason:
        """Wait until the session of an identity is over, and return the reason.

        For a connection that outlives its request. Call it when the identity has just been verified. It may be
        cancelled. With ``headers``, the session is verified again when its known end has come, as it may have been
        extended, and from time to time while the revocation feed is lost for minutes. Where the API cannot be
        reached at the known end, the session counts as expired.

        Args:
            auth: The identity.
            headers: The headers of the request that it comes from.
            info: The facts of that request, as for :meth:`authenticate`.

        Returns:
            ``"expired"`` or ``"revoked"``.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        verify = (
            None if headers is None else partial(self.authenticate, headers, Requirements(max_staleness=0), info)
        )
        return await self._session_watcher.wait_until_over(auth, verify)

    async def aclose(self) -> None:
        """Close all connections. The client cannot be used after this. Further calls have no effect."""
        try:
            await self._exchange.aclose()
            if self._store is not None:
                await self._store.aclose()
        finally:
            if self._core.feed is not None:
                await asyncio.to_thread(_leave, self._core)  # it may wait until the feed has sent its last entries

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
    """Return the settings of a client. ``first`` is its positional argument: all settings, or the secret key."""
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
    """Make the core of a client. All clients of an app in this process share their revocations."""
    revocations, feed = _redis.shared_revocations(settings)
    core = Core(settings, revocations=revocations, feed=feed)
    if feed is not None:
        feed.acquire(core.hooks)
    return core


def _leave(core: Core) -> None:
    closed, core.closed = core.closed, True
    if core.feed is not None and not closed:
        core.feed.release(core.hooks)
