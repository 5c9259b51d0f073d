"""Signing in by a magic link: the link opens a page, and only its button uses the token up.

Mail scanners and previews open links; they press no buttons.
"""

from __future__ import annotations

from moonkey_core._operations.core import Core
from moonkey_core._operations.logins import verify_magic_link
from moonkey_core.errors import InvalidCredentials, RequestRefused
from moonkey_core.flows.forms import body_of, device_of, is_on, query_of
from moonkey_core.flows.responses import as_json, error_page, for_browser, page, problem
from moonkey_core.flows.routes import FlowPlan, FlowRequest
from moonkey_core.flows.sign_in import lifetime, note_unclear, signed_in
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.credentials import is_token
from moonkey_core.web.pages import urls

_LONGEST = 2048


def magic(core: Core, request: FlowRequest) -> FlowPlan:
    """Show the button, or verify the token that it has posted."""
    posted = request.info.method == "POST"
    fields = body_of(request) if posted else query_of(request)
    token, remember_me = fields.get("token", ""), is_on(fields.get("remember_me"))
    target = safe_target(fields.get("next"))
    if len(token) > _LONGEST or not is_token(token):
        instead = error_page(request, "link_broken", "This link is not complete")
        return problem(RequestRefused(reason="link_malformed"), core.settings, request, instead=instead)
    if not posted:
        if for_browser(request, core.settings):
            return page(request, "magic", _context(request, token, target, remember_me))
        step = {"method": "POST", "path": urls(request.routes)["magic"]}
        return as_json({"steps": {"magic": {**step, "fields": ["token", "next", "remember_me"]}}})
    wanted, device = lifetime(core, remember_me=remember_me), device_of(request, core.settings)
    try:
        login = yield from verify_magic_link(core, token, session_expires_in=wanted, device=device)
    except RequestRefused as error:
        note_unclear(core, error, remember_me=remember_me)
        instead = error_page(request, "link_unclear", "You could not be signed in")
        return problem(error, core.settings, request, instead=instead)
    except InvalidCredentials as error:
        instead = error_page(request, "link_refused", "This link no longer works")
        return problem(error, core.settings, request, instead=instead)
    answer = signed_in(core, request, login, method="magic_link", target=target, remember_me=remember_me)
    return (yield from answer)


def _context(request: FlowRequest, token: str, target: str, remember_me: bool) -> dict[str, object]:
    signed_in = request.auth.is_authenticated
    return {"token": token, "next": target, "remember_me": remember_me, "signed_in": signed_in}
