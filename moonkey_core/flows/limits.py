"""How often codes may be sent and tried. Each attempt is counted before its call, so many at once are no more."""

from __future__ import annotations

import logging
from typing import Literal, TypeVar

from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core.errors import InvalidCredentials, ProviderUnavailable, RequestRefused, TooManyAttempts
from moonkey_core.flows.routes import FlowRequest
from moonkey_core.settings.sign_in_settings import Attempt
from moonkey_core.web.origin import client_address

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("moonkey")

_TRY_WINDOW = 1200.0  # seconds; longer than any code, or the cookie that goes with it, is valid
_MAX_INCONCLUSIVE = 20
_NOT_SENT = frozenset({"api_connect", "api_busy", "api_circuit_open", "api_rate_limited"})  # reasons


def limited_send(core: Core, request: FlowRequest, address: str, plan: Plan[T]) -> Plan[T]:
    """Run a plan that sends a code, unless too many were sent to the address lately.

    A code that was certainly not sent is not counted.

    Args:
        core: The parts of the client.
        request: The request for the code.
        address: The e-mail address or phone number.
        plan: Sends the code.

    Raises:
        TooManyAttempts: Too many codes were sent, or the app's own limiter refused.
    """
    settings = core.settings.sign_in
    _check_limiter(core, request, "send", address)
    wait = core.attempts.count("send", address, settings.max_sends, settings.send_window.total_seconds())
    if wait is not None:
        raise TooManyAttempts(retry_after=wait)
    return (yield from _run_counted(core, "send", address, plan))


def limited_try(core: Core, request: FlowRequest, key: str, address: str | None, plan: Plan[T]) -> Plan[T]:
    """Run a plan that tries a code, unless codes were tried too often under the same key.

    A try that certainly did not reach the provider is not counted, nor is a refusal that says nothing about the
    code.

    Args:
        core: The parts of the client.
        request: The request that brings the code.
        key: Names what is tried, such as one sending of a code.
        address: Where the code was sent, for the app's own limiter.
        plan: Tries the code.

    Raises:
        TooManyAttempts: Codes were tried too often, or the app's own limiter refused.
    """
    _check_limiter(core, request, "try", address)
    if core.attempts.count("try", key, core.settings.sign_in.max_tries, _TRY_WINDOW) is not None:
        raise TooManyAttempts
    return (yield from _run_counted(core, "try", key, plan))


def once(core: Core, key: str, plan: Plan[T]) -> Plan[T]:
    """Run a plan once for each key.

    Raises:
        TooManyAttempts: A plan was run for this key before.
    """
    if core.attempts.count("once", key, 1, _TRY_WINDOW) is not None:
        raise TooManyAttempts
    return (yield from _run_counted(core, "once", key, plan))


def tries_left(core: Core, key: str) -> int:
    """Return how often codes may still be tried under a key."""
    return max(core.settings.sign_in.max_tries - core.attempts.current("try", key), 0)


def _run_counted(core: Core, kind: str, key: str, plan: Plan[T]) -> Plan[T]:
    """Run a plan whose attempt has been counted; take the count back where the attempt had no effect."""
    try:
        return (yield from plan)
    except ProviderUnavailable as error:
        if error.reason in _NOT_SENT:
            core.attempts.undo_last(kind, key)
        raise
    except RequestRefused:
        # Only so many times: without a bound, this would allow endless tries.
        if kind != "send" and core.attempts.count("unclear", key, _MAX_INCONCLUSIVE, _TRY_WINDOW) is None:
            core.attempts.undo_last(kind, key)
        raise
    except InvalidCredentials as error:
        if error.session_is_over:  # the session of a step-up is refused, not the code
            core.attempts.undo_last(kind, key)
        raise


def _check_limiter(core: Core, request: FlowRequest, kind: Literal["send", "try"], address: str | None) -> None:
    """Call the app's own limiter. It fails closed: only ``True`` allows an attempt.

    Raises:
        TooManyAttempts: It does not allow the attempt.
    """
    limiter = core.settings.sign_in.limiter
    if limiter is None:
        return
    attempt = Attempt(kind, address, client_address(request.info, request.headers, core.settings))
    try:
        allowed = limiter(attempt)
    except Exception:
        logger.exception("the limiter of sign-in failed", extra={"reason": "limiter_failed"})
        raise TooManyAttempts from None
    if allowed is not True:
        raise TooManyAttempts
