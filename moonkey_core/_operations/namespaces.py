"""The namespaces of the clients, such as ``client.sessions``: each method runs or awaits an operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import cache, partial
from types import FunctionType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, get_args, get_type_hints

from moonkey_core import _clock
from moonkey_core._operations import logins as logins
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.core import Core
from moonkey_core._operations.rotation import rotate
from moonkey_core._plan import Plan, arun, run
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., object])


def run_in_time(exchange: SyncExchange, seconds: float, plan: Plan[T]) -> T:
    """Run a plan to its result; all its calls together may take so many seconds."""
    return run(plan, partial(exchange, deadline=_clock.elapsed() + seconds))


async def arun_in_time(exchange: AsyncExchange, seconds: float, plan: Plan[T]) -> T:
    """Run a plan to its result, with awaited calls; all of them together may take so many seconds."""
    return await arun(plan, partial(exchange, deadline=_clock.elapsed() + seconds))


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

    def __init__(self, core: Core, exchange: SyncExchange) -> None:
        self._core = core
        self._exchange = exchange


class Awaits(_Named):
    """The base of the namespaces of an asynchronous client."""

    def __init__(self, core: Core, exchange: AsyncExchange) -> None:
        self._core = core
        self._exchange = exchange


def blocking(plan: Callable[Concatenate[Core, P], Plan[T]]) -> Callable[Concatenate[Runs, P], T]:
    """Make a method that runs a plan to its result."""

    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        made = _started(method, plan, self, *args, **kwargs)
        return run_in_time(self._exchange, self._core.settings.timeout, made)

    return _described(method, plan)


def awaiting(
    plan: Callable[Concatenate[Core, P], Plan[T]],
) -> Callable[Concatenate[Awaits, P], Coroutine[Any, Any, T]]:
    """Make a method that awaits a plan's result."""

    async def method(self: Awaits, /, *args: P.args, **kwargs: P.kwargs) -> T:
        made = _started(method, plan, self, *args, **kwargs)
        return await arun_in_time(self._exchange, self._core.settings.timeout, made)

    return _described(method, plan)


def _described(method: M, plan: Callable[..., object]) -> M:
    """Give a method the docstring and the signature of a plan, as its caller sees them.

    ``self`` replaces ``core``, and the plan's result replaces ``Plan[…]``.
    """
    signature = _signature_of(plan)
    method.__doc__, method.__signature__ = plan.__doc__, signature  # type: ignore[attr-defined]
    method.__annotations__ = {name: one.annotation for name, one in signature.parameters.items() if name != "self"}
    method.__annotations__["return"] = signature.return_annotation
    return method


@cache
def _signature_of(plan: Callable[..., object]) -> inspect.Signature:
    hints = get_type_hints(plan)
    _, *parameters = inspect.signature(plan).parameters.values()
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    result = get_args(hints["return"])[-1]
    return inspect.Signature(
        [self_parameter, *(one.replace(annotation=hints[one.name]) for one in parameters)],
        return_annotation=None if result is type(None) else result,
    )


def _started(
    method: Callable[..., object],
    plan: Callable[Concatenate[Core, P], Plan[T]],
    owner: Runs | Awaits,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Plan[T]:
    """Return a plan with its arguments.

    Raises:
        TypeError: The arguments are wrong. The message names the method.
    """
    try:
        return plan(owner._core, *args, **kwargs)  # a generator: nothing but its arguments can fail yet
    except TypeError as error:
        name, inner = f"{method.__qualname__}()", f"{plan.__qualname__}()"
        for unknown in (one for one in kwargs if one not in method.__annotations__):
            raise TypeError(f"{name} got an unexpected keyword argument {unknown!r}") from None
        if not str(error).startswith(inner):
            raise
        raise TypeError(str(error).replace(inner, name, 1)) from None


class Sessions(Runs):
    """Sessions: verify, list, revoke, rotate."""

    verify: Final = blocking(operations.verify)
    list: Final = blocking(operations.list_sessions)
    revoke: Final = blocking(operations.revoke)
    revoke_all: Final = blocking(operations.revoke_all)
    rotate: Final = blocking(rotate)


class AsyncSessions(Awaits):
    """Sessions: verify, list, revoke, rotate."""

    verify: Final = awaiting(operations.verify)
    list: Final = awaiting(operations.list_sessions)
    revoke: Final = awaiting(operations.revoke)
    revoke_all: Final = awaiting(operations.revoke_all)
    rotate: Final = awaiting(rotate)


class Otps(Runs):
    """One-time passcodes by e-mail or text message."""

    send: Final = blocking(logins.send_otp)
    login_or_create: Final = blocking(logins.login_or_create)
    verify: Final = blocking(logins.verify_otp)


class AsyncOtps(Awaits):
    """One-time passcodes by e-mail or text message."""

    send: Final = awaiting(logins.send_otp)
    login_or_create: Final = awaiting(logins.login_or_create)
    verify: Final = awaiting(logins.verify_otp)


class MagicLinks(Runs):
    """Magic links."""

    verify: Final = blocking(logins.verify_magic_link)


class AsyncMagicLinks(Awaits):
    """Magic links."""

    verify: Final = awaiting(logins.verify_magic_link)


class OAuth(Runs):
    """Sign-in with another provider."""

    verify: Final = blocking(logins.verify_oauth)


class AsyncOAuth(Awaits):
    """Sign-in with another provider."""

    verify: Final = awaiting(logins.verify_oauth)


class Totps(Runs):
    """Codes of authenticator apps."""

    verify: Final = blocking(logins.verify_totp)


class AsyncTotps(Awaits):
    """Codes of authenticator apps."""

    verify: Final = awaiting(logins.verify_totp)


class Wallets(Runs):
    """Signatures of wallets."""

    verify: Final = blocking(logins.verify_wallet)


class AsyncWallets(Awaits):
    """Signatures of wallets."""

    verify: Final = awaiting(logins.verify_wallet)


class Users(Runs):
    """Users."""

    get: Final = blocking(operations.get_user)


class AsyncUsers(Awaits):
    """Users."""

    get: Final = awaiting(operations.get_user)
