"""Coming back from a sign-in at another provider (OAuth): only in the browser that began it, and only once."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_oauth
from moonkey_core.errors import ConfigurationError, InvalidCredentials, RequestRefused, TooManyAttempts
from moonkey_core.flows.forms import device_of, is_on, query_of
from moonkey_core.flows.limits import once
from moonkey_core.flows.responses import error_page, not_allowed, problem
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse, OAuthStart
from moonkey_core.flows.sealed_cookies import cleared, opened, sealed_cookie
from moonkey_core.flows.sign_in import lifetime, note_unclear, signed_in
from moonkey_core.settings.sign_in_settings import safe_target

_PURPOSE = "oauth"
_PROOF = re.compile(r"[\x21-\x7e]{1,2048}")
_TITLE = "This sign-in did not work"


def oauth_state(core: Core, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
    """Bind a sign-in that is about to begin to this browser, for ten minutes; see :class:`OAuthStart`.

    ``next`` is the path of this site where the browser is to end up. Asks nobody. Raises ``ConfigurationError``
    where cookies are not configured. Source: RFC 6749 section 10.12.
    """
    if core.settings.cookies is None:
        raise ConfigurationError("OAuth sign-in needs cookies. Set cookies=CookieSettings().")
    state = secrets.token_urlsafe(32)
    data = {"state": state, "next": safe_target(next), "remember_me": "on" if remember_me else ""}
    return OAuthStart(state, sealed_cookie(core.settings, _PURPOSE, data))


def oauth(core: Core, request: FlowRequest) -> FlowPlan:
    """Exchange the token (or code) that the browser came back with; without its ``state`` it is not even sent."""
    if request.info.method == "HEAD":
        return not_allowed(("GET",))  # it would use the token up
    fields = query_of(request)
    begun = opened(request.headers, core.settings, _PURPOSE)
    if begun is None or not secrets.compare_digest(begun["state"].encode(), fields.get("state", "").encode()):
        return _refused(core, request, RequestRefused(reason="oauth_state"), "oauth_state")
    done = (cleared(core.settings, _PURPOSE),)
    if "error" in fields:
        return _refused(core, request, RequestRefused(reason="oauth_declined"), "oauth_declined", done)
    proofs = {name: value for name in ("token", "code") if (value := fields.get(name))}
    if len(proofs) != 1 or not all(_PROOF.fullmatch(value) for value in proofs.values()):
        return _refused(core, request, RequestRefused(reason="oauth_proof"), "oauth_declined", done)
    return (yield from _exchanged(core, request, begun, proofs, done))


def _exchanged(
    core: Core, request: FlowRequest, begun: Mapping[str, str], proofs: Mapping[str, str], done: tuple[str, ...]
) -> FlowPlan:
    remember_me = is_on(begun["remember_me"])
    wanted, device = lifetime(core, remember_me=remember_me), device_of(request, core.settings)
    token, code = proofs.get("token"), proofs.get("code")
    exchange = verify_oauth(core, token=token, code=code, session_expires_in=wanted, device=device)
    try:
        login = yield from once(core, begun["state"], exchange)
    except TooManyAttempts:
        return _refused(core, request, RequestRefused(reason="oauth_state"), "oauth_state", done)
    except RequestRefused as error:
        note_unclear(core, error, remember_me=remember_me)
        return _refused(core, request, error, "oauth_unclear")
    except InvalidCredentials as error:
        return _refused(core, request, error, "oauth_declined", done)
    answer = signed_in(
        core, request, login, method="oauth", target=begun["next"], remember_me=remember_me, cookies=done
    )
    return (yield from answer)


def _refused(
    core: Core,
    request: FlowRequest,
    error: RequestRefused | InvalidCredentials,
    told: str,
    cookies: tuple[str, ...] = (),
) -> FlowResponse:
    instead = error_page(request, told, _TITLE)
    return problem(error, core.settings, request, cookies=cookies, instead=instead)
