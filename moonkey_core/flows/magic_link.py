"""Sign in by a magic link: the link opens a page, and only the button on it uses the token up.

Mail scanners and link previews open links, but they do not press buttons.
"""

from __future__ import annotations

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_magic_link
from moonkey_core.errors import InvalidCredentials, RequestRefused
from moonkey_core.flows.forms import body_fields, is_checked, query_fields, request_device
from moonkey_core.flows.responses import error_response, is_browser, json_response, make_error_page, page_response
from moonkey_core.flows.routes import FlowPlan, FlowRequest
from moonkey_core.flows.sign_in import complete_sign_in, log_inconclusive, session_lifetime
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.credentials import is_token
from moonkey_core.web.pages import urls

_MAX_TOKEN = 2048  # characters


def magic_link(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the page with the button (GET), or verify the token that the button posts."""
    is_post = request.info.method == "POST"
    fields = body_fields(request) if is_post else query_fields(request)
    token, remember_me = fields.get("token", ""), is_checked(fields.get("remember_me"))
    target = safe_target(fields.get("next"))
    if len(token) > _MAX_TOKEN or not is_token(token):
        page = make_error_page(request, "link_broken", "This link is not complete")
        return error_response(RequestRefused(reason="link_malformed"), core.settings, request, page=page)
    if not is_post:
        if is_browser(request, core.settings):
            return page_response(request, "magic", _page_context(request, token, target, remember_me))
        step = {"method": "POST", "path": urls(request.routes)["magic"]}
        return json_response({"steps": {"magic": {**step, "fields": ["token", "next", "remember_me"]}}})
    expires_in, device = session_lifetime(core, remember_me=remember_me), request_device(request, core.settings)
    try:
        login = yield from verify_magic_link(core, token, session_expires_in=expires_in, device=device)
    except RequestRefused as error:
        log_inconclusive(core, error, remember_me=remember_me)
        page = make_error_page(request, "link_unclear", "You could not be signed in")
        return error_response(error, core.settings, request, page=page)
    except InvalidCredentials as error:
        page = make_error_page(request, "link_refused", "This link no longer works")
        return error_response(error, core.settings, request, page=page)
    completion = complete_sign_in(
        core, request, login, method="magic_link", target=target, remember_me=remember_me
    )
    return (yield from completion)


def _page_context(request: FlowRequest, token: str, target: str, remember_me: bool) -> dict[str, object]:
    signed_in = request.auth.is_authenticated
    return {"token": token, "next": target, "remember_me": remember_me, "signed_in": signed_in}
