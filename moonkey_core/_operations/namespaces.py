"""The methods of the clients, by what they are about: each is an operation, run or awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from moonkey_core import _clock
from moonkey_core._operations import logins as logins
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.core import Core
from moonkey_core._operations.rotation import rotate
from moonkey_core._plan import Plan, arun, run
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange

P = ParamSpec("P")
T = TypeVar("T")


def run_in_time(exchange: SyncExchange, seconds: float, plan: Plan[T]) -> T:
    """The result of a plan, all of whose calls together may take so many seconds."""
    return run(plan, partial(exchange, deadline=_clock.elapsed() + seconds))


async def arun_in_time(exchange: AsyncExchange, seconds: float, plan: Plan[T]) -> T:
    """The same, awaited."""
    return await arun(plan, partial(exchange, deadline=_clock.elapsed() + seconds))


class Runs:
    """Something of a blocking client."""

    def __init__(self, core: Core, exchange: SyncExchange) -> None:
        self._core = core
        self._exchange = exchange


class Awaits:
    """Something of an asynchronous client."""

    def __init__(self, core: Core, exchange: AsyncExchange) -> None:
        self._core = core
        self._exchange = exchange


def blocking(plan: Callable[Concatenate[Core, P], Plan[T]]) -> Callable[Concatenate[Runs, P], T]:
    """A method that runs a plan to its result."""

    @wraps(plan)
    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_in_time(self._exchange, self._core.settings.timeout, plan(self._core, *args, **kwargs))

    return method


def awaiting(
    plan: Callable[Concatenate[Core, P], Plan[T]],
) -> Callable[Concatenate[Awaits, P], Coroutine[Any, Any, T]]:
    """A method that awaits a plan's result."""

    @wraps(plan)
    async def method(self: Awaits, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await arun_in_time(self._exchange, self._core.settings.timeout, plan(self._core, *args, **kwargs))

    return method


class Sessions(Runs):
    """Sessions: verify, list, revoke, rotate."""

    verify = blocking(operations.verify)
    list = blocking(operations.list_sessions)
    revoke = blocking(operations.revoke)
    revoke_all = blocking(operations.revoke_all)
    rotate = blocking(rotate)


class AsyncSessions(Awaits):
    """Sessions: verify, list, revoke, rotate."""

    verify = awaiting(operations.verify)
    list = awaiting(operations.list_sessions)
    revoke = awaiting(operations.revoke)
    revoke_all = awaiting(operations.revoke_all)
    rotate = awaiting(rotate)


class Otps(Runs):
    """One-time passcodes by e-mail or text message."""

    send = blocking(logins.send_otp)
    login_or_create = blocking(logins.login_or_create)
    verify = blocking(logins.verify_otp)


class AsyncOtps(Awaits):
    """One-time passcodes by e-mail or text message."""

    send = awaiting(logins.send_otp)
    login_or_create = awaiting(logins.login_or_create)
    verify = awaiting(logins.verify_otp)


class MagicLinks(Runs):
    """Magic links."""

    verify = blocking(logins.verify_magic_link)


class AsyncMagicLinks(Awaits):
    """Magic links."""

    verify = awaiting(logins.verify_magic_link)


class OAuth(Runs):
    """Sign-in with another provider."""

    verify = blocking(logins.verify_oauth)


class AsyncOAuth(Awaits):
    """Sign-in with another provider."""

    verify = awaiting(logins.verify_oauth)


class Totps(Runs):
    """Codes of authenticator apps."""

    verify = blocking(logins.verify_totp)


class AsyncTotps(Awaits):
    """Codes of authenticator apps."""

    verify = awaiting(logins.verify_totp)


class Wallets(Runs):
    """Signatures of wallets."""

    verify = blocking(logins.verify_wallet)


class AsyncWallets(Awaits):
    """Signatures of wallets."""

    verify = awaiting(logins.verify_wallet)


class Users(Runs):
    """Users."""

    get = blocking(operations.get_user)


class AsyncUsers(Awaits):
    """Users."""

    get = awaiting(operations.get_user)
