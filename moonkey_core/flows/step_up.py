"""Stepping up: one more factor, or a fresh one, verified into the session that is there already (RFC 9470)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import send_otp, verify_otp, verify_totp
from moonkey_core._plan import Plan
from moonkey_core.errors import InvalidCredentials, RequestRefused, TooManyAttempts
from moonkey_core.flows.codes import CODE_MINUTES, code_in, refused_code
from moonkey_core.flows.forms import body_of, device_of, query_of
from moonkey_core.flows.limits import limited_send, limited_try, tries_left
from moonkey_core.flows.responses import as_json, error_page, for_browser, page, problem, see_other, shown
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sealed_cookies import cleared, opened, sealed_cookie
from moonkey_core.flows.sessions import own_session
from moonkey_core.flows.step_up_options import Demand, Option, demand_in, masked, options_of
from moonkey_core.flows.stepped_up import session_over, stepped_up, to_be_replaced
from moonkey_core.models import Login, OtpRequest, User
from moonkey_core.web.pages import Page, urls

_PURPOSE = "step_up"
_Refused = InvalidCredentials | TooManyAttempts


def step_up(core: Core, request: FlowRequest) -> FlowPlan:
    """What the user can prove here."""
    user, _ = own_session(request.auth)
    demand = demand_in(query_of(request))
    whole = yield from core.api.get_user(user.id)
    if for_browser(request, core.settings):
        return page(request, "step_up", _context(core, request, whole, demand))
    return as_json({"options": [option.view() for option in options_of(whole, demand)]})


def step_up_send_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Send a code to an address of the user's own: which one is chosen by its kind, never by its name."""
    user, session = own_session(request.auth)
    fields = body_of(request)
    whole = yield from core.api.get_user(user.id)
    wanted = [option for option in options_of(whole) if option.address and option.which == fields.get("which")]
    if not wanted or wanted[0].address is None:
        raise RequestRefused(reason="no_such_address")
    address = wanted[0].address
    sent = yield from limited_send(core, request, address, _send(core, request, wanted[0]))
    data = {
        **demand_in(fields).fields(),
        "method_id": sent.method_id,
        "session_id": session.id,
        "which": wanted[0].which,
        "sending": secrets.token_urlsafe(16),
        "address": address,
    }
    cookies = (sealed_cookie(core.settings, _PURPOSE, data),)
    if for_browser(request, core.settings):
        return see_other(urls(request.routes)["step_up_verify_otp"], cookies=cookies)
    return as_json({"sent": True, "to": masked(address)}, cookies=cookies)


