"""Sign in: the first page, and the last step, which all ways to sign in share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta

from moonkey_core._operations.core import Core
from moonkey_core._operations.ending_retries import end_later, end_with_retries
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._operations.sessions import Ids, end_by_credential
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core._sign_in_steps import with_query
from moonkey_core.auth import Auth, from_cookies, peek_identity
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderUnavailable, RequestRefused
from moonkey_core.events import SignedIn
from moonkey_core.flows.dropping import drop_records
from moonkey_core.flows.forms import is_checked, query_fields
from moonkey_core.flows.responses import is_browser, json_response, page_response, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sealed_cookies import METHOD_ID
from moonkey_core.flows.views import session_view
from moonkey_core.models import Login, Session
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_handles, session_cookies
from moonkey_core.web.credentials import PresentedCredentials, presented_cookies
from moonkey_core.web.pages import urls

_SENT_BACK = {"cookies": (), "header": (METHOD_ID,)}
_MAX_SHOWN_ADDRESS = 320  # characters


def sign_in(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the form for an address; a program gets the steps as JSON."""
    yield from ()
    fields = query_fields(request)
    if is_browser(request, core.settings):
        return page_response(request, "sign_in", sign_in_context(core, request, fields))
    paths = urls(request.routes)
    steps = {
        "send_otp": {"method": "POST", "path": paths["send_otp"], "fields": _address_fields(core)},
        "verify_otp": {
            "method": "POST",
            "path": paths["verify_otp"],
            "fields": [*_SENT_BACK[request.mode], "code"],
        },
    }
    return json_response({"authenticated": request.auth.is_authenticated, "steps": steps})


def own_sign_in_page(core: Core, request: FlowRequest) -> str | None:
    """Return the app's own sign-in page, to which a browser goes on that asks for the ready-made one.

    It is ``None`` where the ready-made one does its work: where the session cookies are set here.
    """
    cookies, page = core.settings.cookies, core.settings.sign_in.page
    is_ours = cookies is None or not cookies.is_read_only
    if is_ours or page is None or request.route != "sign_in" or not is_browser(request, core.settings):
        return None
    back = safe_target(query_fields(request).get("next"))
    return with_query(page, {"next": back} if back else {})


def _address_fields(core: Core) -> list[str]:
    names = ", or ".join(core.settings.sign_in.methods)
    return [f"address (or {names})", "next", "remember_me"]


def sign_in_context(core: Core, request: FlowRequest, fields: Mapping[str, str]) -> dict[str, object]:
    """Make the context of the form for an address."""
    address = next((value for name in ("address", "email", "phone_number") if (value := fields.get(name))), "")
    return {
        "address": address[:_MAX_SHOWN_ADDRESS] if request.info.method == "POST" else "",
        "next": safe_target(fields.get("next")),
        "remember_me": is_checked(fields.get("remember_me")),
        "signed_in": request.auth.is_authenticated,
        "methods": core.settings.sign_in.methods,
        "error": "",
    }


def session_lifetime(core: Core, *, remember_me: bool) -> timedelta:
    """Return the length to request for a new session: the configured one, as far as the provider allows it.

    That is checked when the client is made, where the length is not the usual one.
    """
    settings, allowed = core.settings.sign_in, core.able_to("sign_in").limits.session_minutes
    wanted = settings.remember_me if remember_me else settings.lifetime
    longest, shortest = timedelta(minutes=allowed.stop - 1), timedelta(minutes=allowed.start)
    return max(min(wanted, longest), shortest)


def log_inconclusive(core: Core, error: RequestRefused, *, remember_me: bool) -> None:
    """Log that the provider refused a sign-in without a word about its code, link or token."""
    log_repeated(
        logging.WARNING,
        "the API refused a sign-in, and not for its code or link. It may be the length of the session: "
        "sign_in.%s asks for %d minutes. %s",
        "remember_me" if remember_me else "lifetime",
        session_lifetime(core, remember_me=remember_me) // timedelta(minutes=1),
        error.evidence,
        extra={"reason": "sign_in_unclear"},
    )


