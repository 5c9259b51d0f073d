"""The namespaces of the clients, such as ``client.sessions``: each method runs or awaits an operation.

The clients import this module when one of them is first used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from functools import cache
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, get_args, get_type_hints

from moonkey_core._operations import login_refusals, login_starts, mfa
from moonkey_core._operations import logins as logins
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.core import Core
from moonkey_core._operations.rotation import rotate
from moonkey_core._operations.running import Awaits, Runs
from moonkey_core._plan import AwaitPublished, RecordStep, arun, run
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core._transport.store import AsyncRecordStore, RecordStore

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., object])


def blocking(plan: Callable[Concatenate[Core, P], Generator[Any, Any, T]]) -> Callable[Concatenate[Runs, P], T]:
    """Make a method that runs a plan to its result."""

    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        owner = self if self._select is None else self._select(_takes_provider(plan), kwargs)
        return owner._run(_started(method, plan, owner, *args, **kwargs))

    return _described(method, plan)


def awaiting(
    plan: Callable[Concatenate[Core, P], Generator[Any, Any, T]],
) -> Callable[Concatenate[Awaits, P], Coroutine[Any, Any, T]]:
    """Make a method that awaits a plan's result."""

    async def method(self: Awaits, /, *args: P.args, **kwargs: P.kwargs) -> T:
        owner = self if self._select is None else self._select(_takes_provider(plan), kwargs)
        return await owner._run(_started(method, plan, owner, *args, **kwargs))

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


def _takes_provider(plan: Callable[..., object]) -> bool:
    """Return whether the caller of an operation can say which provider it is about."""
    return "provider" in _signature_of(plan).parameters


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
    plan: Callable[Concatenate[Core, P], Generator[Any, Any, T]],
    owner: Runs | Awaits,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Generator[Any, Any, T]:
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
    note_start: Final = blocking(mfa.note_start)


class AsyncSessions(Awaits):
    """Sessions: verify, list, revoke, rotate."""

    verify: Final = awaiting(operations.verify)
    list: Final = awaiting(operations.list_sessions)
    revoke: Final = awaiting(operations.revoke)
    revoke_all: Final = awaiting(operations.revoke_all)
    rotate: Final = awaiting(rotate)
    note_start: Final = awaiting(mfa.note_start)


class Mfa(Runs):
    """Second factors that users have verified, as far as the app has recorded that."""

    def __init__(self, core: Core, exchange: SyncExchange, store: RecordStore | None) -> None:
        super().__init__(core, exchange)
        self._store = store

    def _run(self, plan: Generator[Any, Any, T]) -> T:
        return run(plan, self._carried_out)

    def _carried_out(self, step: AwaitPublished | RecordStep) -> object:
        if isinstance(step, AwaitPublished):
            return step.revocation.wait(step.seconds)
        return None if self._store is None else self._store.record(step)

    record: Final = blocking(mfa.record)
    get: Final = blocking(mfa.get)
    load: Final = blocking(mfa.load)
    end: Final = blocking(mfa.end)
    drop: Final = blocking(mfa.drop)


class AsyncMfa(Awaits):
    """Second factors that users have verified, as far as the app has recorded that."""

    def __init__(self, core: Core, exchange: AsyncExchange, store: AsyncRecordStore | None) -> None:
        super().__init__(core, exchange)
        self._store = store

    async def _run(self, plan: Generator[Any, Any, T]) -> T:
        return await arun(plan, self._carried_out)

    async def _carried_out(self, step: AwaitPublished | RecordStep) -> object:
        if isinstance(step, AwaitPublished):
            return await step.revocation.wait_async(step.seconds)
        return None if self._store is None else await self._store.record(step)

    record: Final = awaiting(mfa.record)
    get: Final = awaiting(mfa.get)
    load: Final = awaiting(mfa.load)
    end: Final = awaiting(mfa.end)
    drop: Final = awaiting(mfa.drop)


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

    send: Final = blocking(login_starts.send_magic_link)
    login_or_create: Final = blocking(login_starts.login_or_create_by_magic_link)
    verify: Final = blocking(logins.verify_magic_link)


class AsyncMagicLinks(Awaits):
    """Magic links."""

    send: Final = awaiting(login_starts.send_magic_link)
    login_or_create: Final = awaiting(login_starts.login_or_create_by_magic_link)
    verify: Final = awaiting(logins.verify_magic_link)


