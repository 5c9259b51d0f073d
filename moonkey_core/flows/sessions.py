"""A user's own sessions: the present one for a front end, all of them for a page, and their ends."""

from __future__ import annotations

from typing import Any

from moonkey_core._operations.core import Core
from moonkey_core._operations.sessions import end_session, revoke_all
from moonkey_core._verify.verification import completed
from moonkey_core.auth import Auth
from moonkey_core.errors import InvalidCredentials, NotFound, ProviderError, RevocationIncomplete
from moonkey_core.flows.responses import as_json, for_browser, page, problem, see_other, shown
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sign_out import end_own_session, signed_out
from moonkey_core.flows.views import for_page, listed_views, session_view, user_view
from moonkey_core.gate import require
from moonkey_core.models import Session, User, VerifiedSession
from moonkey_core.web.cookies import cleared_cookies


def session(core: Core, request: FlowRequest) -> FlowPlan:
    """Who is here, for a front end: always JSON, and 503 where that cannot be known.

    Where the API cannot complete the user, only their id is told: they are signed in all the same.
    """
    auth = request.auth
    if auth.is_unavailable:
        require(auth)
    if not auth.is_authenticated:
        return as_json({"authenticated": False})
    user, current = own_session(auth)
    try:
        user = (yield from completed(core.api, VerifiedSession(user, current))).user
    except InvalidCredentials as error:
        if error.session_is_over:  # there is no such user any more
            cookies = cleared_cookies(core.settings) if auth.from_cookies else ()
            return as_json({"authenticated": False}, cookies=cookies)
    except ProviderError:
        pass
    return as_json({"authenticated": True, "user": user_view(user), "session": session_view(current)})


def sessions(core: Core, request: FlowRequest) -> FlowPlan:
    """All active sessions of the user: from which device, since when, which one is this."""
    user, current = own_session(request.auth)
    found = yield from core.api.list_sessions(user.id)
    views = listed_views(found, current.id)
    if not for_browser(request, core.settings):
        return as_json({"sessions": views})
    return page(request, "sessions", _context([for_page(view, request.routes) for view in views]))


def revoke(core: Core, request: FlowRequest) -> FlowPlan:
    """End one of the user's own sessions. Whether an id is another user's or nobody's, nobody is told."""
    user, current = own_session(request.auth)
    wanted = request.session_id or ""
    if wanted == current.id:
        complete = yield from end_own_session(core, request)
        return signed_out(core, request, complete)
    found = yield from core.api.list_sessions(user.id)
    if all(one.id != wanted for one in found):
        raise NotFound("The user has no such session.")
    yield from end_session(core, "session_id", wanted, (wanted, user.id))
    return _revoked(core, request, (wanted,))


def revoke_others(core: Core, request: FlowRequest) -> FlowPlan:
    """End all sessions of the user but this one. Where some could not be ended, the answer tells which."""
    user, current = own_session(request.auth)
    try:
        ended = yield from revoke_all(core, user.id, keep=current.id, missing_ok=True)
    except RevocationIncomplete as error:
        context = {**_context([]), "ended": len(error.revoked), "failed": len(error.failed)}
        members = {"revoked": list(error.revoked), "failed": list(error.failed)}
        instead = shown(request, "sessions", context)
        return problem(error, core.settings, request, instead=instead, members=members)
    return _revoked(core, request, ended)


def own_session(auth: Auth) -> tuple[User, Session]:
    """The user and session of a request; raises what a protected route answers where there is none."""
    verified = require(auth).verified()
    assert verified is not None
    return verified


def _revoked(core: Core, request: FlowRequest, ended: tuple[str, ...]) -> FlowResponse:
    if for_browser(request, core.settings):
        return see_other(f"{request.routes}/sessions")
    return as_json({"revoked": list(ended)})


def _context(views: list[dict[str, Any]]) -> dict[str, Any]:
    others = sum(not view["current"] for view in views)
    return {"sessions": views, "others": others, "ended": 0, "failed": 0}
