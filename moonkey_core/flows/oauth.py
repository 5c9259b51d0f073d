"""Come back from a sign-in at another provider (OAuth): only in the browser that began it, and only once."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Literal

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_oauth
from moonkey_core.errors import ConfigurationError, InvalidCredentials, RequestRefused, TooManyAttempts
from moonkey_core.flows.forms import is_checked, query_fields, request_device
from moonkey_core.flows.limits import once
from moonkey_core.flows.responses import error_response, make_error_page, method_not_allowed
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse, OAuthStart
from moonkey_core.flows.sealed_cookies import clear_cookie, open_cookie, seal_cookie
from moonkey_core.flows.sign_in import complete_sign_in, log_inconclusive, session_lifetime
from moonkey_core.settings.sign_in_settings import safe_target

_PURPOSE = "oauth"
_TOKEN_OR_CODE = re.compile(r"[\x21-\x7e]{1,2048}")


def oauth_state(core: Core, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
    """Bind an OAuth sign-in that is about to begin to this browser, for ten minutes.

    Makes no network call. Source: RFC 6749 section 10.12.

    Args:
        core: The parts of the client.
        next: The path of this site where the browser ends up.
        remember_me: Whether the session lasts as long as ``SignInSettings.remember_me``.

    Raises:
        ConfigurationError: Cookies are not configured.
    """
    if core.settings.cookies is None:
        raise ConfigurationError("OAuth sign-in needs cookies. Set cookies=CookieSettings().")
    state = secrets.token_urlsafe(32)
    data = {"state": state, "next": safe_target(next), "remember_me": "on" if remember_me else ""}
    return OAuthStart(state, seal_cookie(core.settings, _PURPOSE, data))


def oauth(core: Core, request: FlowRequest) -> FlowPlan:
    """Exchange the token (or code) that the browser came back with.

    Without the ``state`` that this browser began with, it is not sent to the provider.
    """
    if request.info.method == "HEAD":
        return method_not_allowed(("GET",))  # it would use the token up
    fields = query_fields(request)
    pending = open_cookie(request.headers, core.settings, _PURPOSE)
    if pending is None or not secrets.compare_digest(pending["state"].encode(), fields.get("state", "").encode()):
        return _refuse(core, request, RequestRefused(reason="oauth_state"), "oauth_state")
    cookies, target = (clear_cookie(core.settings, _PURPOSE),), pending["next"]
    if "error" in fields:
        return _refuse(core, request, RequestRefused(reason="oauth_declined"), "oauth_declined", cookies, target)
    proof = core.able_to("sign_in").oauth_proof(fields)
    if proof is None or not _TOKEN_OR_CODE.fullmatch(proof[1]):
        return _refuse(core, request, RequestRefused(reason="oauth_proof"), "oauth_declined", cookies, target)
    return (yield from _exchange(core, request, pending, proof, cookies))


def _exchange(
    core: Core,
    request: FlowRequest,
    pending: Mapping[str, str],
    proof: tuple[Literal["token", "code"], str],
    cookies: tuple[str, ...],
) -> FlowPlan:
    remember_me = is_checked(pending["remember_me"])
    expires_in, device = session_lifetime(core, remember_me=remember_me), request_device(request, core.settings)
    token, code = (proof[1], None) if proof[0] == "token" else (None, proof[1])
    exchange = verify_oauth(core, token=token, code=code, session_expires_in=expires_in, device=device)
    try:
        login = yield from once(core, pending["state"], exchange)
    except TooManyAttempts:
        return _refuse(
            core, request, RequestRefused(reason="oauth_state"), "oauth_state", cookies, pending["next"]
        )
    except RequestRefused as error:
        log_inconclusive(core, error, remember_me=remember_me)
        return _refuse(core, request, error, "oauth_unclear", target=pending["next"])
    except InvalidCredentials as error:
        return _refuse(core, request, error, "oauth_declined", cookies, pending["next"])
    completion = complete_sign_in(
        core, request, login, method="oauth", target=pending["next"], remember_me=remember_me, cookies=cookies
    )
    return (yield from completion)


def _refuse(
    core: Core,
    request: FlowRequest,
    error: RequestRefused | InvalidCredentials,
    page_reason: str,
    cookies: tuple[str, ...] = (),
    target: str = "",
) -> FlowResponse:
    page = make_error_page(request, page_reason, target)
    return error_response(error, core.settings, request, cookies=cookies, page=page)
