"""Sign in by a one-time passcode: send a code, verify it into a new session. Step-up shares the code forms."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import login_or_create
from moonkey_core._operations.logins import verify_otp as verify_code
from moonkey_core._operations.rotation import end_unwanted_session
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import InvalidCredentials, ProviderUnavailable, RequestRefused, TooManyAttempts
from moonkey_core.flows.forms import (
    Address,
    body_fields,
    is_checked,
    parse_address,
    parse_code,
    request_device,
)
from moonkey_core.flows.limits import limited_send, limited_try, tries_left
from moonkey_core.flows.responses import (
    error_response,
    is_browser,
    json_response,
    make_error_page,
    make_page,
    page_response,
    see_other,
)
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sealed_cookies import clear_cookie, open_cookie, seal_cookie
from moonkey_core.flows.sign_in import complete_sign_in, log_inconclusive, session_lifetime, sign_in_context
from moonkey_core.models import Login, OtpRequest, same_user
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.pages import urls

CODE_MINUTES = 10
"""How long a code that is sent is valid: as long as the cookie that goes with it."""

_PURPOSE = "otp"
_ID_ROOM = 128  # characters: the length of the cookie must not reveal whether the provider has sent anything


def send_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Send a code. The response is the same for known and unknown addresses."""
    fields = body_fields(request)
    address = parse_address(fields)
    if address is None:
        form = make_page(request, "sign_in", {**sign_in_context(request, fields), "error": "address"})
        return error_response(RequestRefused(reason="address_malformed"), core.settings, request, page=form)
    sent = yield from limited_send(core, request, address.value, _send(core, request, address))
    data = {
        "method_id": sent.method_id,
        "user_id": sent.user_id or "",
        "padding": " " * max(_ID_ROOM - len(sent.method_id) - len(sent.user_id or ""), 0),
        "sending": secrets.token_urlsafe(16),
        "address": address.value,
        "next": safe_target(fields.get("next")),
        "remember_me": "on" if is_checked(fields.get("remember_me")) else "",
    }
    cookies = (seal_cookie(core.settings, _PURPOSE, data),)
    if is_browser(request, core.settings):
        return see_other(urls(request.routes)["verify_otp"], cookies=cookies)
    return json_response({"sent": True}, cookies=cookies)


def verify_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the form for the code (GET), or verify the code into a new session."""
    pending = open_cookie(request.headers, core.settings, _PURPOSE)
    if pending is None:
        return no_pending_code(core, request)
    if request.info.method != "POST":
        if is_browser(request, core.settings):
            return page_response(request, "verify_otp", _form_context(core, pending))
        return json_response({"authenticated": False, "tries_left": tries_left(core, pending["sending"])})
    code = parse_code(body_fields(request))
    if code is None:
        return code_form_again(core, request, malformed_code(), "verify_otp", _form_context(core, pending))
    remember_me = is_checked(pending["remember_me"])
    verification = _verify(core, request, pending, code, remember_me=remember_me)
    try:
        login = yield from limited_try(core, request, pending["sending"], pending["address"], verification)
    except (InvalidCredentials, RequestRefused, TooManyAttempts) as error:
        if isinstance(error, RequestRefused):
            log_inconclusive(core, error, remember_me=remember_me)
        left = tries_left(core, pending["sending"])
        return code_form_again(core, request, error, "verify_otp", _form_context(core, pending), left)
    cookies = (clear_cookie(core.settings, _PURPOSE),)
    completion = complete_sign_in(
        core, request, login, method="otp", target=pending["next"], remember_me=remember_me, cookies=cookies
    )
    return (yield from completion)


def no_pending_code(core: Core, request: FlowRequest) -> FlowResponse:
    """Refuse a request to verify a code from a browser that no code was requested in."""
    page = make_error_page(request, "no_code", "Ask for a new code")
    return error_response(RequestRefused(reason="no_code_asked_for"), core.settings, request, page=page)


def code_form_again(
    core: Core,
    request: FlowRequest,
    error: InvalidCredentials | RequestRefused | TooManyAttempts,
    template: str,
    context: Mapping[str, object],
    left: int | None = None,
) -> FlowResponse:
    """Show the form again for a code that is malformed or was not accepted.

    Args:
        core: The parts of the client.
        request: The request that brought the code.
        error: Why the code was not accepted.
        template: The bare name of the form's template.
        context: The form's context, as it is after the try.
        left: How many tries are left, for the JSON body.
    """
    form = make_page(request, template, {**context, "error": _shown_error(error, left)})
    members = {} if left is None else {"tries_left": left}
    return error_response(error, core.settings, request, page=form, members=members)


def malformed_code() -> RequestRefused:
    """Make the error for a code that is malformed, and so is not tried."""
    return RequestRefused(reason="code_malformed")


def _shown_error(error: InvalidCredentials | RequestRefused | TooManyAttempts, left: int | None) -> str:
    """Return the name of the form's message for an error."""
    if error.reason == "code_malformed":
        return "code_form"
    if isinstance(error, TooManyAttempts) or not left:
        return "used_up"
    return "refused" if isinstance(error, RequestRefused) else "code"


def _send(core: Core, request: FlowRequest, address: Address) -> Plan[OtpRequest]:
    """Send the code. An address that the provider refuses gets the usual response, and no code is ever valid."""
    email = address.value if address.kind == "email" else None
    number = address.value if address.kind == "phone_number" else None
    device = request_device(request, core.settings)
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
    core: Core, request: FlowRequest, pending: Mapping[str, str], code: str, *, remember_me: bool
) -> Plan[Login]:
    expires_in = session_lifetime(core, remember_me=remember_me)
    device = request_device(request, core.settings)
    login = yield from verify_code(
        core, code, method_id=pending["method_id"], session_expires_in=expires_in, device=device
    )
    if pending["user_id"] and not same_user(login.user.id, pending["user_id"]):
        if login.session is not None:
            yield from end_unwanted_session(core, login.session)
        raise ProviderUnavailable(reason="api_mismatch")
    return login


def _form_context(core: Core, pending: Mapping[str, str]) -> dict[str, object]:
    left = tries_left(core, pending["sending"])
    return {
        "address": pending["address"],
        "next": pending["next"],
        "remember_me": is_checked(pending["remember_me"]),
        "tries_left": left,
        "error": "" if left else "used_up",
    }
