"""Sign out: at the provider where it can be reached, and here in any case."""

from __future__ import annotations

import logging

from moonkey_core._operations.arguments import given
from moonkey_core._operations.core import Core
from moonkey_core._operations.sessions import Ids, end_session
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.auth import peek_identity
from moonkey_core.errors import MoonKeyError, ProviderError, RequestRefused
from moonkey_core.events import SignedOut
from moonkey_core.flows.forms import body_fields, query_fields
from moonkey_core.flows.responses import is_browser, json_response, page_response, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_cookies
from moonkey_core.web.credentials import PresentedCredentials, read_cookies, read_credentials

_RETRY_DELAY = 2.0  # seconds until the provider is called once more


def sign_out(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the page with the sign-out button (GET), or sign out (POST).

    The browser's cookies are always removed, even where they held nothing valid.
    """
    if request.info.method != "POST":
        return _confirmation(core, request)
    target = _target(request)
    complete = yield from end_own_session(core, request)
    return signed_out_response(core, request, complete, target)


def signed_out_response(core: Core, request: FlowRequest, complete: bool, target: str = "") -> FlowResponse:
    """Answer after a sign-out, and remove the cookies.

    Args:
        core: The parts of the client.
        request: The request that signed out.
        complete: Whether the provider has ended the session, too.
        target: The path to redirect a browser to, instead of ``SignInSettings.after_sign_out``.
    """
    cookies = cleared_cookies(core.settings)
    if not is_browser(request, core.settings):
        return json_response({"signed_out": True, "complete": complete}, cookies=cookies)
    target = target or core.settings.sign_in.after_sign_out
    if complete:
        return see_other(target, cookies=cookies)
    return page_response(request, "signed_out", {"next": target}, cookies=cookies)


def end_own_session(core: Core, request: FlowRequest) -> Plan[bool]:
    """End the session of a request at the provider, and refuse it here and in the fleet.

    Where the provider cannot be reached, one more try is made later, in the background.

    Returns:
        Whether the provider has ended the session.
    """
    presented = _credential_to_end(request, core.settings)
    verified = peek_identity(request.auth)
    ids = None if verified is None else (verified[1].id, verified[0].id)
    if ids is not None:
        # Before any call: a response that is on its way must not set a new JWT of this session.
        core.revocations.add(session_id=ids[0])
    complete = True
    if presented is not None:
        try:
            yield from _end_at_provider(core, presented, ids)
        except MoonKeyError as error:
            complete = False
            _log_incomplete(error)
            ids = yield from _refuse_locally(core, presented, ids)
            if core.run_later(_end_later(core, presented, ids)) is False:
                _log_given_up(error)  # too many plans run in the background already
    if ids is not None:
        core.hooks.emit(SignedOut(ids[1], ids[0], complete))
    return complete


def _credential_to_end(request: FlowRequest, settings: Settings) -> PresentedCredentials | None:
    """Return the credential to end: where a header is malformed, the one in cookies. Nothing is granted for it."""
    presented = read_credentials(request.headers, request.info, settings)
    if presented.error is not None:
        presented = read_cookies(request.headers, settings)
    return presented if presented.source and presented.error is None else None


def _end_at_provider(
    core: Core, credential: PresentedCredentials, ids: Ids | None, *, pause: float = 0.0
) -> Plan[None]:
    """End the session of a credential at the provider.

    Raises:
        MoonKeyError: It is not certain that the session has ended.
    """
    if ids is not None:  # by its id: the token may have been changed meanwhile, a JWT may be too old
        yield from end_session(core, "session_id", ids[0], ids, pause=pause)
    else:
        yield from end_session(core, credential.kind, credential.value, ids, pause=pause)


def _end_later(core: Core, credential: PresentedCredentials, ids: Ids | None) -> Plan[None]:
    try:
        yield from _end_at_provider(core, credential, ids, pause=_RETRY_DELAY)
    except MoonKeyError as error:
        _log_given_up(error)


def _refuse_locally(core: Core, presented: PresentedCredentials, ids: Ids | None) -> Plan[Ids | None]:
    """Refuse a session in all processes of the app that the provider could not be called to end.

    The credential itself is refused too, as its session may be unknown. A JWT, also one beside a session token,
    names the session if it is genuine, however old it is.

    Returns:
        The ids of the session and its user, if they are known.
    """
    cache = core.cache
    cache.deny(cache.digest(presented.value))
    if presented.cached_jwt is not None:
        cache.forget(cache.text_digest(presented.text))
    jwt = presented.value if presented.kind == "session_jwt" else presented.cached_jwt
    if ids is None and jwt is not None and core.settings.jwt_issuer:
        try:
            ids = yield from core.authenticator.ids_of(given("session_jwt", jwt))
        except ProviderError:
            return None
        if ids is not None:
            core.revocations.add(session_id=ids[0])
    return ids


def _log_incomplete(error: MoonKeyError) -> None:
    log_repeated(
        logging.WARNING,
        "signed out here, but the API could not be told: %s",
        error.reason,
        extra={"reason": "sign_out_incomplete"},
    )


def _log_given_up(error: MoonKeyError) -> None:
    log_repeated(
        logging.ERROR,
        "a session whose user has signed out may still be active elsewhere: %s",
        error.reason,
        extra={"reason": "sign_out_given_up"},
    )


def _confirmation(core: Core, request: FlowRequest) -> FlowResponse:
    target = safe_target(query_fields(request).get("next"))
    if is_browser(request, core.settings):
        return page_response(request, "sign_out", {"next": target})
    return json_response({"authenticated": request.auth.is_authenticated})


def _target(request: FlowRequest) -> str:
    """Return the path to redirect to afterwards. A body that cannot be read does not prevent a sign-out."""
    try:
        return safe_target(body_fields(request).get("next"))
    except RequestRefused:
        return ""
