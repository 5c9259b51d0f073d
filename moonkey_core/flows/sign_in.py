"""The end that all ways to sign in have in common: from a login that was accepted to the answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from moonkey_core._operations.core import Core
from moonkey_core._operations.sessions import revoke
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.auth import Auth
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RequestRefused
from moonkey_core.events import SignedIn
from moonkey_core.flows.forms import is_on, query_of
from moonkey_core.flows.responses import as_json, for_browser, page, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest
from moonkey_core.models import Login
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import session_cookies
from moonkey_core.web.credentials import cookie_pair
from moonkey_core.web.pages import urls

_ADDRESS_FIELDS = ["address (or email, or phone_number)", "next", "remember_me"]


def sign_in(core: Core, request: FlowRequest) -> FlowPlan:
    """Ask for an address; a program is told what to send where."""
    yield from ()
    fields = query_of(request)
    if for_browser(request, core.settings):
        return page(request, "sign_in", sign_in_context(request, fields))
    paths = urls(request.routes)
    steps = {
        "send_otp": {"method": "POST", "path": paths["send_otp"], "fields": _ADDRESS_FIELDS},
        "verify_otp": {"method": "POST", "path": paths["verify_otp"], "fields": ["code"]},
    }
    return as_json({"authenticated": request.auth.is_authenticated, "steps": steps})


def lifetime(core: Core, *, remember_me: bool) -> timedelta:
    """How long a session is asked for."""
    settings = core.settings.sign_in
    return settings.remember_me if remember_me else settings.lifetime


def note_unclear(core: Core, error: RequestRefused, *, remember_me: bool) -> None:
    """Tell the operator of a sign-in that the API refused without a word about its code, link or token."""
    log_repeated(
        logging.WARNING,
        "the API refused a sign-in, and not for its code or link. It may be the length of the session: "
        "sign_in.%s asks for %d minutes. %s",
        "remember_me" if remember_me else "lifetime",
        lifetime(core, remember_me=remember_me) // timedelta(minutes=1),
        error.evidence,
        extra={"reason": "sign_in_unclear"},
    )


def signed_in(
    core: Core,
    request: FlowRequest,
    login: Login,
    *,
    method: str,
    target: str,
    remember_me: bool,
    cookies: tuple[str, ...] = (),
) -> FlowPlan:
    """The answer to a login that was accepted, with the cookies of its new session.

    ``target`` is where the browser wanted to go, ``cookies`` are further ones to set. A session that the browser
    had before is ended: nobody holds it any more but who copied it.
    """
    session = login.session
    if session is None or login.session_token is None:
        raise ProviderUnavailable(reason="api_content")  # one was asked for
    yield from _end_former(core, request, session.id)
    core.hooks.emit(SignedIn(login.user.id, session.id, method))
    found = (*session_cookies(login, core.settings, remember_me=remember_me), *cookies)
    target = safe_target(target, core.settings.sign_in.after_sign_in)
    if for_browser(request, core.settings):
        return see_other(target, cookies=found)
    content = {
        "authenticated": True,
        "user": {"id": login.user.id},
        "session": {"id": session.id, "expires_at": session.expires_at.isoformat()},
        "next": target,
    }
    return as_json(content, cookies=found)


def _may_go_on(auth: Auth) -> bool:
    """Whether a session that was refused may be good all the same."""
    return isinstance(auth.error, InvalidCredentials) and not auth.error.session_is_over


def _end_former(core: Core, request: FlowRequest, new: str) -> Plan[None]:
    """End the session that this browser's cookies held. It never spoils the sign-in."""
    auth = request.auth
    former = auth.verified() if auth.from_cookies else None
    if former is not None and former[1].id == new:
        return
    is_unknown = auth.from_cookies and (auth.is_unavailable or _may_go_on(auth))
    pair = cookie_pair(request.headers, core.settings) if former is not None or is_unknown else None
    if pair is not None:
        # Other requests of this browser may be under way with it: their refusal must not remove the new cookies.
        core.recall.credentials.replace(core.recall.credentials.digest(pair.token))
    try:
        if former is not None:
            yield from revoke(core, session_id=former[1].id)
        elif pair is not None:
            yield from revoke(core, session_token=pair.token)
    except MoonKeyError as error:
        log_repeated(
            logging.WARNING,
            "the session before a sign-in could not be ended: %s",
            error.reason,
            extra={"reason": "former_session"},
        )


def sign_in_context(request: FlowRequest, fields: Mapping[str, str]) -> dict[str, object]:
    address = next((value for name in ("address", "email", "phone_number") if (value := fields.get(name))), "")
    return {
        "address": address[:320] if request.info.method == "POST" else "",
        "next": safe_target(fields.get("next")),
        "remember_me": is_on(fields.get("remember_me")),
        "signed_in": request.auth.is_authenticated,
        "error": "",
    }