class OAuth(Runs):
    """Sign-in with another provider."""

    verify: Final = blocking(logins.verify_oauth)

    def start_url(
        self,
        provider: str,
        *,
        login_redirect_url: str | None = None,
        registration_redirect_url: str | None = None,
        state: str | None = None,
    ) -> str:
        """Return the address to which a browser is redirected to sign in with another provider.

        Makes no network call. Source: API reference, Begin Google OAuth.

        Args:
            provider: The provider, such as ``"google"``.
            login_redirect_url: The page of the app that the browser comes back to, with ``token`` in its query. It
                must be registered in the API's dashboard, whose default is used if it is left out.
            registration_redirect_url: The same for a new user; ``login_redirect_url`` if it is left out.
            state: The ``state`` of ``flows.oauth_state``. It is added to the query of both pages.

        Raises:
            ConfigurationError: ``public_token`` is not set.
            NotSupported: Users do not sign in through the app with this provider.
            ValueError: An argument is malformed, or there is a ``state`` without a page to bring it back.
        """
        return login_starts.oauth_start_url(
            self._core,
            provider,
            login_redirect_url=login_redirect_url,
            registration_redirect_url=registration_redirect_url,
            state=state,
        )


class AsyncOAuth(Awaits):
    """Sign-in with another provider."""

    verify: Final = awaiting(logins.verify_oauth)

    def start_url(
        self,
        provider: str,
        *,
        login_redirect_url: str | None = None,
        registration_redirect_url: str | None = None,
        state: str | None = None,
    ) -> str:
        """Return the address that OAuth begins at, as on the blocking client. There is nothing to await."""
        return login_starts.oauth_start_url(
            self._core,
            provider,
            login_redirect_url=login_redirect_url,
            registration_redirect_url=registration_redirect_url,
            state=state,
        )

    start_url.__doc__ = OAuth.start_url.__doc__


class Totps(Runs):
    """Codes of authenticator apps."""

    create: Final = blocking(login_starts.create_totp)
    verify: Final = blocking(logins.verify_totp)
    recover: Final = blocking(logins.recover_totp)


class AsyncTotps(Awaits):
    """Codes of authenticator apps."""

    create: Final = awaiting(login_starts.create_totp)
    verify: Final = awaiting(logins.verify_totp)
    recover: Final = awaiting(logins.recover_totp)


class Wallets(Runs):
    """Signatures of wallets."""

    begin: Final = blocking(login_starts.begin_wallet)
    verify: Final = blocking(logins.verify_wallet)


class AsyncWallets(Awaits):
    """Signatures of wallets."""

    begin: Final = awaiting(login_starts.begin_wallet)
    verify: Final = awaiting(logins.verify_wallet)


class Passwords(Runs):
    """Passwords, which are set and verified by the provider's own SDK: ``NotSupported`` here."""

    create: Final = blocking(login_refusals.create_password)
    verify: Final = blocking(login_refusals.verify_password)


class AsyncPasswords(Awaits):
    """Passwords, which are set and verified by the provider's own SDK: ``NotSupported`` here."""

    create: Final = awaiting(login_refusals.create_password)
    verify: Final = awaiting(login_refusals.verify_password)


class Passkeys(Runs):
    """Passkeys (WebAuthn), which are begun by the provider's own SDK: ``NotSupported`` here."""

    begin: Final = blocking(login_refusals.begin_passkey)
    verify: Final = blocking(login_refusals.verify_passkey)


class AsyncPasskeys(Awaits):
    """Passkeys (WebAuthn), which are begun by the provider's own SDK: ``NotSupported`` here."""

    begin: Final = awaiting(login_refusals.begin_passkey)
    verify: Final = awaiting(login_refusals.verify_passkey)


class Biometrics(Runs):
    """Biometrics of a device, which are begun by the provider's own SDK: ``NotSupported`` here."""

    begin: Final = blocking(login_refusals.begin_biometric)
    verify: Final = blocking(login_refusals.verify_biometric)


class AsyncBiometrics(Awaits):
    """Biometrics of a device, which are begun by the provider's own SDK: ``NotSupported`` here."""

    begin: Final = awaiting(login_refusals.begin_biometric)
    verify: Final = awaiting(login_refusals.verify_biometric)


class Users(Runs):
    """Users."""

    get: Final = blocking(operations.get_user)


class AsyncUsers(Awaits):
    """Users."""

    get: Final = awaiting(operations.get_user)