def complete_sign_in(
    core: Core,
    request: FlowRequest,
    login: Login,
    *,
    method: str,
    target: str,
    remember_me: bool,
    cookies: tuple[str, ...] = (),
    is_repeated: bool = False,
) -> FlowPlan:
    """Answer with the cookies of the new session; in the mode without cookies, with its credentials as JSON.

    The session that the browser's cookies held before is ended: only a copy of its credentials could still use it.

    Args:
        core: The parts of the client.
        request: The request that completes the sign-in.
        login: The login that the provider accepted.
        method: The way to sign in, for the ``SignedIn`` event.
        target: The path that the browser wanted to reach.
        remember_me: Whether the cookies outlive the browser.
        cookies: Further ``Set-Cookie`` values.
        is_repeated: Whether another request has completed the same sign-in, and this one is answered like it.

    Raises:
        ProviderUnavailable: The login has no session, although one was requested.
    """
    session = login.session
    if session is None or login.session_token is None:
        raise ProviderUnavailable(reason="api_content")
    if not is_repeated:
        pending = PendingRevocations(core)
        yield from drop_records(core, request, pending)
        yield from _end_previous_session(core, request, session.id, pending)
        yield from pending.settled()
        core.hooks.emit(SignedIn(login.user.id, session.id, method, scope=login.user.scope))
    if request.mode == "header":
        credentials = {"session_token": login.session_token, "session_jwt": login.session_jwt}
        shown = {"user": login.user.to_dict(), "session": session_view(session), "next": safe_target(target)}
        return json_response({"authenticated": True, **credentials, **shown})
    set_cookies = (
        *session_cookies(login, core.settings, remember_me=remember_me),
        *(() if is_repeated else cleared_handles(core.settings)),
        *cookies,
    )
    return signed_in_response(core, request, login.user.id, session, target, set_cookies)


def signed_in_response(
    core: Core, request: FlowRequest, user_id: str, session: Session, target: str, cookies: tuple[str, ...] = ()
) -> FlowResponse:
    """Answer a user who is signed in now.

    Args:
        core: The parts of the client.
        request: The request that is answered.
        user_id: The id of the user.
        session: The session.
        target: The path that the browser wanted to reach.
        cookies: ``Set-Cookie`` values.
    """
    target = safe_target(target, core.settings.sign_in.after_sign_in)
    if is_browser(request, core.settings):
        return see_other(target, cookies=cookies)
    content = {
        "authenticated": True,
        "user": {"id": user_id},
        "session": {"id": session.id, "expires_at": session.expires_at.isoformat()},
        "next": target,
    }
    return json_response(content, cookies=cookies)


def _may_still_be_valid(auth: Auth) -> bool:
    """Return whether a session may be valid although its credential was refused."""
    return isinstance(auth.error, InvalidCredentials) and not auth.error.session_is_over


def _end_previous_session(
    core: Core, request: FlowRequest, new_id: str, pending: PendingRevocations
) -> Plan[None]:
    """End the session that this browser's cookies held. An error is logged, and does not fail the sign-in."""
    auth = request.auth
    previous = peek_identity(auth) if from_cookies(auth) else None
    if previous is not None and previous[1].id == new_id:
        return
    is_unknown = from_cookies(auth) and (auth.is_unavailable or _may_still_be_valid(auth))
    presented = PresentedCredentials()
    if previous is not None or is_unknown:
        presented = presented_cookies(request.headers, request.info, core.settings)
    kind, value = presented.kind, presented.value
    if value:
        # Other requests of this browser may still carry it: their refusal must not remove new cookies.
        core.cache.mark_superseded(core.cache.digest(value))
    is_left = previous is None and bool(value)
    try:
        if previous is not None:
            ids = Ids(previous[1].id, previous[0].id, previous[0].scope)
            yield from end_with_retries(core, "session_id", ids.session_id, ids, pending)
        elif value:
            yield from end_by_credential(core, kind, value, pending)
            is_left = False
    except MoonKeyError as error:
        is_left = is_left and not isinstance(error, InvalidCredentials | RequestRefused)  # there is none to end
        log_repeated(
            logging.WARNING,
            "the session before a sign-in could not be ended: %s",
            error.reason,
            extra={"reason": "former_session"},
        )
    finally:
        if is_left:  # raised, or cancelled
            end_later(core, kind, value, None)
