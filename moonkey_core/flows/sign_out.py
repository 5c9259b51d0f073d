"""Sign out: at the provider where it can be reached, and here in any case."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

from moonkey_core._operations.core import Core
from moonkey_core._operations.sessions import Ids, end_session
from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import MalformedCredentials, MoonKeyError, ProviderError, RequestRefused
from moonkey_core.events import SignedOut
from moonkey_core.flows.forms import body_fields, query_fields
from moonkey_core.flows.responses import is_browser, json_response, page_response, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_cookies
from moonkey_core.web.credentials import CookiePair, Credentials, cookie_pair, parse_credentials

_RETRY_DELAY = 2.0  # seconds until the provider is called once more


def sign_out(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the page that asks (GET), or sign out, which only a POST does.

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
    presented = _presented_credentials(request, core.settings)
    verified = request.auth.verified()
    ids = None if verified is None else (verified[1].id, verified[0].id)
    if ids is not None:
        # Before any call: a response that is on its way must not set a new JWT of this session.
        core.revocations.add(session_id=ids[0])
    complete = True
    if presented.credentials is not None:
        try:
            yield from _end_at_provider(core, presented.credentials, ids)
        except MoonKeyError as error:
            complete = False
            _log_incomplete(error)
            ids = yield from _refuse_locally(core, presented, presented.credentials, ids)
            if core.run_later(_end_later(core, presented.credentials, ids)) is False:
                _log_given_up(error)  # too many plans run in the background already
    if ids is not None:
        core.hooks.emit(SignedOut(ids[1], ids[0], complete))
    return complete


@dataclass(frozen=True, slots=True, repr=False)
class _PresentedCredentials:
    """What a request presents: the credential to end, the JWT that may name its session, the cookies of both."""

    credentials: Credentials | None = None
    jwt: Credentials | None = None
    pair: CookiePair | None = None


def _presented_credentials(request: FlowRequest, settings: Settings) -> _PresentedCredentials:
    """Read the credentials; a header goes before cookies. Malformed ones are skipped: they grant nothing here."""
    header: Credentials | None = None
    pair: CookiePair | None = None
    with suppress(MalformedCredentials):
        header = parse_credentials(request.headers, settings)
    if header is not None:
        return _PresentedCredentials(header, header if header.kind == "session_jwt" else None)
    with suppress(MalformedCredentials):
        pair = cookie_pair(request.headers, settings)
    if pair is None:
        return _PresentedCredentials()
    jwt = None if pair.jwt is None else Credentials(pair.jwt, "session_jwt", "cookie")
    return _PresentedCredentials(Credentials(pair.token, "session_token", "cookie"), jwt, pair)


def _end_at_provider(core: Core, credentials: Credentials, ids: Ids | None, *, pause: float = 0.0) -> Plan[None]:
    """End the session of a credential at the provider. Raises ``MoonKeyError`` where that failed."""
    if ids is not None:  # by its id: the token may have been changed meanwhile, a JWT may be too old
        yield from end_session(core, "session_id", ids[0], ids, pause=pause)
    else:
        yield from end_session(core, credentials.kind, credentials.value, ids, pause=pause)


def _end_later(core: Core, credentials: Credentials, ids: Ids | None) -> Plan[None]:
    try:
        yield from _end_at_provider(core, credentials, ids, pause=_RETRY_DELAY)
    except MoonKeyError as error:
        _log_given_up(error)


def _refuse_locally(
    core: Core, presented: _PresentedCredentials, credentials: Credentials, ids: Ids | None
) -> Plan[Ids | None]:
    """Refuse here and in the fleet a session that the provider could not be told to end.

    The credential itself is refused too, as its session may be unknown. A JWT beside it names the session, if it
    is genuine, however old it is.

    Returns:
        The ids of the session and its user, if they are known.
    """
    known, pair = core.recall.credentials, presented.pair
    known.give_back(known.digest(credentials.value))
    if pair is not None and pair.jwt is not None:
        known.forget(known.pair_digest(pair))
    if ids is None and presented.jwt is not None and core.settings.jwt_issuer:
        try:
            ids = yield from core.verifier.ids_of(presented.jwt)
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
