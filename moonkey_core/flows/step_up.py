"""Step up: verify one more factor, or a fresh one, into the session that exists already (RFC 9470)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import send_otp, verify_otp, verify_totp
from moonkey_core._operations.mfa import record
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core._sign_in_steps import FactorKind, SignInSteps
from moonkey_core.auth import from_cookies
from moonkey_core.errors import (
    InvalidCredentials,
    MissingCredentials,
    MoonKeyError,
    ProviderUnavailable,
    RequestRefused,
    RevokedCredentials,
    TooManyAttempts,
)
from moonkey_core.events import SignedIn
from moonkey_core.flows.forms import body_fields, parse_code, query_fields, request_device
from moonkey_core.flows.limits import (
    NOT_SENT,
    app_tries,
    begin_tries,
    code_tries,
    limited_send,
    limited_try,
    note_done,
    tries_left,
    was_done,
)
from moonkey_core.flows.otp import code_form_again, code_minutes, malformed_code, no_pending_code
from moonkey_core.flows.responses import error_response, is_browser, json_response, page_response, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse, FlowSteps
from moonkey_core.flows.sealed_cookies import hand_out, let_go, take_back
from moonkey_core.flows.sessions import own_session
from moonkey_core.flows.views import session_view
from moonkey_core.gate import is_second_factor
from moonkey_core.models import Login, OtpRequest, Session, User, fits_challenge
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import check_settable, cleared_cookies, session_cookies
from moonkey_core.web.credentials import PresentedCredentials, read_credentials
from moonkey_core.web.handles import handle_effects
from moonkey_core.web.pages import mounted_sign_in, urls

_PURPOSE = "step_up"
_EPOCH = datetime.fromtimestamp(0, UTC)

_MAX_ACR_VALUES_TEXT = 512  # characters
_MAX_ACR_VALUES = 16
_MAX_AGE = 34_560_000  # seconds: 400 days, more than a route sensibly demands


def step_up(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the factors that the user can verify."""
    user, _ = own_session(request.auth)
    demand = parse_demand(query_fields(request))
    full_user = yield from core.able_to("get_user").get_user(user.id)
    if is_browser(request, core.settings):
        left = yield from tries_left(core, app_tries(core, user.id))
        return page_response(request, "step_up", _page_context(core, request, full_user, demand, left))
    return json_response({"options": [option.view() for option in _options(core, full_user, demand)]})


def step_up_send_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Send a code to an address of the user. The form names the kind of the address, never the address itself."""
    user, session = own_session(request.auth)
    fields = body_fields(request)
    full_user = yield from core.able_to("get_user").get_user(user.id)
    options = _options(core, full_user)
    option = next((one for one in options if one.address and one.kind == fields.get("which")), None)
    if option is None or option.address is None:
        raise RequestRefused(reason="no_such_address")
    is_sms = option.kind == "phone_number"
    sent = yield from limited_send(core, request, option.address, _send(core, request, option), is_sms=is_sms)
    yield from begin_tries(core, code_tries(core, sent.method_id, option.address))
    data = {
        **parse_demand(fields).fields(),
        "method_id": sent.method_id,
        "session_id": session.id,
        "which": option.kind,
        "sending": secrets.token_urlsafe(16),
        "address": option.address,
    }
    handed = hand_out(request, core.settings, _PURPOSE, data)
    if is_browser(request, core.settings):
        return see_other(urls(request.routes)["step_up_verify_otp"], cookies=handed.cookies)
    content = {"sent": True, "to": mask_address(option.address), **handed.members}
    return json_response(content, cookies=handed.cookies)


def step_up_verify_otp(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the form for the code (GET), or verify the code into the session that it was sent for."""
    _, session = own_session(request.auth)
    pending = take_back(request, core.settings, _PURPOSE)
    if pending is None or pending["session_id"] != session.id:
        done = None if pending is not None else (yield from _double_click(core, request, session))
        return done or no_pending_code(core, request, _PURPOSE)
    tries = code_tries(core, pending["method_id"], pending["address"])
    if request.info.method != "POST":
        left = yield from tries_left(core, tries)
        if is_browser(request, core.settings):
            return page_response(request, "step_up_verify", _form_context(core, request, pending, left))
        return json_response({"to": mask_address(pending["address"]), "tries_left": left})
    code = parse_code(body_fields(request))
    if code is None:
        context = _form_context(core, request, pending, (yield from tries_left(core, tries)))
        return code_form_again(core, request, malformed_code(), "step_up_verify", context)
    verification = _verify_otp(core, request, code, pending["method_id"])
    try:
        login = yield from limited_try(core, request, tries, pending["address"], verification)
    except (InvalidCredentials, RequestRefused, TooManyAttempts) as error:
        if _session_is_over(error):
            _note_session_over(core, request, error)
            return _session_over_response(core, request, error)
        left = yield from tries_left(core, tries)
        context = _form_context(core, request, pending, left)
        return code_form_again(core, request, error, "step_up_verify", context, left)
    cookies = let_go(request, core.settings, _PURPOSE)
    response = _complete_step_up(core, request, login, method="otp", target=pending["next"], cookies=cookies)
    response = yield from record_step_up(core, request, login, response, method="otp")
    yield from note_done(core, f"{session.id} {code}")
    return response


