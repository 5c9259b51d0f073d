"""Signing out: at the API where it can be reached, and here in any case."""

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
from moonkey_core.flows.forms import body_of, query_of
from moonkey_core.flows.responses import as_json, for_browser, page, see_other
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.cookies import cleared_cookies
from moonkey_core.web.credentials import CookiePair, Credentials, cookie_pair, parse_credentials

_PAUSE = 2.0  # seconds until the API is told once more


def sign_out(core: Core, request: FlowRequest) -> FlowPlan:
    """The page that asks, and the signing out itself, which only a POST does.

    The browser's cookies go whatever happens, also where they held nothing good.
    """
    if request.info.method != "POST":
        return _question(core, request)
    target = _target(request)
    complete = yield from end_own_session(core, request)
    return signed_out(core, request, complete, target)


def signed_out(core: Core, request: FlowRequest, complete: bool, target: str = "") -> FlowResponse:
    """The answer to who has signed out. Not ``complete``: the API does not know of it yet."""
    cookies = cleared_cookies(core.settings)
    if not for_browser(request, core.settings):
        return as_json({"signed_out": True, "complete": complete}, cookies=cookies)
    target = target or core.settings.sign_in.after_sign_out
    if complete:
        return see_other(target, cookies=cookies)
    return page(request, "signed_out", {"next": target}, cookies=cookies)


def end_own_session(core: Core, request: FlowRequest) -> Plan[bool]:
    """End the session of a request at the API, and refuse it here and in the fleet; whether the API was told.

    Where it was not, one more try is made after a moment, beside the requests.
    """
    presented = _presented(request, core.settings)
    verified = request.auth.verified()
    ids = None if verified is None else (verified[1].id, verified[0].id)
    if ids is not None:
        # At once: no response that is on its way may set a new JWT of it.
        core.revocations.add(session_id=ids[0])
    complete = True
    if presented.credentials is not None:
        try:
            yield from _told(core, presented.credentials, ids)
        except MoonKeyError as error:
            complete = False
            _log(error)
            ids = yield from _refused_here(core, presented, presented.credentials, ids)
            if core.run_later(_told_again(core, presented.credentials, ids)) is False:
                _log_given_up(error)  # too much is under way beside the requests
    if ids is not None:
        core.hooks.emit(SignedOut(ids[1], ids[0], complete))
    return complete


@dataclass(frozen=True, slots=True, repr=False)
class _Presented:
    """What a request presents: the credential to end, the JWT that may name its session, the cookies of both."""

    credentials: Credentials | None = None
    jwt: Credentials | None = None
    pair: CookiePair | None = None


def _presented(request: FlowRequest, settings: Settings) -> _Presented:
    """A header goes before cookies. A malformed one is passed over here, as nothing is granted for it."""
    header: Credentials | None = None
    pair: CookiePair | None = None
    with suppress(MalformedCredentials):
        header = parse_credentials(request.headers, settings)
    if header is not None:
        return _Presented(header, header if header.kind == "session_jwt" else None)
    with suppress(MalformedCredentials):
        pair = cookie_pair(request.headers, settings)
    if pair is None:
        return _Presented()
    jwt = None if pair.jwt is None else Credentials(pair.jwt, "session_jwt", "cookie")
    return _Presented(Credentials(pair.token, "session_token", "cookie"), jwt, pair)


def _told(core: Core, credentials: Credentials, ids: Ids | None, *, pause: float = 0.0) -> Plan[None]:
    """Tell the API to end the session of a credential. Raises where it did not."""
    if ids is not None:  # the token may have been changed meanwhile, a JWT may be too old for the API
        yield from end_session(core, "session_id", ids[0], ids, pause=pause)
    else:
        yield from end_session(core, credentials.kind, credentials.value, ids, pause=pause)


def _log_given_up(error: MoonKeyError) -> None:
    log_repeated(
        logging.ERROR,
        "a session whose user has signed out may still be active elsewhere: %s",
        error.reason,
        extra={"reason": "sign_out_given_up"},
    )


def _told_again(core: Core, credentials: Credentials, ids: Ids | None) -> Plan[None]:
    try:
        yield from _told(core, credentials, ids, pause=_PAUSE)
    except MoonKeyError as error:
        _log_given_up(error)


def _refused_here(
    core: Core, presented: _Presented, credentials: Credentials, ids: Ids | None
) -> Plan[Ids | None]:
    """Refuse what the API could not be told of, here and in the fleet; returns the session and user, if known.

    The credential itself is refused here, too: nobody may know its session. A JWT that is beside it names one, if
    it is genuine, however old it is.
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


def _log(error: MoonKeyError) -> None:
    log_repeated(
        logging.WARNING,
        "signed out here, but the API could not be told: %s",
        error.reason,
        extra={"reason": "sign_out_incomplete"},
    )


def _question(core: Core, request: FlowRequest) -> FlowResponse:
    target = safe_target(query_of(request).get("next"))
    if for_browser(request, core.settings):
        return page(request, "sign_out", {"next": target})
    return as_json({"authenticated": request.auth.is_authenticated})


def _target(request: FlowRequest) -> str:
    """Where to go afterwards. A body that cannot be read keeps nobody signed in."""
    try:
        return safe_target(body_of(request).get("next"))
    except RequestRefused:
        return ""