def step_up_verify_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Ask for the code, and verify it into the session that it was sent for."""
    _, session = own_session(request.auth)
    asked = opened(request.headers, core.settings, _PURPOSE)
    if asked is None or asked["session_id"] != session.id:
        instead = error_page(request, "no_code", "Ask for a new code")
        return problem(RequestRefused(reason="no_code_asked_for"), core.settings, request, instead=instead)
    if request.info.method != "POST":
        if for_browser(request, core.settings):
            return page(request, "step_up_verify", _code_context(core, request, asked))
        return as_json({"to": masked(asked["address"]), "tries_left": tries_left(core, asked["sending"])})
    code = code_in(body_of(request))
    if code is None:
        form = _code_page(core, request, asked, "code_form")
        return problem(RequestRefused(reason="code_malformed"), core.settings, request, instead=form)
    trying = _verify_otp(core, request, code, asked["method_id"])
    try:
        login = yield from limited_try(core, request, asked["sending"], asked["address"], trying)
    except (InvalidCredentials, RequestRefused, TooManyAttempts) as error:
        if _is_over(error):
            return session_over(core, request, error)
        left = tries_left(core, asked["sending"])
        form = _code_page(core, request, asked, refused_code(error, left))
        return problem(error, core.settings, request, instead=form, members={"tries_left": left})
    done = (cleared(core.settings, _PURPOSE),)
    return stepped_up(core, request, login, method="otp", target=asked["next"], cookies=done)


def step_up_totp(core: Core, request: FlowRequest) -> FlowPlan:
    """Verify a code of the user's authenticator app into their session.

    Of one that they have proved before: a code also completes a registration, which who has got hold of a session
    may have begun.
    """
    user, _ = own_session(request.auth)
    fields = body_of(request)
    code, demand = code_in(fields), demand_in(fields)
    tried = _totp_of(user)
    whole = yield from core.api.get_user(user.id)
    if all(option.which != "totp" for option in options_of(whole)):
        raise RequestRefused(reason="no_such_factor")
    if code is None:
        error: RequestRefused | _Refused = RequestRefused(reason="code_malformed")
        return _totp_refused(core, request, whole, demand, error, "code_form")
    try:
        login = yield from limited_try(core, request, tried, None, _verify_totp(core, request, code, user))
    except (InvalidCredentials, RequestRefused, TooManyAttempts) as error:
        if _is_over(error):
            return session_over(core, request, error)
        told = refused_code(error, tries_left(core, tried))
        return _totp_refused(core, request, whole, demand, error, told)
    core.attempts.give_back("try", tried)  # only what fails counts: a user may step up often
    return stepped_up(core, request, login, method="totp", target=demand.target)


def _send(core: Core, request: FlowRequest, option: Option) -> Plan[OtpRequest]:
    device = device_of(request, core.settings)
    if option.which == "email":
        return send_otp(core, email=option.address, expires_in=CODE_MINUTES, device=device)
    return send_otp(core, phone_number=option.address, expires_in=CODE_MINUTES, device=device)


def _verify_otp(core: Core, request: FlowRequest, code: str, method_id: str) -> Plan[Login]:
    kind, value = to_be_replaced(core, request)
    if kind == "session_token":
        return verify_otp(core, code, method_id=method_id, session_token=value)
    return verify_otp(core, code, method_id=method_id, session_jwt=value)


def _verify_totp(core: Core, request: FlowRequest, code: str, user: User) -> Plan[Login]:
    kind, value = to_be_replaced(core, request)
    if kind == "session_token":
        return verify_totp(core, code, user_id=user.id, session_token=value)
    return verify_totp(core, code, user_id=user.id, session_jwt=value)


def _totp_refused(
    core: Core, request: FlowRequest, whole: User, demand: Demand, error: RequestRefused | _Refused, told: str
) -> FlowResponse:
    left = tries_left(core, _totp_of(own_session(request.auth)[0]))
    instead = shown(request, "step_up", {**_context(core, request, whole, demand), "error": told})
    return problem(error, core.settings, request, instead=instead, members={"tries_left": left})


def _totp_of(user: User) -> str:
    """What is tried where codes of a user's authenticator app are: all browsers together."""
    return f"totp {user.id}"


def _is_over(error: RequestRefused | _Refused) -> bool:
    """Whether it is the session that is refused, and not the code."""
    return isinstance(error, InvalidCredentials) and error.session_is_over


def _code_page(core: Core, request: FlowRequest, asked: Mapping[str, str], error: str) -> Page:
    return shown(request, "step_up_verify", {**_code_context(core, request, asked), "error": error})


def _code_context(core: Core, request: FlowRequest, asked: Mapping[str, str]) -> dict[str, object]:
    demand = demand_in(asked)
    return {
        **demand.fields(),
        "to": masked(asked["address"]),
        "which": asked["which"],
        "another_url": demand.link(urls(request.routes)["step_up"]),
        "tries_left": tries_left(core, asked["sending"]),
        "error": "",
    }


def _context(core: Core, request: FlowRequest, whole: User, demand: Demand) -> dict[str, object]:
    shown_to = {option.which: option.view().get("to", "") for option in options_of(whole, demand)}
    sign_in = core.settings.sign_in.page or urls(request.routes)["sign_in"]
    return {
        **demand.fields(),
        "minutes": demand.minutes,
        "sign_in_url": Demand(target=demand.target).link(sign_in),
        "email": shown_to.get("email", ""),
        "phone_number": shown_to.get("phone_number", ""),
        "totp": "totp" in shown_to,
        "nothing": not shown_to,
        "tries_left": tries_left(core, _totp_of(own_session(request.auth)[0])),
        "error": "",
    }
