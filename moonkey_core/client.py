"""The clients: :class:`MoonKey` for threads, :class:`AsyncMoonKey` for tasks. Same constructor, same methods."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, ExitStack
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from moonkey_core import redis as _redis
from moonkey_core._late_module import LateModule
from moonkey_core._operations import running
from moonkey_core._operations.client_base import ClientBase
from moonkey_core._operations.core import Core, Headers, as_view, provider_of
from moonkey_core._operations.late_namespaces import HasAsyncNamespaces, HasNamespaces
from moonkey_core._verify.authenticator import Pending
from moonkey_core.auth import Auth
from moonkey_core.gate import Requirements
from moonkey_core.revocations import Revocations
from moonkey_core.settings import Settings, check_names
from moonkey_core.web.request import RequestInfo

if TYPE_CHECKING:
    import httpx

    from moonkey_core._session_life import bound, watch_policy
    from moonkey_core.flows import namespaces as flow_namespaces
    from moonkey_core.settings import options as setting_types
else:
    httpx = LateModule("httpx")
    bound = LateModule("moonkey_core._session_life.bound")
    watch_policy = LateModule("moonkey_core._session_life.watch_policy")
    flow_namespaces = LateModule("moonkey_core.flows.namespaces")
    setting_types = LateModule("moonkey_core.settings.options")

__all__ = ["AsyncClient", "AsyncMoonKey", "Client", "MoonKey", "Pending"]

_FEED_PAUSE = 0.02  # seconds between two looks at a feed that is about to begin


class MoonKey(ClientBase, HasNamespaces):
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
        found = self._front.begin(headers, requirements, info)
        if not isinstance(found, Auth):
            return self.finish(found)
        if requirements is not None and requirements.mfa_max_age is not None and requirements.needs_record(found):
            self.mfa.load(found)
        return found

    def finish(self, pending: Pending, requirements: Requirements | None = None) -> Auth:
        """Authenticate a request that :meth:`begin` could not decide, with the network call that it needs.

        Args:
            pending: The result of ``begin``.
            requirements: The requirements of the route, where they are stricter than those passed to ``begin``.

        Returns:
            The identity.
        """
        if self.providers:
            return self.providers[pending.presented.provider].finish(pending, requirements)
        core = self._core
        while core.is_starting:
            time.sleep(_FEED_PAUSE)
        auth = running.run_in_time(self._exchange, core.settings.timeout, core.finish(pending, requirements))
        if (pending.requirements if requirements is None else requirements).needs_record(auth):
            self.mfa.load(auth)
        return auth

    def __init__(
        self,
        settings: Settings | str | None = None,
        /,
        *,
        http_client: httpx.Client | None = None,
        **options: Unpack[setting_types.Options],
    ) -> None:
        found = _settings(settings, options, http_client)
        if found.members:
            self._join({name: MoonKey(one, http_client=http_client) for name, one in found.members.items()}, found)
            return
        from moonkey_core._session_life.watchers import SessionWatcher
        from moonkey_core._transport.exchange import SyncExchange  # it loads httpx

        core = _core(found)
        self._front = core
        self._store = _redis.RedisStore(core.settings) if core.settings.redis_url else None
        exchange = SyncExchange(
            core.settings,
            breaker=core.breaker,
            hooks=core.hooks,
            on_clock=core.revocations.set_issuer_offset,
            store=self._store,
            http_client=http_client,
        )
        super().__init__(core, exchange)
        self.settings: Settings = core.settings
        self.revocations: Revocations = core.revocations
        seconds = core.settings.timeout  # the function must not refer to `core`, which refers to it
        core.run_later = lambda plan: exchange.run_in_background(
            partial(running.run_in_time, exchange, seconds, plan)
        )
        core.run_lasting = lambda plan: exchange.run_in_background(
            partial(running.run_each_in_time, exchange, seconds, plan), lasts=True
        )
        self._session_watcher = SessionWatcher(
            core.revocations,
            core.feed,
            core.settings.on_feed_lost,
            feed_lost_bound=core.settings.feed_lost_bound,
        )

    @cached_property
    def flows(self) -> flow_namespaces.Flows:
        """The ready-made sign-in and session routes."""
        return flow_namespaces.Flows(
            self._core, self._exchange, self._store, lambda auth: self._client_of(auth).flows
        )

    def bind(
        self, auth: Auth, headers: Headers | None = None, info: RequestInfo | None = None
    ) -> bound.BoundSession:
        """Return the tie of a connection to its session, for a loop of the app's own. Makes no network call.

        Args:
            auth: The identity of the connection's request, just verified.
            headers: The headers of that request; without them no call is made at the known end.
            info: The facts of that request, as for :meth:`authenticate`.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        one, view = self._client_of(auth), None if headers is None else as_view(headers)
        return bound.BoundSession(
            one.settings,
            one._session_watcher,
            one._core.credential_digests,
            one.authenticate,
            auth,
            view,
            info,
        )

    def is_over(self, auth: Auth) -> bool:
        """Return whether the session of an identity has expired or is revoked, as far as this process knows.

        Makes no network call. A revocation is forgotten when no JWT of its time is accepted any more, so call this
        at least every five minutes, or use :func:`moonkey_core.streams.bound_items`.

        Args:
            auth: The identity.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        watcher = self._client_of(auth)._session_watcher
        with watcher.watching(auth, can_verify=False) as watched:
            return watcher.is_over(watched, None)

    def close(self) -> None:
        """Close all connections. The client cannot be used after this. Further calls have no effect.

        Ends of sessions that the API could not be told of yet are given up, with an error in the log.
        """
        if self.providers:
            with ExitStack() as stack:
                for one in self.providers.values():
                    stack.callback(one.close)
            return
        self._core.endings.close()
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


class AsyncMoonKey(ClientBase, HasAsyncNamespaces):
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
        if self._exchange.is_crowded:
            await self._exchange.enter()
        found = self._front.begin(headers, requirements, info)
        if not isinstance(found, Auth):
            return await self.finish(found)
        if requirements is not None and requirements.mfa_max_age is not None and requirements.needs_record(found):
            await self.mfa.load(found)
        return found

    async def finish(self, pending: Pending, requirements: Requirements | None = None) -> Auth:
        """Authenticate a request that :meth:`begin` could not decide, with the network call that it needs.

        Args:
            pending: The result of ``begin``.
            requirements: The requirements of the route, where they are stricter than those passed to ``begin``.

        Returns:
            The identity.
        """
        if self.providers:
            return await self.providers[pending.presented.provider].finish(pending, requirements)
        core = self._core
        while core.is_starting:  # a thread reads it, which knows no event loop
            await _sleep(_FEED_PAUSE)
        # Many requests that begin at the same time must not hold up the event loop.
        if self._exchange.throttles():
            await self._exchange.throttle(pending.coalesce_key)
        auth = await running.arun_in_time(
            self._exchange, core.settings.timeout, core.finish(pending, requirements)
        )
        if (pending.requirements if requirements is None else requirements).needs_record(auth):
            await self.mfa.load(auth)
        return auth

    def __init__(
        self,
        settings: Settings | str | None = None,
        /,
        *,
        http_client: httpx.AsyncClient | None = None,
        **options: Unpack[setting_types.Options],
    ) -> None:
        found = _settings(settings, options, http_client)
        if found.members:
            self._join(
                {name: AsyncMoonKey(one, http_client=http_client) for name, one in found.members.items()}, found
            )
            return
        from moonkey_core._session_life.watchers import AsyncSessionWatcher
        from moonkey_core._transport.exchange import AsyncExchange

        core = _core(found)
        self._front = core
        self._store = _redis.AsyncRedisStore(core.settings) if core.settings.redis_url else None
        exchange = AsyncExchange(
            core.settings,
            breaker=core.breaker,
            hooks=core.hooks,
            on_clock=core.revocations.set_issuer_offset,
            store=self._store,
            http_client=http_client,
        )
        super().__init__(core, exchange)
        self.settings: Settings = core.settings
        self.revocations: Revocations = core.revocations
        seconds = core.settings.timeout
        core.run_later = lambda plan: exchange.run_in_background(
            partial(running.arun_in_time, exchange, seconds, plan)
        )
        core.run_lasting = lambda plan: exchange.run_in_background(
            partial(running.arun_each_in_time, exchange, seconds, plan), lasts=True
        )
        self._session_watcher = AsyncSessionWatcher(
            core.revocations,
            core.feed,
            core.settings.on_feed_lost,
            feed_lost_bound=core.settings.feed_lost_bound,
        )

    @cached_property
    def flows(self) -> flow_namespaces.AsyncFlows:
        """The ready-made sign-in and session routes."""
        return flow_namespaces.AsyncFlows(
            self._core, self._exchange, self._store, lambda auth: self._client_of(auth).flows
        )

    async def session_end(
        self, auth: Auth, headers: Headers | None = None, info: RequestInfo | None = None
    ) -> watch_policy.Reason:
        """Wait until the session of an identity is over, and return the reason.

        For a connection that outlives its request. Call it when the identity has just been verified. It may be
        cancelled. With ``headers``, the session is verified again when its known end has come, as it may have been
        extended, and from time to time while the revocation feed is lost for minutes; and it ends where another
        process finds their credential dead. Where the API cannot be
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
        return await self.bind(auth, headers, info).session_end()

    def bind(
        self, auth: Auth, headers: Headers | None = None, info: RequestInfo | None = None
    ) -> bound.AsyncBoundSession:
        """Return the tie of a connection to its session: wait for its end, or renew its credential.

        Args:
            auth: The identity of the connection's request, just verified.
            headers: The headers of that request; without them no call is made at the known end.
            info: The facts of that request, as for :meth:`authenticate`.

        Raises:
            ValueError: ``auth`` is not authenticated.
        """
        one, view = self._client_of(auth), None if headers is None else as_view(headers)
        return bound.AsyncBoundSession(
            one.settings,
            one._session_watcher,
            one._core.credential_digests,
            one.authenticate,
            auth,
            view,
            info,
        )

    async def aclose(self) -> None:
        """Close all connections. The client cannot be used after this. Further calls have no effect.

        Ends of sessions that the API could not be told of yet are given up, with an error in the log.
        """
        if self.providers:
            async with AsyncExitStack() as stack:
                for one in self.providers.values():
                    stack.push_async_callback(one.aclose)
            return
        self._core.endings.close()
        try:
            await self._exchange.aclose()
            if self._store is not None:
                await self._store.aclose()
        finally:
            if self._core.feed is not None:
                import asyncio

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


Client = MoonKey
"""Another name for :class:`MoonKey`, which reads well with other providers: ``Client(provider=Auth0(…))``."""

AsyncClient = AsyncMoonKey
"""The same for :class:`AsyncMoonKey`."""


def _settings(first: Settings | str | None, options: setting_types.Options, http_client: object) -> Settings:
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
    provider = provider_of(settings)
    revocations, feed = _redis.shared_revocations(settings, provider)
    core = Core(settings, provider=provider, revocations=revocations, feed=feed)
    if feed is not None:
        feed.acquire(core.hooks)
    return core


async def _sleep(seconds: float) -> None:
    import asyncio  # not with the classes: a blocking app needs none of it

    await asyncio.sleep(seconds)


def _leave(core: Core) -> None:
    closed, core.closed = core.closed, True
    if core.feed is not None and not closed:
        core.feed.release(core.hooks)
