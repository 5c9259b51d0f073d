"""How often codes may be sent and tried. Each attempt is counted before its call, so many at once are no more."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import Literal, TypeVar

from moonkey_core._operations.core import Core
from moonkey_core._plan import CountAttempt, Counts, Limit, RevokingPlan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import InvalidCredentials, ProviderUnavailable, RequestRefused, TooManyAttempts
from moonkey_core.flows.routes import FlowRequest, FlowSteps
from moonkey_core.settings.sign_in_settings import Attempt
from moonkey_core.web.origin import client_address, client_network

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("moonkey")

_DOUBLE_CLICK = 60.0  # seconds
_TRY_WINDOW = 1200.0  # seconds; longer than any code, or the cookie that goes with it, is valid
_MAX_INCONCLUSIVE = 20
NOT_SENT = frozenset({"api_connect", "api_busy", "api_circuit_open", "api_rate_limited"})
"""Reasons of errors after which a call certainly had no effect."""

_NO_METHOD = "none_"


def no_method_id() -> str:
    """Make up the method id of a code that the provider has not sent; no code is ever valid for it."""
    return _NO_METHOD + secrets.token_hex(16)


def code_tries(core: Core, method_id: str, address: str) -> tuple[Limit, ...]:
    """Return the limits on the tries of a code, in whichever browser and for whatever purpose it was requested.

    The method id may be the same for all codes to an address, and one address may be spelled in several ways: both
    are counted.

    Args:
        core: The parts of the client.
        method_id: That of the code.
        address: Where it was sent.
    """
    address = address.lower()
    is_sent = not method_id.startswith(_NO_METHOD)
    subjects = (f"method {method_id}", f"address {address}") if is_sent else (f"nothing to {address}",)
    return tuple(_tries(core, subject) for subject in subjects)


def app_tries(core: Core, user_id: str) -> tuple[Limit, ...]:
    """Return the limit on the tries of a user's authenticator app, in all browsers together."""
    return (_tries(core, f"totp {user_id}"),)


def _tries(core: Core, subject: str) -> Limit:
    return Limit("try", subject, core.settings.sign_in.max_tries, _TRY_WINDOW)


def limited_send(
    core: Core, request: FlowRequest, address: str, plan: RevokingPlan[T], *, is_sms: bool = False
) -> FlowSteps[T]:
    """Run a plan that sends a code, unless too many were sent lately: to the address, for the client, by the app.

    A code that was certainly not sent is not counted.

    Args:
        core: The parts of the client.
        request: The request for the code.
        address: The e-mail address or phone number.
        plan: Sends the code.
        is_sms: Whether it is sent by a text message.

    Raises:
        TooManyAttempts: Too many codes were sent, or the app's own limiter refused.
    """
    settings = core.settings.sign_in
    client = _check_limiter(core, request, "send", address)
    window = settings.send_window.total_seconds()
    limits = [Limit("send", address.lower(), settings.max_sends, window)]
    if client is not None and settings.max_sends_per_client is not None:
        limits.append(Limit("client send", client, settings.max_sends_per_client, window))
    if is_sms:
        limits.append(Limit("sms", "app", settings.max_sms, settings.sms_window.total_seconds(), is_of_app=True))
    attempt = _attempt(*limits)
    counts = yield from _carry_out(core, attempt)
    if counts.reached is not None:
        if counts.reached.is_of_app:
            _raise_alarm(core)
        raise TooManyAttempts(retry_after=counts.wait)
    return (yield from _run_counted(core, attempt, plan))


def limited_try(
    core: Core,
    request: FlowRequest,
    tries: tuple[Limit, ...],
    address: str | None,
    plan: RevokingPlan[T],
    *,
    only_failures: bool = False,
) -> FlowSteps[T]:
    """Run a plan that tries a code, unless codes were tried too often.

    A try that certainly did not reach the provider is not counted, nor is a refusal that says nothing about the
    code.

    Args:
        core: The parts of the client.
        request: The request that brings the code.
        tries: The limits on tries of this code.
        address: Where the code was sent, for the app's own limiter.
        plan: Tries the code.
        only_failures: Whether a try that succeeds is not counted.

    Raises:
        TooManyAttempts: Codes were tried too often, or the app's own limiter refused.
    """
    settings = core.settings.sign_in
    client, limits = _check_limiter(core, request, "try", address), [*tries]
    if client is not None and settings.max_tries_per_client is not None:
        window = settings.send_window.total_seconds()
        limits.append(Limit("client try", client, settings.max_tries_per_client, window))
    attempt = _attempt(*limits)
    counts = yield from _carry_out(core, attempt)
    if counts.reached is not None:
        raise TooManyAttempts(retry_after=None if counts.reached in tries else counts.wait)
    result = yield from _run_counted(core, attempt, plan)
    if only_failures:
        yield from _undo(core, attempt)
    return result


