"""The end that both ways to step up have in common: from a factor that was accepted to the answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core.errors import MissingCredentials, MoonKeyError, ProviderUnavailable, RevokedCredentials
from moonkey_core.events import SignedIn
from moonkey_core.flows._answers import as_json, for_browser, problem, see_other
from moonkey_core.flows._sessions import own_session
from moonkey_core.flows._types import FlowRequest, FlowResponse
from moonkey_core.flows._views import session_view
from moonkey_core.models import Login, Session, same_user
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_cookies, session_cookies
from moonkey_core.web.credentials import CredentialKind, PresentedCredentials, read_credentials


def held(request: FlowRequest, settings: Settings) -> PresentedCredentials:
    """Return the credential that a signed-in request presents."""
    presented = read_credentials(request.headers, request.info, settings)
    if presented.error is not None or not presented.source:
        raise MissingCredentials
    return presented


def to_be_replaced(core: Core, request: FlowRequest) -> tuple[CredentialKind, str]:
    """The same, for a call that replaces it: other requests of this browser, under way with it, end no session."""
    presented = held(request, core.settings)
    core.cache.mark_superseded(core.cache.digest(presented.value))
    return presented.kind, presented.value


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
    presented = held(request, core.settings)
    core.cache.forget(core.cache.digest(presented.value))
    if presented.cached_jwt is not None:
        core.cache.forget(core.cache.text_digest(presented.text))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
