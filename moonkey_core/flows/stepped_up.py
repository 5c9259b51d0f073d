"""The end that both ways to step up have in common: from a factor that was accepted to the answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core.errors import MissingCredentials, MoonKeyError, ProviderUnavailable, RevokedCredentials
from moonkey_core.events import SignedIn
from moonkey_core.flows.responses import as_json, for_browser, problem, see_other
from moonkey_core.flows.routes import FlowRequest, FlowResponse
from moonkey_core.flows.sessions import own_session
from moonkey_core.flows.views import session_view
from moonkey_core.models import Login, Session
from moonkey_core.providers.moonkey.client import same_user
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_cookies, session_cookies
from moonkey_core.web.credentials import cookie_pair, parse_credentials


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