def step_up_totp(core: Core, request: FlowRequest) -> FlowPlan:
    """Verify a code of the user's authenticator app into the session.

    Only an app that was verified before is accepted: a code also completes a registration, and an attacker who has
    a copy of the session may have begun one.
    """
    user, session = own_session(request.auth)
    fields = body_fields(request)
    code, demand = parse_code(fields), parse_demand(fields)
    tries = app_tries(core, user.id)
    full_user = yield from core.able_to("get_user").get_user(user.id)
    if all(option.kind != "totp" for option in _options(core, full_user)):
        raise RequestRefused(reason="no_such_factor")
    if code is None:
        left = yield from tries_left(core, tries)
        context = _page_context(core, request, full_user, demand, left)
        return code_form_again(core, request, malformed_code(), "step_up", context, left)
    verification = _verify_totp(core, request, code, user)
    try:  # only failures count, as a user may step up often
        login = yield from limited_try(core, request, tries, None, verification, only_failures=True)
    except (InvalidCredentials, RequestRefused, TooManyAttempts) as error:
        if _session_is_over(error):
            _note_session_over(core, request, error)
            return _session_over_response(core, request, error)
        done = yield from _double_click(core, request, session)
        if done is not None:
            return done
        left = yield from tries_left(core, tries)
        context = _page_context(core, request, full_user, demand, left)
        return code_form_again(core, request, error, "step_up", context, left)
    response = _complete_step_up(core, request, login, method="totp", target=demand.target)
    response = yield from record_step_up(core, request, login, response, method="totp")
    yield from note_done(core, f"{session.id} {code}")
    return response


def _double_click(core: Core, request: FlowRequest, session: Session) -> FlowSteps[FlowResponse | None]:
    """Answer a browser's form that was sent again after its code was accepted; ``None`` for any other request."""
    if request.info.method != "POST" or not is_browser(request, core.settings):
        return None
    fields = body_fields(request)
    if not (yield from was_done(core, f"{session.id} {parse_code(fields)}")):
        return None
    return see_other(safe_target(fields.get("next"), core.settings.sign_in.after_sign_in))


# The demand of the route that refused, and the factors that meet it.


