"""Sign in by a magic link: the link opens a page, and only the button on it uses the token up.

Mail scanners and link previews open links, but they do not press buttons. A link that the app has requested for a
browser carries a sealed state: it names the account, and is bound to that browser.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_magic_link
from moonkey_core.errors import ConfigurationError, InvalidCredentials, ProviderUnavailable, RequestRefused
from moonkey_core.flows.forms import body_fields, is_checked, query_fields, request_device
from moonkey_core.flows.responses import (
    error_response,
    is_browser,
    json_response,
    make_error_page,
    make_page,
    page_response,
)
from moonkey_core.flows.routes import FlowPlan, FlowRequest, MagicLinkStart
from moonkey_core.flows.sealed_cookies import clear_cookie, open_cookie, open_text, seal_cookie, seal_text
from moonkey_core.flows.sign_in import complete_sign_in, log_inconclusive, session_lifetime
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.credentials import is_token
from moonkey_core.web.pages import urls

_PURPOSE = "magic"
_MAX_TOKEN = 2048  # characters
_LIFETIME = 3600  # seconds; people read their mail later than their text messages


def magic_link_state(
    core: Core, *, email: str, next: str | None = None, remember_me: bool = False
) -> MagicLinkStart:
    """Bind a magic link that is about to be sent to this browser, for an hour, and name its account.

    Makes no network call.

    Args:
        core: The parts of the client.
        email: The address that the link is sent to.
        next: The path of this site where the browser ends up.
        remember_me: Whether the session lasts as long as ``SignInSettings.remember_me``.

    Raises:
        ConfigurationError: Cookies are not configured.
    """
    if core.settings.cookies is None:
        raise ConfigurationError("The page for magic links needs cookies. Set cookies=CookieSettings().")
    nonce = secrets.token_urlsafe(16)
    data = {
        "nonce": nonce,
        "address": email,
        "next": safe_target(next),
        "remember_me": "on" if remember_me else "",
    }
    cookie = seal_cookie(core.settings, _PURPOSE, {"nonce": nonce}, _LIFETIME)
    return MagicLinkStart(seal_text(core.settings, _PURPOSE, data, _LIFETIME), cookie)


def magic_link(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the page with the button (GET), or verify the token that the button posts."""
    is_post = request.info.method == "POST"
    fields = body_fields(request) if is_post else query_fields(request)
    # The provider has made the address of the page, the page its own form.
    token = fields.get("token") if is_post else core.able_to("sign_in").magic_link_token(fields)
    token, state = token or "", fields.get("state", "")
    if len(token) > _MAX_TOKEN or not is_token(token):
        page = make_error_page(request, "link_broken", fields.get("next"))
        return error_response(RequestRefused(reason="link_malformed"), core.settings, request, page=page)
    asked = _asked_here(core, request, state) if state and request.mode == "cookies" else None
    if asked is None and (state or core.settings.sign_in.bound_links):
        page = make_error_page(request, "link_elsewhere", fields.get("next"))
        return error_response(RequestRefused(reason="link_state"), core.settings, request, page=page)
    found = fields if asked is None else asked
    target, remember_me = safe_target(found.get("next")), is_checked(found.get("remember_me"))
    if not is_post:
        if is_browser(request, core.settings):
            return page_response(request, "magic", _form(request, token, fields, asked))
        step = {"method": "POST", "path": urls(request.routes)["magic"]}
        return json_response({"steps": {"magic": {**step, "fields": ["token", "state", "next", "remember_me"]}}})
    expires_in, device = session_lifetime(core, remember_me=remember_me), request_device(request, core.settings)
    try:
        login = yield from verify_magic_link(core, token, session_expires_in=expires_in, device=device)
    except RequestRefused as error:
        log_inconclusive(core, error, remember_me=remember_me)
        page = make_error_page(request, "link_unclear", target)
        return error_response(error, core.settings, request, page=page)
    except InvalidCredentials as error:
        page = make_error_page(request, "link_refused", target)
        return error_response(error, core.settings, request, page=page)
    except ProviderUnavailable as error:
        page = make_page(request, "magic", _form(request, token, fields, asked, "unavailable"))
        return error_response(error, core.settings, request, page=page)
    cookies = () if asked is None else (clear_cookie(core.settings, _PURPOSE),)
    completion = complete_sign_in(
        core, request, login, method="magic_link", target=target, remember_me=remember_me, cookies=cookies
    )
    return (yield from completion)


def _form(
    request: FlowRequest,
    token: str,
    fields: Mapping[str, str],
    asked: Mapping[str, str] | None,
    error: str = "",
) -> dict[str, object]:
    """Return the context of the page with the button."""
    found = fields if asked is None else asked
    return {
        "token": token,
        "state": fields.get("state", ""),
        "address": "" if asked is None else asked["address"],
        "next": safe_target(found.get("next")),
        "remember_me": is_checked(found.get("remember_me")),
        "signed_in": request.auth.is_authenticated,
        "error": error,
    }


def _asked_here(core: Core, request: FlowRequest, state: str) -> Mapping[str, str] | None:
    """Return what the state of a link says; ``None`` where another browser asked for it, or too long ago."""
    asked, mine = open_text(core.settings, _PURPOSE, state), open_cookie(request.headers, core.settings, _PURPOSE)
    if asked is None or mine is None:
        return None
    return asked if secrets.compare_digest(asked["nonce"].encode(), mine["nonce"].encode()) else None
