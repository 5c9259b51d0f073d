"""Stepping up: one more factor, or a fresh one, verified into the session that is there already (RFC 9470)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import send_otp, verify_otp, verify_totp
from moonkey_core._plan import Plan
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
from moonkey_core.flows.forms import body_of, code_in, device_of, query_of
from moonkey_core.flows.limits import limited_send, limited_try, tries_left
from moonkey_core.flows.otp import CODE_MINUTES, refused_code
from moonkey_core.flows.responses import as_json, error_page, for_browser, page, problem, see_other, shown
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sealed_cookies import cleared, opened, sealed_cookie
from moonkey_core.flows.sessions import own_session
from moonkey_core.flows.views import session_view
from moonkey_core.models import Login, OtpRequest, Session, User, fits_challenge
from moonkey_core.providers.moonkey.client import same_user
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_cookies, session_cookies
from moonkey_core.web.credentials import cookie_pair, parse_credentials
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


def held(request: FlowRequest, settings: Settings) -> tuple[Literal["session_token", "session_jwt"], str]:
    """The credential that a signed-in request holds."""
    if not request.auth.from_cookies:
        credentials = parse_credentials(request.headers, settings)
        if credentials is not None:
            return credentials.kind, credentials.value
    pair = cookie_pair(request.headers, settings)
    if pair is None:
        raise MissingCredentials
    return "session_token", pair.token


def to_be_replaced(core: Core, request: FlowRequest) -> tuple[Literal["session_token", "session_jwt"], str]:
    """The same, for a call that replaces it: other requests of this browser, under way with it, end no session."""
    kind, value = held(request, core.settings)
    known = core.recall.credentials
    known.replace(known.digest(value))
    return kind, value


def stepped_up(
    core: Core, request: FlowRequest, login: Login, *, method: str, target: str, cookies: tuple[str, ...] = ()
) -> FlowResponse:
    """The answer where a factor was accepted, with the session's new credentials.

    A browser gets them as cookies. Who presents a credential in a header gets the new ones in the JSON, as there
    is no other way to hand them over. An answer about another user or session is refused.
    """
    session = _same_session(request, login)
    _forget_former(core, request)
    if core.revocations.refuses(session.id, session.user_id, _seconds(session.started_at)):
        # Signed out meanwhile: nothing brings it back.
        return session_over(core, request, RevokedCredentials(), cookies)
    core.hooks.emit(SignedIn(login.user.id, session.id, method))
    target = safe_target(target, core.settings.sign_in.after_sign_in)
    content: dict[str, object] = {"stepped_up": True, "session": session_view(session), "next": target}
    if not request.auth.from_cookies:
        new = {"session_token": login.session_token, "session_jwt": login.session_jwt}
        return as_json({**content, **new}, cookies=cookies)
    keep = is_remembered(session, core.settings)
    found = (*session_cookies(login, core.settings, remember_me=keep), *cookies)
    if for_browser(request, core.settings):
        return see_other(target, cookies=found)
    return as_json(content, cookies=found)


def session_over(
    core: Core, request: FlowRequest, error: MoonKeyError, cookies: tuple[str, ...] = ()
) -> FlowResponse:
    """The answer where the session has ended meanwhile; ``cookies`` are further ones to set."""
    former = cleared_cookies(core.settings) if request.auth.from_cookies else ()
    return problem(error, core.settings, request, cookies=(*former, *cookies))


def is_remembered(session: Session, settings: Settings) -> bool:
    """Whether a session was certainly begun with "remember me": it lasts longer than any other could.

    The browser does not tell how long it keeps a cookie. In doubt it goes when the browser is closed.
    """
    longest = max(settings.sign_in.lifetime, settings.extend_on_activity or timedelta(0))
    return session.expires_at - _clock.now() > longest


def _same_session(request: FlowRequest, login: Login) -> Session:
    user, session = own_session(request.auth)
    found = login.session
    if found is None or login.session_token is None:
        raise ProviderUnavailable(reason="api_content")  # one was given
    if found.id != session.id or not same_user(login.user.id, user.id):
        raise ProviderUnavailable(reason="api_mismatch")
    return found


def _forget_former(core: Core, request: FlowRequest) -> None:
    """What is remembered of the credential that was presented does not know of the new factor."""
    known = core.recall.credentials
    _, value = held(request, core.settings)
    known.forget(known.digest(value))
    pair = cookie_pair(request.headers, core.settings) if request.auth.from_cookies else None
    if pair is not None and pair.jwt is not None:
        known.forget(known.pair_digest(pair))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


_LONGEST = 512
_MAX_NAMES = 16
_MAX_SECONDS = 34_560_000  # 400 days: nobody asks for less than that

# By what a gate calls a factor: its type, and its delivery channel.
_NAMES = {
    "email": frozenset({"otp", "email"}),
    "phone_number": frozenset({"otp", "sms"}),
    "totp": frozenset({"totp", "totp_authenticator"}),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a browser says that it was sent here for. It is shown and handed on, and nothing relies on it."""

    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    target: str = ""

    def fields(self) -> dict[str, str]:
        """The same as the fields of a form."""
        age = "" if self.max_age is None else str(self.max_age)
        return {"acr_values": " ".join(self.acr_values), "max_age": age, "next": self.target}

    def link(self, page: str) -> str:
        """The address of a page that is told the same."""
        query = urlencode({name: value for name, value in self.fields().items() if value})
        return page + ("?" if query else "") + query

    @property
    def minutes(self) -> int:
        """How old a proof may be, in whole minutes, for people; 0 where nothing is said."""
        return 0 if self.max_age is None else max(self.max_age // 60, 1)


def demand_in(fields: Mapping[str, str]) -> Demand:
    """What a query or a form says; whatever is not sound is left out."""
    names = fields.get("acr_values", "")
    words = names.split(" ") if len(names) <= _LONGEST else []
    sound = tuple(dict.fromkeys(word for word in words if fits_challenge(word)))
    age = fields.get("max_age", "")
    is_number = 0 < len(age) <= 9 and age.isascii() and age.isdigit()
    seconds = int(age) if is_number and int(age) <= _MAX_SECONDS else None
    return Demand(sound[:_MAX_NAMES], seconds, safe_target(fields.get("next")))


@dataclass(frozen=True, slots=True)
class Option:
    """One way to prove who one is. ``address`` is where a code is sent; never log it."""

    which: str
    address: str | None = field(default=None, repr=False)

    def view(self) -> dict[str, str]:
        """What is shown of it."""
        return {"which": self.which} if self.address is None else {"which": self.which, "to": masked(self.address)}


def options_of(user: User, demand: Demand | None = None) -> tuple[Option, ...]:
    """What a user has, which is known completely; with a ``demand``, only what meets it."""
    found = [Option("email", user.email)] if user.email else []
    found += [Option("phone_number", user.phone_number)] if user.phone_number else []
    found += [Option("totp")] if _has_totp(user) else []
    asked = () if demand is None else demand.acr_values
    return tuple(one for one in found if not asked or not _NAMES[one.which].isdisjoint(asked))


def masked(address: str) -> str:
    """An address that its owner recognizes, and nobody else learns."""
    name, at, host = address.rpartition("@")
    return f"{name[:1]}•••@{host}" if at else f"•••{address[-2:]}"


def _has_totp(user: User) -> bool:
    totps = user.extra.get("totps")
    entries = totps if isinstance(totps, list | tuple) else ()
    return any(isinstance(one, Mapping) and one.get("verified") is True for one in entries)
