"""Sign out: at the provider where it can be reached, and here in any case."""

from __future__ import annotations

import logging
from dataclasses import replace

from moonkey_core._dataclass import dataclass
from moonkey_core._operations.arguments import given
from moonkey_core._operations.core import Core
from moonkey_core._operations.ending_retries import end_later
from moonkey_core._operations.mfa import end_for_user
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._operations.sessions import Ids, end_session, ids_to_end
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.auth import peek_error, peek_identity, provider_name
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderError, RequestRefused
from moonkey_core.events import SignedOut
from moonkey_core.flows.dropping import drop_records
from moonkey_core.flows.forms import body_fields, query_fields
from moonkey_core.flows.responses import is_browser, json_response, page_response, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse, FlowSteps
from moonkey_core.revocations import RevocationState
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import signed_out_cookies
from moonkey_core.web.credentials import PresentedCredentials, presented_cookies, read_credentials
from moonkey_core.web.pages import mounted_sign_in

_CLEAR_STORAGE = ("clear-site-data", '"storage"')  # W3C Clear Site Data; not "cookies": the site may have others


def sign_out(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the page with the sign-out button (GET), or sign out (POST).

    The browser's cookies are always removed, even where they held nothing valid. With several providers, it is
    the one of the credential where the session ends.
    """
    own = core.siblings.get(provider_name(request.auth), core)
    if request.info.method != "POST":
        return _confirmation(own, request)
    target = _target(request)
    ended = yield from end_own_session(own, request)
    return signed_out_response(core, request, ended, target, own=own)


@dataclass(frozen=True, slots=True)
class Ended:
    """What has become of the session of a request that signed out.

    Attributes:
        is_complete: Whether the provider has ended it, too.
        state: Whether the other processes of the app refuse it: ``published``, ``pending`` or ``local``.
    """

    is_complete: bool
    state: RevocationState


def signed_out_response(
    core: Core, request: FlowRequest, ended: Ended, target: str = "", *, own: Core | None = None
) -> FlowResponse:
    """Answer after a sign-out, and remove the cookies.

    A browser gets a page instead of a redirect where the session may still be accepted somewhere.

    Args:
        core: The parts of the client that the routes are of.
        request: The request that signed out.
        ended: What has become of the session. Where only the provider's own code in the browser can end it there,
            the response says so to a front end (``provider_sign_out``).
        target: The path to redirect a browser to, instead of ``SignInSettings.after_sign_out``.
        own: Those of the provider of the credential, where that may be another one.
    """
    own = own or core
    cookies = signed_out_cookies(core.settings) if request.mode == "cookies" else ()
    target = target or core.settings.sign_in.after_sign_out
    if not is_browser(request, core.settings):
        content: dict[str, object] = {"signed_out": True, "complete": ended.is_complete}
        content["revocation"] = ended.state
        if _browser_signs_out(own):
            content["provider_sign_out"] = True  # its own code in the browser does the rest
        response = json_response(content, cookies=cookies)
    elif ended.is_complete and ended.state != "pending":
        response = see_other(target, cookies=cookies)
    else:
        context = {
            "next": target,
            "is_complete": ended.is_complete,
            "is_pending": ended.state == "pending",
            "goes_on": "revoke_session" in own.provider.capabilities,
            "can_sign_in": mounted_sign_in(core.settings, request.routes) is not None,
        }
        response = page_response(request, "signed_out", context, cookies=cookies)
    if not core.settings.sign_in.clear_storage:
        return response
    return replace(response, headers=(*response.headers, _CLEAR_STORAGE))


def _browser_signs_out(core: Core) -> bool:
    return getattr(core.provider, "browser_signs_out", False)


def end_own_session(core: Core, request: FlowRequest) -> FlowSteps[Ended]:
    """End the session of a request at the provider, and refuse it here and in the fleet.

    Where the provider does not confirm it, it is told again later, beside the requests. With a feed it waits until
    Redis has the revocation, for ``publish_timeout`` at most.

    Returns:
        What has become of the session.
    """
    pending = PendingRevocations(core)
    presented = _credential_to_end(request, core.settings)
    verified = peek_identity(request.auth)
    ids = None if verified is None else Ids(verified[1].id, verified[0].id, verified[0].scope)
    if ids is not None:
        # Before any call: a response that is on its way must not set a new JWT of this session.
        pending.add_session(ids)
    yield from drop_records(core, request, pending, everywhere=True)
    can_end = "revoke_session" in core.provider.capabilities
    if (
        can_end
        and core.verifies_jwts
        and ids is None
        and presented is not None
        and presented.kind == "session_jwt"
    ):
        presented, ids = yield from _genuine(core, presented, pending)
    complete = presented is None
    if presented is not None and not can_end:
        ids = yield from _refuse_locally(core, request, presented, ids, pending)
        complete = not _browser_signs_out(core)  # otherwise the provider cannot be told, now or later
    elif presented is not None:
        is_refused = False
        try:
            yield from _end_at_provider(core, presented, ids, pending)
            complete = True
        except MoonKeyError as error:
            _log_incomplete(error)
            is_refused = ids is None and isinstance(error, RequestRefused)
            ids = yield from _refuse_locally(core, request, presented, ids, pending)
        finally:
            if not complete:  # raised, or cancelled
                _deny(core, presented)
                if not is_refused or ids is not None:  # a refused text that no session is known of is none
                    end_later(core, presented.kind, presented.value, ids)
    if ids is not None:
        scope = ids.scope or core.revocations.scopes[0]
        core.hooks.emit(SignedOut(ids.user_id, ids.session_id, complete, scope=scope))
    return Ended(complete, (yield from pending.settled()))


def _credential_to_end(request: FlowRequest, settings: Settings) -> PresentedCredentials | None:
    """Return the credential to end: where a header is malformed, the one in cookies. Nothing is granted for it."""
    presented = read_credentials(request.headers, request.info, settings)
    if presented.error is not None and not presented.from_cookies:
        presented = presented_cookies(request.headers, request.info, settings)
    return presented if presented.source and presented.error is None else None


def _genuine(
    core: Core, presented: PresentedCredentials, pending: PendingRevocations
) -> Plan[tuple[PresentedCredentials | None, Ids | None]]:
    """Return a JWT and, if they are known, the ids of its session; neither for one that is not the provider's."""
    try:
        ids = yield from ids_to_end(core, presented)
    except InvalidCredentials:
        return None, None
    if ids is not None:
        _refuse(core, ids, pending)
    return presented, ids


def _end_at_provider(
    core: Core, credential: PresentedCredentials, ids: Ids | None, pending: PendingRevocations
) -> Plan[None]:
    """End the session of a credential at the provider.

    Raises:
        MoonKeyError: It is not certain that the session has ended.
    """
    if (
        ids is not None and core.able_to("revoke_session").ends_sessions_by_id
    ):  # by its id: the token may have been changed meanwhile, a JWT may be too old
        yield from end_session(core, "session_id", ids[0], ids, pending)
    else:
        yield from end_session(core, credential.kind, credential.value, ids, pending)


def _refuse_locally(
    core: Core,
    request: FlowRequest,
    presented: PresentedCredentials,
    ids: Ids | None,
    pending: PendingRevocations,
) -> Plan[Ids | None]:
    """Refuse a session in all processes of the app that the provider could not be called to end.

    The credential itself is refused too, as its session may be unknown: here, and everywhere if it may be good.

    Returns:
        The ids of the session and its user, if they are known.
    """
    _deny(core, presented)
    if ids is None:
        ids = yield from _end_of_genuine(core, presented, pending)
    if ids is None and not isinstance(peek_error(request.auth), InvalidCredentials):
        pending.note(core.introspector.refuse_everywhere(presented.value))
    return ids


def _end_of_genuine(core: Core, presented: PresentedCredentials, pending: PendingRevocations) -> Plan[Ids | None]:
    """Refuse the session that a JWT names, also one beside a session token, if it is genuine, however old it is.

    Returns:
        The ids of the session and its user; ``None`` where there is no such JWT, or its key cannot be had now.
    """
    jwt = presented.value if presented.kind == "session_jwt" else presented.cached_jwt
    if jwt is None or not core.verifies_jwts:
        return None
    try:
        ids = yield from core.authenticator.ids_of(given("session_jwt", jwt))
    except ProviderError:
        return None
    if ids is not None:
        _refuse(core, ids, pending)
    return ids


def _refuse(core: Core, ids: Ids, pending: PendingRevocations) -> None:
    """Refuse the session of a JWT that is genuine, but too old to be the identity of the request."""
    pending.add_session(ids)
    scope = ids.scope or core.revocations.scopes[0]
    end_for_user(core, scope, ids.user_id, pending, names_session=ids.names_session)


def _deny(core: Core, presented: PresentedCredentials) -> None:
    cache = core.cache
    cache.deny(cache.digest(presented.value))
    if presented.cached_jwt is not None:
        cache.forget(cache.text_digest(presented.text))


def _log_incomplete(error: MoonKeyError) -> None:
    log_repeated(
        logging.WARNING,
        "signed out here, but the API could not be told: %s",
        error.reason,
        extra={"reason": "sign_out_incomplete"},
    )


def _confirmation(core: Core, request: FlowRequest) -> FlowResponse:
    target = safe_target(query_fields(request).get("next"))
    if is_browser(request, core.settings):
        has_devices = "list_sessions" in core.provider.capabilities
        return page_response(request, "sign_out", {"next": target, "has_devices": has_devices})
    return json_response({"authenticated": request.auth.is_authenticated})


def _target(request: FlowRequest) -> str:
    """Return the path to redirect to afterwards. A body that cannot be read does not prevent a sign-out."""
    try:
        return safe_target(body_fields(request).get("next"))
    except RequestRefused:
        return ""
