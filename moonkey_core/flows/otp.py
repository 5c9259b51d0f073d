"""Sign in by a one-time passcode: send a code, verify it into a new session. Step-up shares the code forms."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from datetime import timedelta

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import login_or_create
from moonkey_core._operations.logins import send_otp as send_code
from moonkey_core._operations.logins import verify_otp as verify_code
from moonkey_core._operations.rotation import end_unwanted_session
from moonkey_core._plan import Plan, RevokingPlan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.auth import from_cookies, peek_identity
from moonkey_core.errors import (
    InvalidCredentials,
    NotFound,
    ProviderUnavailable,
    RequestRefused,
    TooManyAttempts,
)
from moonkey_core.flows.forms import (
    Address,
    body_fields,
    is_checked,
    parse_address,
    parse_code,
    query_fields,
    request_device,
)
from moonkey_core.flows.limits import (
    begin_tries,
    code_tries,
    limited_send,
    limited_try,
    no_method_id,
    tries_left,
)
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
from moonkey_core.flows.sealed_cookies import LIFETIME, hand_out, is_expired, let_go, take_back
from moonkey_core.flows.sign_in import (
    complete_sign_in,
    log_inconclusive,
    session_lifetime,
    sign_in_context,
    signed_in_response,
)
from moonkey_core.models import Login, OtpRequest
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.pages import urls

_CODE_MINUTES = LIFETIME // 60  # as long as the cookie that goes with a code
_PURPOSE = "otp"
_DOUBLE_CLICK = timedelta(minutes=1)  # after the beginning of the session, by two clocks
_ID_ROOM = 128  # characters: the length of the cookie must not reveal whether the provider has sent anything


def code_minutes(core: Core) -> int:
    """Return for how many minutes a code is valid: as long as the cookie beside it, if the provider allows that.

    Else as long as the provider allows, or as short: then the cookie is over first.
    """
    allowed = core.able_to("sign_in").limits.otp_minutes
    return next((one for one in range(_CODE_MINUTES, 0, -1) if one in allowed), allowed.start)


def send_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Send a code. The response is the same for known and unknown addresses."""
    fields = body_fields(request)
    address = parse_address(fields, core.settings.sign_in.methods)
    if address is None:
        form = make_page(request, "sign_in", {**sign_in_context(core, request, fields), "error": "address"})
        return error_response(RequestRefused(reason="address_malformed"), core.settings, request, page=form)
    is_sms = address.kind == "phone_number"
    sent = yield from limited_send(core, request, address.value, _send(core, request, address), is_sms=is_sms)
    yield from begin_tries(core, code_tries(core, sent.method_id, address.value))
    data = {
        "method_id": sent.method_id,
        "user_id": sent.user_id or "",
        "padding": " " * max(_ID_ROOM - len(sent.method_id) - len(sent.user_id or ""), 0),
        "sending": secrets.token_urlsafe(16),  # what processes of the last version count by
        "address": address.value,
        "next": safe_target(fields.get("next")),
        "remember_me": "on" if is_checked(fields.get("remember_me")) else "",
    }
    handed = hand_out(request, core.settings, _PURPOSE, data)
    if is_browser(request, core.settings):
        return see_other(urls(request.routes)["verify_otp"], cookies=handed.cookies)
    return json_response({"sent": True, **handed.members}, cookies=handed.cookies)