def once(core: Core, key: str, plan: RevokingPlan[T]) -> FlowSteps[T]:
    """Run a plan once for each key.

    Raises:
        TooManyAttempts: A plan was run for this key before.
    """
    attempt = _attempt(Limit("once", key, 1, _TRY_WINDOW))
    if (yield from _carry_out(core, attempt)).reached is not None:
        raise TooManyAttempts
    return (yield from _run_counted(core, attempt, plan))


def tries_left(core: Core, tries: tuple[Limit, ...]) -> FlowSteps[int]:
    """Return how often a code may still be tried."""
    counts = yield from _carry_out(core, CountAttempt("read", tries))
    return max(min(limit.most - used for limit, used in zip(tries, counts.used, strict=True)), 0)


def begin_tries(core: Core, tries: tuple[Limit, ...]) -> FlowSteps[None]:
    """Count anew, as another code has been sent in place of the one before."""
    yield from _carry_out(core, CountAttempt("forget", tries))


def note_done(core: Core, key: str) -> FlowSteps[None]:
    """Remember for a minute that something was done, for :func:`was_done`."""
    yield from _carry_out(core, _attempt(_done(key)))


def was_done(core: Core, key: str) -> FlowSteps[bool]:
    """Return whether something was done within the last minute, so that a second click finds it done."""
    return any((yield from _carry_out(core, CountAttempt("read", (_done(key),)))).used)


def _done(key: str) -> Limit:
    return Limit("done", key, 1, _DOUBLE_CLICK)


def _attempt(*limits: Limit) -> CountAttempt:
    return CountAttempt("count", limits, secrets.token_hex(8))


def _carry_out(core: Core, action: CountAttempt) -> FlowSteps[Counts]:
    """Count in the fleet's Redis or, without one and while it is lost, in this process."""
    counts = (yield action) if core.settings.redis_url is not None else None
    return counts if isinstance(counts, Counts) else core.count_attempt(action)


def _undo(core: Core, attempt: CountAttempt) -> FlowSteps[None]:
    yield from _carry_out(core, replace(attempt, step="undo"))


def _run_counted(core: Core, attempt: CountAttempt, plan: RevokingPlan[T]) -> FlowSteps[T]:
    """Run a plan whose attempt has been counted; take the count back where the attempt had no effect."""
    try:
        return (yield from plan)
    except ProviderUnavailable as error:
        if error.reason in NOT_SENT:
            yield from _undo(core, attempt)
        raise
    except RequestRefused:
        first = attempt.limits[0]
        if first.kind != "send":
            # Only so many times: without a bound, this would allow endless tries.
            unclear = _attempt(replace(first, kind="unclear", most=_MAX_INCONCLUSIVE))
            if (yield from _carry_out(core, unclear)).reached is None:
                yield from _undo(core, attempt)
        raise
    except InvalidCredentials as error:
        if error.session_is_over:  # the session of a step-up is refused, not the code
            yield from _undo(core, attempt)
        raise


def _raise_alarm(core: Core) -> None:
    settings = core.settings.sign_in
    log_repeated(
        logging.ERROR,
        "no text message was sent: the app has sent %d within %d minutes, as many as sign_in.max_sms allows. "
        "Somebody may be making it send them",
        settings.max_sms,
        settings.sms_window.total_seconds() // 60,
        extra={"reason": "sms_limit"},
    )


def _check_limiter(
    core: Core, request: FlowRequest, kind: Literal["send", "try"], address: str | None
) -> str | None:
    """Call the app's own limiter. It fails closed: only ``True`` allows an attempt.

    Returns:
        What stands for the client where its attempts are counted; ``None`` where its address is not known.

    Raises:
        TooManyAttempts: It does not allow the attempt.
    """
    client = client_address(request.info, request.headers, core.settings)
    limiter = core.settings.sign_in.limiter
    if limiter is not None:
        try:
            allowed = limiter(Attempt(kind, address, client))
        except Exception:
            logger.exception("the limiter of sign-in failed", extra={"reason": "limiter_failed"})
            raise TooManyAttempts from None
        if allowed is not True:
            raise TooManyAttempts
    return None if client is None else client_network(client)
