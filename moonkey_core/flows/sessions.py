"""A user's own sessions: the current one for a front end, a list of all, and ending them."""

from __future__ import annotations

from typing import Any

from moonkey_core._operations.core import Core
from moonkey_core._operations.sessions import end_session, revoke_all
from moonkey_core.auth import Auth, from_cookies, peek_identity
from moonkey_core.errors import InvalidCredentials, NotFound, ProviderError, RevocationIncomplete
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
from moonkey_core.flows.views import page_view, session_list_views, session_view
from moonkey_core.gate import require
from moonkey_core.models import Session, User, VerifiedSession
from moonkey_core.web.cookies import cleared_cookies


def session(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer with the signed-in user, always in JSON; with 503 where the identity cannot be known.

    A user whose details the provider cannot give is signed in all the same: the response holds the id only.
    """
    auth = request.auth
    if auth.is_unavailable:
        require(auth)
    if not auth.is_authenticated:
        return json_response({"authenticated": False})
    user, current = own_session(auth)
    try:
        user = (yield from core.authenticator.with_whole_user(VerifiedSession(user, current))).user
    except InvalidCredentials as error:
        if error.session_is_over:  # the user has been deleted
            cookies = cleared_cookies(core.settings) if from_cookies(auth) else ()
            return json_response({"authenticated": False}, cookies=cookies)
    except ProviderError:
        pass
    return json_response({"authenticated": True, "user": user.to_dict(), "session": session_view(current)})


def sessions(core: Core, request: FlowRequest) -> FlowPlan:
    """List the user's active sessions: device, times, and which one is the current one."""
    user, current = own_session(request.auth)
    found = yield from core.api.list_sessions(user.id)
    views = session_list_views(found, current.id)
    if not is_browser(request, core.settings):
        return json_response({"sessions": views})
    return page_response(request, "sessions", _page_context([page_view(view, request.routes) for view in views]))


def revoke(core: Core, request: FlowRequest) -> FlowPlan:
    """End one of the user's own sessions.

    Raises:
        NotFound: The user has no such session. The error does not reveal whether another user has.
    """
    user, current = own_session(request.auth)
    session_id = request.session_id or ""
    if session_id == current.id:
        complete = yield from end_own_session(core, request)
        return signed_out_response(core, request, complete)
    found = yield from core.api.list_sessions(user.id)
    if all(one.id != session_id for one in found):
        raise NotFound("The user has no such session.")
    yield from end_session(core, "session_id", session_id, (session_id, user.id))
    return _revoked_response(core, request, (session_id,))


def revoke_others(core: Core, request: FlowRequest) -> FlowPlan:
    """End all sessions of the user but the current one. The response names those that could not be ended."""
    user, current = own_session(request.auth)
    try:
        ended = yield from revoke_all(core, user.id, keep=current.id, missing_ok=True)
    except RevocationIncomplete as error:
        context = {**_page_context([]), "ended": len(error.revoked), "failed": len(error.failed)}
        members = {"revoked": list(error.revoked), "failed": list(error.failed)}
        page = make_page(request, "sessions", context)
        return error_response(error, core.settings, request, page=page, members=members)
    return _revoked_response(core, request, ended)


def own_session(auth: Auth) -> tuple[User, Session]:
    """Return the user and session of a request. Raises the refusal of a protected route where there is none."""
    verified = peek_identity(require(auth))
    assert verified is not None
    return verified


def _revoked_response(core: Core, request: FlowRequest, ended: tuple[str, ...]) -> FlowResponse:
    if is_browser(request, core.settings):
        return see_other(f"{request.routes}/sessions")
    return json_response({"revoked": list(ended)})


def _page_context(views: list[dict[str, Any]]) -> dict[str, Any]:
    others = sum(not view["current"] for view in views)
    return {"sessions": views, "others": others, "ended": 0, "failed": 0}