def verify_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the form for the code (GET), or verify the code into a new session."""
    pending = take_back(request, core.settings, _PURPOSE)
    if pending is None:
        return _double_click(core, request, None) or no_pending_code(core, request, _PURPOSE)
    tries = code_tries(core, pending["method_id"], pending["address"])
    if request.info.method != "POST":
        left = yield from tries_left(core, tries)
        if is_browser(request, core.settings):
            return page_response(request, "verify_otp", _form_context(core, pending, left))
        return json_response({"authenticated": False, "tries_left": left})
    code = parse_code(body_fields(request))
    if code is None:
        context = _form_context(core, pending, (yield from tries_left(core, tries)))
        return code_form_again(core, request, malformed_code(), "verify_otp", context)
    remember_me = is_checked(pending["remember_me"])
    cookies = let_go(request, core.settings, _PURPOSE)
    verification = _verify(core, request, pending, code, remember_me=remember_me)
    trial = limited_try(core, request, tries, pending["address"], verification)
    try:
        login, is_repeated = yield from core.shared_logins.share(f"{pending['sending']} {code}", trial)
    except (InvalidCredentials, RequestRefused, TooManyAttempts) as error:
        done = _double_click(core, request, pending, cookies)
        if done is not None:
            return done
        if isinstance(error, RequestRefused):
            log_inconclusive(core, error, remember_me=remember_me)
        left = yield from tries_left(core, tries)
        return code_form_again(core, request, error, "verify_otp", _form_context(core, pending, left), left)
    completion = complete_sign_in(
        core,
        request,
        login,
        method="otp",
        target=pending["next"],
        remember_me=remember_me,
        cookies=cookies,
        is_repeated=is_repeated,
    )
    return (yield from completion)


def _double_click(
    core: Core, request: FlowRequest, pending: Mapping[str, str] | None, cookies: tuple[str, ...] = ()
) -> FlowResponse | None:
    """Answer a form that was sent again after it has signed the user in; ``None`` for any other request."""
    verified = peek_identity(request.auth) if from_cookies(request.auth) else None
    if request.info.method != "POST" or verified is None:
        return None
    user, session = verified
    if session.started_at is None or abs(_clock.now() - session.started_at) > _DOUBLE_CLICK:
        return None
    if pending is not None and pending["user_id"] and not core.provider.same_user(user.id, pending["user_id"]):
        return None
    target = body_fields(request).get("next", "") if pending is None else pending["next"]
    return signed_in_response(core, request, user.id, session, target, cookies)


def no_pending_code(core: Core, request: FlowRequest, purpose: str) -> FlowResponse:
    """Refuse a request to verify a code from a browser that no code was requested in, or too long ago.

    Args:
        core: The parts of the client.
        request: The request.
        purpose: The purpose of the cookie that goes with a code.
    """
    is_old = request.mode == "cookies" and is_expired(request.headers, core.settings, purpose)
    fields = body_fields(request) if request.info.method == "POST" else query_fields(request)
    reason = "code_expired" if is_old else "no_code"
    page = make_error_page(
        request, reason, fields.get("next"), begin="sign_in" if purpose == _PURPOSE else "step_up"
    )
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
    if not left:
        return "used_up"
    if isinstance(error, TooManyAttempts):
        return "limited"  # by the client's address, or by the app's own limiter
    return "refused" if isinstance(error, RequestRefused) else "code"


def _send(core: Core, request: FlowRequest, address: Address) -> Plan[OtpRequest]:
    """Send the code. An address that the provider refuses gets the usual response, and no code is ever valid."""
    email = address.value if address.kind == "email" else None
    number = address.value if address.kind == "phone_number" else None
    device = request_device(request, core.settings)
    send = login_or_create if core.settings.sign_in.sign_up else send_code
    try:
        return (
            yield from send(core, email=email, phone_number=number, expires_in=code_minutes(core), device=device)
        )
    except RequestRefused as error:
        if core.settings.sign_in.sign_up or not isinstance(error, NotFound):
            log_repeated(
                logging.WARNING,
                "the API refused to send a code. %s",
                error.evidence,
                extra={"reason": "send_refused"},
            )
        return OtpRequest(no_method_id())


def _verify(
    core: Core, request: FlowRequest, pending: Mapping[str, str], code: str, *, remember_me: bool
) -> RevokingPlan[Login]:
    expires_in = session_lifetime(core, remember_me=remember_me)
    device = request_device(request, core.settings)
    login = yield from verify_code(
        core, code, method_id=pending["method_id"], session_expires_in=expires_in, device=device
    )
    if pending["user_id"] and not core.provider.same_user(login.user.id, pending["user_id"]):
        if login.session is not None:
            yield from end_unwanted_session(core, login.session)
        raise ProviderUnavailable(reason="api_mismatch")
    return login


def _form_context(core: Core, pending: Mapping[str, str], left: int) -> dict[str, object]:
    return {
        "address": pending["address"],
        "next": pending["next"],
        "remember_me": is_checked(pending["remember_me"]),
        "code_minutes": code_minutes(core),
        "tries_left": left,
        "error": "" if left else "used_up",
    }
