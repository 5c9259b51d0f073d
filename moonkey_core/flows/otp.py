"""Signing in by a one-time passcode: ask for an address, send a code, verify it into a new session."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import login_or_create
from moonkey_core._operations.logins import verify_otp as verify_code
from moonkey_core._operations.rotation import undone
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import (
    InvalidCredentials,
    MoonKeyError,
    ProviderUnavailable,
    RequestRefused,
    TooManyAttempts,
)
from moonkey_core.flows.forms import Address, address_in, body_of, code_in, device_of, is_on
from moonkey_core.flows.limits import limited_send, limited_try, tries_left
from moonkey_core.flows.responses import as_json, error_page, for_browser, page, problem, see_other, shown
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sealed_cookies import cleared, opened, sealed_cookie
from moonkey_core.flows.sign_in import lifetime, note_unclear, sign_in_context, signed_in
from moonkey_core.models import Login, OtpRequest
from moonkey_core.providers.moonkey.client import same_user
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.pages import Page, urls

_PURPOSE = "otp"
_ID_ROOM = 128  # characters: the length of a sealed cookie must not tell whether the API has sent anything

CODE_MINUTES = 10
"""How long a code that is sent may be used: as long as the cookie that goes with it."""


def send_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Send a code, to an address that is known or not: the answer is the same."""
    fields = body_of(request)
    address = address_in(fields)
    if address is None:
        form = shown(request, "sign_in", {**sign_in_context(request, fields), "error": "address"})
        return problem(RequestRefused(reason="address_malformed"), core.settings, request, instead=form)
    sent = yield from limited_send(core, request, address.value, _send(core, request, address))
    data = {
        "method_id": sent.method_id,
        "user_id": sent.user_id or "",
        "padding": " " * max(_ID_ROOM - len(sent.method_id) - len(sent.user_id or ""), 0),
        "sending": secrets.token_urlsafe(16),
        "address": address.value,
        "next": safe_target(fields.get("next")),
        "remember_me": "on" if is_on(fields.get("remember_me")) else "",
    }
    cookies = (sealed_cookie(core.settings, _PURPOSE, data),)
    if for_browser(request, core.settings):
        return see_other(urls(request.routes)["verify_otp"], cookies=cookies)
    return as_json({"sent": True}, cookies=cookies)


def verify_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Ask for the code, and verify it into a new session."""
    asked = opened(request.headers, core.settings, _PURPOSE)
    if asked is None:
        instead = error_page(request, "no_code", "Ask for a new code")
        return problem(RequestRefused(reason="no_code_asked_for"), core.settings, request, instead=instead)
    if request.info.method != "POST":
        if for_browser(request, core.settings):
            return page(request, "verify_otp", _code_context(core, asked))
        return as_json({"authenticated": False, "tries_left": tries_left(core, asked["sending"])})
    code = code_in(body_of(request))
    if code is None:
        form = _code_page(core, request, asked, "code_form")
        return problem(RequestRefused(reason="code_malformed"), core.settings, request, instead=form)
    remember_me = is_on(asked["remember_me"])
    trying = _verify(core, request, asked, code, remember_me=remember_me)
    try:
        login = yield from limited_try(core, request, asked["sending"], asked["address"], trying)
    except RequestRefused as error:
        note_unclear(core, error, remember_me=remember_me)
        return _not_accepted(core, request, asked, error)
    except (InvalidCredentials, TooManyAttempts) as error:
        return _not_accepted(core, request, asked, error)
    done = (cleared(core.settings, _PURPOSE),)
    answer = signed_in(
        core, request, login, method="otp", target=asked["next"], remember_me=remember_me, cookies=done
    )
    return (yield from answer)


def _send(core: Core, request: FlowRequest, address: Address) -> Plan[OtpRequest]:
    """Send the code. An address that the API refuses gets an answer like any other, and no code will ever fit."""
    email = address.value if address.kind == "email" else None
    number = address.value if address.kind == "phone_number" else None
    device = device_of(request, core.settings)
    try:
        return (
            yield from login_or_create(
                core, email=email, phone_number=number, expires_in=CODE_MINUTES, device=device
            )
        )
    except RequestRefused as error:
        log_repeated(
            logging.WARNING,
            "the API refused to send a code. %s",
            error.evidence,
            extra={"reason": "send_refused"},
        )
        return OtpRequest(f"none_{secrets.token_hex(16)}")


def _verify(
    core: Core, request: FlowRequest, asked: Mapping[str, str], code: str, *, remember_me: bool
) -> Plan[Login]:
    wanted = lifetime(core, remember_me=remember_me)
    device = device_of(request, core.settings)
    login = yield from verify_code(
        core, code, method_id=asked["method_id"], session_expires_in=wanted, device=device
    )
    if asked["user_id"] and not same_user(login.user.id, asked["user_id"]):
        if login.session is not None:
            yield from undone(core, login.session)
        raise ProviderUnavailable(reason="api_mismatch")
    return login


def _not_accepted(
    core: Core,
    request: FlowRequest,
    asked: Mapping[str, str],
    error: InvalidCredentials | RequestRefused | TooManyAttempts,
) -> FlowResponse:
    left = tries_left(core, asked["sending"])
    form = _code_page(core, request, asked, refused_code(error, left))
    return problem(error, core.settings, request, instead=form, members={"tries_left": left})


def _code_page(core: Core, request: FlowRequest, asked: Mapping[str, str], error: str) -> Page:
    return shown(request, "verify_otp", {**_code_context(core, asked), "error": error})


def _code_context(core: Core, asked: Mapping[str, str]) -> dict[str, object]:
    left = tries_left(core, asked["sending"])
    return {
        "address": asked["address"],
        "next": asked["next"],
        "remember_me": is_on(asked["remember_me"]),
        "tries_left": left,
        "error": "" if left else "used_up",
    }


def refused_code(error: MoonKeyError, left: int) -> str:
    """What a page tells of a code that was not accepted (its ``error``), with so many tries left."""
    if isinstance(error, TooManyAttempts) or not left:
        return "used_up"
    return "refused" if isinstance(error, RequestRefused) else "code"
