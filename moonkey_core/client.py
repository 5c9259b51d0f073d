"""The clients: :class:`MoonKey` for threads, :class:`AsyncMoonKey` for tasks. Same constructor, same methods."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack
from weakref import WeakSet

from moonkey_core import _logins as logins
from moonkey_core import _operations as operations
from moonkey_core._core import Core
from moonkey_core._exchange import AsyncExchange, SyncExchange
from moonkey_core._plan import Plan, arun, run
from moonkey_core.settings import Options, Settings

__all__ = ["AsyncMoonKey", "MoonKey"]

P = ParamSpec("P")
T = TypeVar("T")


class _Runs:
    """Something of a blocking client."""

    def __init__(self, core: Core, exchange: SyncExchange) -> None:
        self._core = core
        self._exchange = exchange


class _Awaits:
    """Something of an asynchronous client."""

    def __init__(self, core: Core, exchange: AsyncExchange) -> None:
        self._core = core
        self._exchange = exchange


def _blocking(plan: Callable[Concatenate[Core, P], Plan[T]]) -> Callable[Concatenate[_Runs, P], T]:
    """A method that runs a plan to its result."""

    @wraps(plan)
    def method(self: _Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + self._core.settings.timeout
        return run(plan(self._core, *args, **kwargs), partial(self._exchange, deadline=deadline))

    return method


def _awaiting(
    plan: Callable[Concatenate[Core, P], Plan[T]],
) -> Callable[Concatenate[_Awaits, P], Coroutine[Any, Any, T]]:
    """A method that awaits a plan's result."""

    @wraps(plan)
    async def method(self: _Awaits, /, *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + self._core.settings.timeout
        return await arun(plan(self._core, *args, **kwargs), partial(self._exchange, deadline=deadline))

    return method


class Sessions(_Runs):
    """Sessions: verify, list, revoke."""

    verify = _blocking(operations.verify)
    list = _blocking(operations.list_sessions)
    revoke = _blocking(operations.revoke)
    revoke_all = _blocking(operations.revoke_all)


class AsyncSessions(_Awaits):
    """Sessions: verify, list, revoke."""

    verify = _awaiting(operations.verify)
    list = _awaiting(operations.list_sessions)
    revoke = _awaiting(operations.revoke)
    revoke_all = _awaiting(operations.revoke_all)


class Otps(_Runs):
    """One-time passcodes by e-mail or text message."""

    send = _blocking(logins.send_otp)
    login_or_create = _blocking(logins.login_or_create)
    verify = _blocking(logins.verify_otp)


class AsyncOtps(_Awaits):
    """One-time passcodes by e-mail or text message."""

    send = _awaiting(logins.send_otp)
    login_or_create = _awaiting(logins.login_or_create)
    verify = _awaiting(logins.verify_otp)


class MagicLinks(_Runs):
    """Magic links."""

    verify = _blocking(logins.verify_magic_link)


class AsyncMagicLinks(_Awaits):
    """Magic links."""

    verify = _awaiting(logins.verify_magic_link)


class OAuth(_Runs):
    """Sign-in with another provider."""

    verify = _blocking(logins.verify_oauth)


class AsyncOAuth(_Awaits):
    """Sign-in with another provider."""

    verify = _awaiting(logins.verify_oauth)


class Totps(_Runs):
    """Codes of authenticator apps."""

    verify = _blocking(logins.verify_totp)


class AsyncTotps(_Awaits):
    """Codes of authenticator apps."""

    verify = _awaiting(logins.verify_totp)


class Wallets(_Runs):
    """Signatures of wallets."""

    verify = _blocking(logins.verify_wallet)


class AsyncWallets(_Awaits):
    """Signatures of wallets."""

    verify = _awaiting(logins.verify_wallet)


class Users(_Runs):
    """Users."""

    get = _blocking(operations.get_user)


class AsyncUsers(_Awaits):
    """Users."""

    get = _awaiting(operations.get_user)


class MoonKey(_Runs):
    """The blocking client. Make one per process and share it among threads.

    Settings by keyword (see :class:`~moonkey_core.settings.Settings`), each missing one from its ``MOONKEY_*``
    variable; the secret key, or a whole ``Settings`` object, may stand first. Raises
    :class:`~moonkey_core.errors.ConfigurationError` for a wrong or missing one. Usable as a context manager;
    survives ``fork()``.
    """

    authenticate = _blocking(operations.authenticate)

    def __init__(self, settings: Settings | str | None = None, /, **options: Unpack[Options]) -> None:
        core = Core(_settings(settings, options))
        super().__init__(core, SyncExchange(core.settings))
        self.settings = core.settings
        self.sessions = Sessions(core, self._exchange)
        self.otps = Otps(core, self._exchange)
        self.magic_links = MagicLinks(core, self._exchange)
        self.oauth = OAuth(core, self._exchange)
        self.totps = Totps(core, self._exchange)
        self.wallets = Wallets(core, self._exchange)
        self.users = Users(core, self._exchange)
        _clients.add(self)

    def close(self) -> None:
        """Close all connections; may be called again. The client is of no use afterwards."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MoonKey(base_url={self.settings.base_url!r})"


class AsyncMoonKey(_Awaits):
    """The asynchronous client. Make one per process; it keeps one pool of connections per event loop.

    Settings as for :class:`MoonKey`; usable as an asynchronous context manager; survives ``fork()``.
    """

    authenticate = _awaiting(operations.authenticate)

    def __init__(self, settings: Settings | str | None = None, /, **options: Unpack[Options]) -> None:
        core = Core(_settings(settings, options))
        super().__init__(core, AsyncExchange(core.settings))
        self.settings = core.settings
        self.sessions = AsyncSessions(core, self._exchange)
        self.otps = AsyncOtps(core, self._exchange)
        self.magic_links = AsyncMagicLinks(core, self._exchange)
        self.oauth = AsyncOAuth(core, self._exchange)
        self.totps = AsyncTotps(core, self._exchange)
        self.wallets = AsyncWallets(core, self._exchange)
        self.users = AsyncUsers(core, self._exchange)
        _clients.add(self)

    async def aclose(self) -> None:
        """Close all connections; may be called again. The client is of no use afterwards."""
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncMoonKey(base_url={self.settings.base_url!r})"


def _settings(first: Settings | str | None, options: Options) -> Settings:
    """The settings of a client; ``first`` is its one positional argument: all of them, or the secret key."""
    if isinstance(first, Settings):
        if options:
            raise TypeError("Give either a Settings object or single settings, not both.")
        return first
    if first is not None and "secret_key" in options:
        raise TypeError("Give the secret key once.")
    return Settings.load(options if first is None else {**options, "secret_key": first})


_clients: WeakSet[MoonKey | AsyncMoonKey] = WeakSet()


def _after_fork() -> None:
    # Locks may be held by threads that do not exist here, and connections belong to the parent.
    for client in _clients:
        client._core.keys.reset_lock()
        client._exchange.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
