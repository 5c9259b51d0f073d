"""A user's own sessions: the current one for a front end, a list of all, and ending them."""

from __future__ import annotations

from typing import Any

from moonkey_core._operations.arguments import given
from moonkey_core._operations.core import Core
from moonkey_core._operations.ending_retries import end_with_retries, revoke_all_with_retries
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._operations.sessions import Ids
from moonkey_core.auth import Auth, fresh_jwt, from_cookies, peek_identity, provider_name
from moonkey_core.errors import (
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RevocationIncomplete,
)
from moonkey_core.flows.responses import (
    error_response,
    is_browser,
    json_response,
    make_page,
    page_response,
    see_other,
)
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sign_out import end_own_session, signed_out_response
from moonkey_core.flows.views import page_view, reader_zone, session_list_views, session_view
from moonkey_core.gate import AS_FRESH_AS_POSSIBLE, require
from moonkey_core.models import Session, User
from moonkey_core.revocations import RevocationState
from moonkey_core.web.cookies import cleared_cookies
from moonkey_core.web.credentials import CredentialKind, read_credentials
from moonkey_core.web.pages import urls


def session(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer with the signed-in user, always in JSON; with 503 where the identity cannot be known.

    A user whose details the provider cannot give is signed in all the same: the response holds the id only. In the
    mode without cookies it also holds the new JWT, where the presented one was old.
    """
    auth = request.auth
    if auth.is_unavailable:
        require(auth)
    if not auth.is_authenticated:
        return json_response({"authenticated": False})
    user, current = own_session(auth)
    try:
        if core.settings.own_name in (None, provider_name(auth)):  # another provider's id means nothing here
            user = yield from core.authenticator.whole_user(user, current.id)
    except InvalidCredentials as error:
        if error.session_is_over:  # the user has been deleted
            cookies = cleared_cookies(core.settings) if from_cookies(auth) else ()
            return json_response({"authenticated": False}, cookies=cookies)
    except ProviderError:
        pass
    content = {"authenticated": True, "user": user.to_dict(), "session": session_view(current)}
    fresh = fresh_jwt(auth) if request.mode == "header" else None
    return json_response(content if fresh is None else {**content, "session_jwt": fresh})


def hydrate(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer with both credentials of the session, for a front end that runs the provider's own SDK.

    That SDK reads its session from them. They are new from the provider, so the JWT is not about to expire.

    Raises:
        ProviderUnavailable: The provider's answer is about another session, or lacks a credential.
    """
    user, current = own_session(request.auth)
    presented = read_credentials(request.headers, request.info, core.settings)
    kind: CredentialKind = presented.kind
    asked = core.authenticator.verify(given(kind, presented.value), requirements=AS_FRESH_AS_POSSIBLE)
    try:
        verified = yield from asked
    except InvalidCredentials as error:
        is_over = error.session_is_over and from_cookies(request.auth)
        cookies = cleared_cookies(core.settings) if is_over else ()
        return error_response(error, core.settings, request, cookies=cookies)
    if verified.session.id != current.id or not core.provider.same_user(verified.user.id, user.id):
        raise ProviderUnavailable(reason="api_mismatch")
    token = presented.value if kind == "session_token" else verified.session_token
    jwt = verified.fresh_jwt or verified.session_jwt
    if token is None or jwt is None:
        raise ProviderUnavailable(reason="api_content")
    shown = {"user": user.to_dict(), "session": session_view(verified.session)}
    return json_response({"session_token": token, "session_jwt": jwt, **shown})


def sessions(core: Core, request: FlowRequest) -> FlowPlan:
    """List the user's active sessions: device, times, and which one is the current one."""
    user, current = own_session(request.auth)
    found = yield from core.able_to("list_sessions").list_sessions(user.id)
    views = session_list_views(found, current.id)
    if not is_browser(request, core.settings):
        return json_response({"sessions": views})
    zone, translate = reader_zone(request, core.settings), core.settings.sign_in.translate
    shown = [page_view(view, request.routes, zone, translate) for view in views]
    return page_response(request, "sessions", _page_context(shown))


def revoke(core: Core, request: FlowRequest) -> FlowPlan:
    """End one of the user's own sessions. Where the provider does not confirm it, it is told again later.

    Raises:
        NotFound: The user has no such session. The error does not reveal whether another user has.
    """
    user, current = own_session(request.auth)
    session_id = request.session_id or ""
    if session_id == current.id:
        ended = yield from end_own_session(core, request)
        return signed_out_response(core, request, ended)
    found = yield from core.able_to("list_sessions").list_sessions(user.id)
    if all(one.id != session_id for one in found):
        raise NotFound("The user has no such session.")
    pending, ids = PendingRevocations(core), Ids(session_id, user.id, user.scope)
    try:
        yield from end_with_retries(core, "session_id", session_id, ids, pending)
    except MoonKeyError as error:
        state = yield from pending.settled()
        if not isinstance(error, ProviderUnavailable):
            raise
        page = make_page(request, "sessions", {**_page_context([], state), "failed": 1})
        return error_response(error, core.settings, request, page=page, members={"revocation": state})
    return _revoked_response(core, request, (session_id,), (yield from pending.settled()))


def revoke_others(core: Core, request: FlowRequest) -> FlowPlan:
    """End all sessions of the user but the current one. The response names those that could not be ended."""
    user, current = own_session(request.auth)
    pending = PendingRevocations(core)
    try:
        ended = yield from revoke_all_with_retries(core, user.id, current.id, pending)
    except MoonKeyError as error:
        state = yield from pending.settled()
        if not isinstance(error, RevocationIncomplete):
            raise
        context = {**_page_context([], state), "ended": len(error.revoked), "failed": len(error.failed)}
        context["retry_url"] = urls(request.routes)["revoke_others"]
        members = {"revoked": list(error.revoked), "failed": list(error.failed), "revocation": state}
        page = make_page(request, "sessions", context)
        return error_response(error, core.settings, request, page=page, members=members)
    return _revoked_response(core, request, ended, (yield from pending.settled()))


def own_session(auth: Auth) -> tuple[User, Session]:
    """Return the user and session of a request. Raises the refusal of a protected route where there is none."""
    verified = peek_identity(require(auth))
    assert verified is not None
    return verified


def _revoked_response(
    core: Core, request: FlowRequest, ended: tuple[str, ...], state: RevocationState
) -> FlowResponse:
    if not is_browser(request, core.settings):
        return json_response({"revoked": list(ended), "revocation": state})
    if state == "pending":  # the list of sessions would say that all is done
        return page_response(request, "sessions", {**_page_context([], state), "ended": len(ended)})
    return see_other(f"{request.routes}/sessions")


def _page_context(views: list[dict[str, Any]], state: RevocationState = "published") -> dict[str, Any]:
    others = sum(not view["current"] for view in views)
    shown = {"sessions": views, "others": others, "ended": 0, "failed": 0, "retry_url": ""}
    return {**shown, "is_pending": state == "pending"}
