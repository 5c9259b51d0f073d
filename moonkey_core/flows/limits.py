"""How often codes are sent and tried. Each attempt is counted before its call: many at once are no more."""

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

logger = logging.getLogger("moonkey")

_TRIES_COUNT_FOR = 1200.0  # seconds; longer than any code, or the cookie that goes with it, is good
_MOST_UNCLEAR = 20
_WITHOUT_EFFECT = frozenset({"api_connect", "api_busy", "api_circuit_open", "api_rate_limited"})


def limited_send(core: Core, request: FlowRequest, address: str, sending: Plan[T]) -> Plan[T]:
    """Run a plan that sends a code to an address, unless too many were sent there lately.

    Raises ``TooManyAttempts``. What certainly was not sent is not counted.
    """
    settings = core.settings.sign_in
    _ask_limiter(core, request, "send", address)
    wait = core.attempts.count("send", address, settings.max_sends, settings.send_window.total_seconds())
    if wait is not None:
        raise TooManyAttempts(retry_after=wait)
    return (yield from _counted(core, "send", address, sending))


def limited_try(core: Core, request: FlowRequest, what: str, address: str | None, trying: Plan[T]) -> Plan[T]:
    """Run a plan that tries a code, unless that was tried too often; ``what`` names what is tried, such as one
    sending of a code.

    Raises ``TooManyAttempts``. What certainly never reached the API is not counted, nor is a refusal that says
    nothing of the code.
    """
    _ask_limiter(core, request, "try", address)
    if core.attempts.count("try", what, core.settings.sign_in.max_tries, _TRIES_COUNT_FOR) is not None:
        raise TooManyAttempts
    return (yield from _counted(core, "try", what, trying))


def once(core: Core, what: str, doing: Plan[T]) -> Plan[T]:
    """Run a plan for something that may be used once. Raises ``TooManyAttempts`` afterwards."""
    if core.attempts.count("once", what, 1, _TRIES_COUNT_FOR) is not None:
        raise TooManyAttempts
    return (yield from _counted(core, "once", what, doing))


def tries_left(core: Core, what: str) -> int:
    """How often that may still be tried."""
    return max(core.settings.sign_in.max_tries - core.attempts.counted("try", what), 0)


def _counted(core: Core, kind: str, value: str, plan: Plan[T]) -> Plan[T]:
    try:
        return (yield from plan)
    except ProviderUnavailable as error:
        if error.reason in _WITHOUT_EFFECT:
            core.attempts.give_back(kind, value)
        raise
    except RequestRefused:
        # For ever it would be a way to go on trying.
        if kind != "send" and core.attempts.count("unclear", value, _MOST_UNCLEAR, _TRIES_COUNT_FOR) is None:
            core.attempts.give_back(kind, value)
        raise
    except InvalidCredentials as error:
        if error.session_is_over:  # that of a step-up
            core.attempts.give_back(kind, value)
        raise


def _ask_limiter(core: Core, request: FlowRequest, kind: Literal["send", "try"], address: str | None) -> None:
    """The app's own say. It fails closed: only ``True`` lets an attempt go on. Raises ``TooManyAttempts``."""
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