@dataclass(frozen=True, slots=True)
class Demand:
    """The requirements of a route, as the browser has sent them. They are shown and passed on, but not trusted.

    Attributes:
        acr_values: Names of factors, any of which suffices; none means that all do.
        max_age: Seconds since a factor was verified.
        target: Path to return to.
    """

    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    target: str = ""

    def fields(self) -> dict[str, str]:
        """Return the demand as the fields of a form; :func:`parse_demand` reads them."""
        age = "" if self.max_age is None else str(self.max_age)
        return {"acr_values": " ".join(self.acr_values), "max_age": age, "next": self.target}

    def link(self, page: str) -> str:
        """Return the address of a page with the demand in its query."""
        query = urlencode({name: value for name, value in self.fields().items() if value})
        return page + ("?" if query else "") + query

    @property
    def minutes(self) -> int:
        """``max_age`` in whole minutes, for the page; 0 where there is none."""
        return 0 if self.max_age is None else max(self.max_age // 60, 1)


def parse_demand(fields: Mapping[str, str]) -> Demand:
    """Parse the demand in a query or a form. Malformed values are left out."""
    text = fields.get("acr_values", "")
    words = text.split(" ") if len(text) <= _MAX_ACR_VALUES_TEXT else []
    acr_values = tuple(dict.fromkeys(word for word in words if fits_challenge(word)))
    age = fields.get("max_age", "")
    is_number = 0 < len(age) <= 9 and age.isascii() and age.isdigit()
    seconds = int(age) if is_number and int(age) <= _MAX_AGE else None
    return Demand(acr_values[:_MAX_ACR_VALUES], seconds, safe_target(fields.get("next")))


@dataclass(frozen=True, slots=True)
class Option:
    """One factor that a user can verify.

    Attributes:
        kind: The way to verify it.
        address: Where a code is sent; never log it.
    """

    kind: FactorKind
    address: str | None = field(default=None, repr=False)

    def view(self) -> dict[str, str]:
        """Return what is shown of the option."""
        masked = {} if self.address is None else {"to": mask_address(self.address)}
        return {"which": self.kind, **masked}


def available_options(steps: SignInSteps, user: User, demand: Demand | None = None) -> tuple[Option, ...]:
    """List the factors that a user can verify.

    Args:
        steps: The steps of a sign-in at the provider.
        user: The user, complete.
        demand: Leaves out the factors that do not meet it.
    """
    options = [Option("email", user.email)] if user.email else []
    options += [Option("phone_number", user.phone_number)] if user.phone_number else []
    options += [Option("totp")] if steps.has_totp(user) else []
    names = () if demand is None else demand.acr_values
    return tuple(one for one in options if not names or not steps.factor_names[one.kind].isdisjoint(names))


def _options(core: Core, user: User, demand: Demand | None = None) -> tuple[Option, ...]:
    return available_options(core.able_to("sign_in"), user, demand)


def mask_address(address: str) -> str:
    """Mask an address so that its owner recognizes it and other readers do not learn it."""
    name, at, host = address.rpartition("@")
    return f"{name[:1]}•••@{host}" if at else f"•••{address[-2:]}"


# The calls, with the credential of the session that they replace.


def _send(core: Core, request: FlowRequest, option: Option) -> Plan[OtpRequest]:
    email, number = (option.address, None) if option.kind == "email" else (None, option.address)
    device = request_device(request, core.settings)
    return send_otp(core, email=email, phone_number=number, expires_in=code_minutes(core), device=device)


def _verify_otp(core: Core, request: FlowRequest, code: str, method_id: str) -> Plan[Login]:
    def verify(token: str | None, jwt: str | None) -> Plan[Login]:
        return verify_otp(core, code, method_id=method_id, session_token=token, session_jwt=jwt)

    return (yield from _replacing_credential(core, request, verify))


def _verify_totp(core: Core, request: FlowRequest, code: str, user: User) -> Plan[Login]:
    def verify(token: str | None, jwt: str | None) -> Plan[Login]:
        return verify_totp(core, code, user_id=user.id, session_token=token, session_jwt=jwt)

    return (yield from _replacing_credential(core, request, verify))


def _replacing_credential(
    core: Core, request: FlowRequest, verify: Callable[[str | None, str | None], Plan[Login]]
) -> Plan[Login]:
    """Make a call that replaces the presented credential, which counts as superseded from the call on.

    Other requests of this browser that are under way with it do not end the session then. Where the credential was
    certainly not replaced, as after a wrong code, it goes on as before.

    Args:
        core: The parts of the client.
        request: The request that presents the credential.
        verify: Makes the plan of the call from the session token and the session JWT, one of which is ``None``.
    """
    presented = _presented_credential(request, core.settings)
    digest = core.cache.digest(presented.value)
    core.cache.mark_superseded(digest)
    try:
        if presented.kind == "session_token":
            return (yield from verify(presented.value, None))
        return (yield from verify(None, presented.value))
    except MoonKeyError as error:
        if not isinstance(error, ProviderUnavailable) or error.reason in NOT_SENT:
            core.cache.unmark_superseded(digest)
        raise


def _presented_credential(request: FlowRequest, settings: Settings) -> PresentedCredentials:
    """Return the credential that a signed-in request presents."""
    presented = read_credentials(request.headers, request.info, settings)
    if presented.error is not None or not presented.source:
        raise MissingCredentials
    return presented


# The responses.


def _complete_step_up(
    core: Core, request: FlowRequest, login: Login, *, method: str, target: str, cookies: tuple[str, ...] = ()
) -> FlowResponse:
    """Answer with the new credentials of the session.

    A browser gets them as cookies; a client that presents a credential in a header gets them in the JSON body.

    Args:
        core: The parts of the client.
        request: The request that brought the code.
        login: The login that the provider accepted.
        method: The kind of the factor, for the ``SignedIn`` event.
        target: The path to return to.
        cookies: Further ``Set-Cookie`` values.

    Raises:
        ProviderUnavailable: The provider's reply is about another user or session, or has no session.
    """
    session = _same_session(core, request, login)
    _forget_presented(core, request, login)
    facts = (session.id, session.user_id, _timestamp(session.started_at), login.user.scope)
    if core.revocations.refuses(*facts) and not core.revocations.is_precautionary(*facts):
        # Revoked meanwhile: a revoked session never becomes valid again.
        return _session_over_response(core, request, RevokedCredentials(), cookies)
    core.hooks.emit(SignedIn(login.user.id, session.id, method, scope=login.user.scope))
    target = safe_target(target, core.settings.sign_in.after_sign_in)
    content: dict[str, object] = {"stepped_up": True, "session": session_view(session), "next": target}
    if not from_cookies(request.auth):
        credentials = {"session_token": login.session_token, "session_jwt": login.session_jwt}
        return json_response({**content, **credentials}, cookies=cookies)
    if core.settings.cookies is not None and core.settings.cookies.is_read_only:
        _check_same_token(core, request, login)
        # The JWT that the browser goes on with lacks the factor: from here on, the provider is asked about it.
        core.revocations.add_report(session_id=session.id, scope=login.user.scope)
        set_cookies = cookies
    else:
        remember_me = is_remembered(session, core.settings)
        set_cookies = (*session_cookies(login, core.settings, remember_me=remember_me), *cookies)
    if is_browser(request, core.settings):
        return see_other(target, cookies=set_cookies)
    return json_response(content, cookies=set_cookies)


def record_step_up(
    core: Core, request: FlowRequest, login: Login, response: FlowResponse, *, method: str
) -> FlowSteps[FlowResponse]:
    """Record that a second factor was verified, if it was one, and return the response with its handle.

    A code to the mailbox that the user has signed in with is none. A shared store that is lost does not fail the
    step-up: the session has the factor in any case.
    """
    is_done = response.status < 400 and login.session is not None
    if not is_done or core.records is None or core.settings.mfa_lifetime is None:
        return response
    factors = login.session.factors if login.session is not None else ()
    latest = max((one.last_verified_at or _EPOCH for one in factors), default=_EPOCH)
    # The times are whole seconds: a sign-in may be as new as the factor.
    if not any(one.last_verified_at == latest and is_second_factor(one, factors) for one in factors):
        return response
    try:
        found = yield from record(core, request.auth, method=method)
    except ProviderUnavailable as error:
        log_repeated(
            logging.WARNING,
            "a step-up is not recorded for other clients of the user: %s",
            error.reason,
            extra={"reason": "step_up_not_recorded"},
        )
        return response
    if found.handle is None:
        return response
    effects = handle_effects(request.auth, core.settings)
    taken = () if effects is None else (*effects.headers, *(("set-cookie", one) for one in effects.cookies))
    return replace(response, headers=(*response.headers, *taken))


def is_remembered(session: Session, settings: Settings) -> bool:
    """Return whether a session was certainly begun with "remember me": it lasts longer than any other could.

    A browser does not send how long it keeps a cookie. In doubt the cookie ends with the browser.
    """
    longest = max(settings.sign_in.lifetime, settings.extend_on_activity or timedelta(0))
    return session.expires_at - _clock.now() > longest


def _same_session(core: Core, request: FlowRequest, login: Login) -> Session:
    user, session = own_session(request.auth)
    found = login.session
    if found is None or login.session_token is None:
        raise ProviderUnavailable(reason="api_content")
    if found.id != session.id or not core.provider.same_user(login.user.id, user.id):
        raise ProviderUnavailable(reason="api_mismatch")
    return found


def _check_same_token(core: Core, request: FlowRequest, login: Login) -> None:
    """Check that the browser's cookies are still those of the session, as they are only read here.

    Raises:
        NotSupported: The provider has replaced the session token, which only its script in the browser can set.
    """
    presented = _presented_credential(request, core.settings)
    if presented.kind == "session_token" and presented.value != login.session_token:
        check_settable(core.settings, "go on with the new session token of a verified factor")


def _forget_presented(core: Core, request: FlowRequest, login: Login) -> None:
    """Forget the results remembered for the presented credential: they lack the new factor.

    It is superseded, unless the provider goes on with the same one.
    """
    presented = _presented_credential(request, core.settings)
    digest = core.cache.digest(presented.value)
    if presented.value in (login.session_token, login.session_jwt):
        core.cache.unmark_superseded(digest)
    else:
        core.cache.mark_superseded(digest, is_certain=True)
    core.cache.forget(digest)
    if presented.cached_jwt is not None:
        core.cache.forget(core.cache.text_digest(presented.text))


def _session_is_over(error: InvalidCredentials | RequestRefused | TooManyAttempts) -> bool:
    """Return whether the session is refused, and not the code."""
    return isinstance(error, InvalidCredentials) and error.session_is_over


def _note_session_over(core: Core, request: FlowRequest, error: MoonKeyError) -> None:
    """Remember the end of the session, unless another step-up of it has replaced the credential meanwhile.

    The mark of this request's own call was taken back with its refusal.
    """
    refusal = error if isinstance(error, InvalidCredentials) else None
    credential = _presented_credential(request, core.settings).value
    core.introspector.note_end_of(credential, refusal, own_session(request.auth)[1].id)


def _session_over_response(
    core: Core, request: FlowRequest, error: MoonKeyError, cookies: tuple[str, ...] = ()
) -> FlowResponse:
    """Answer where the session has ended meanwhile; ``cookies`` are further ``Set-Cookie`` values."""
    cleared = cleared_cookies(core.settings) if from_cookies(request.auth) else ()
    return error_response(error, core.settings, request, cookies=(*cleared, *cookies))


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _form_context(core: Core, request: FlowRequest, pending: Mapping[str, str], left: int) -> dict[str, object]:
    demand = parse_demand(pending)
    return {
        **demand.fields(),
        "to": mask_address(pending["address"]),
        "which": pending["which"],
        "another_url": demand.link(urls(request.routes)["step_up"]),
        "code_minutes": code_minutes(core),
        "tries_left": left,
        "error": "",
    }


def _page_context(
    core: Core, request: FlowRequest, full_user: User, demand: Demand, left: int
) -> dict[str, object]:
    addresses = {option.kind: option.view().get("to", "") for option in _options(core, full_user, demand)}
    pages = core.settings.sign_in
    sign_in = pages.page or mounted_sign_in(core.settings, request.routes) or pages.home
    return {
        **demand.fields(),
        "minutes": demand.minutes,
        "sign_in_url": Demand(target=demand.target).link(sign_in),
        "email": addresses.get("email", ""),
        "phone_number": addresses.get("phone_number", ""),
        "totp": "totp" in addresses,
        "nothing": not addresses,
        "tries_left": left,
        "error": "",
    }
