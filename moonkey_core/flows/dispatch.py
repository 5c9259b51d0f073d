"""From a request to its handler and to the response: checks that all routes share, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moonkey_core._operations.core import Core
from moonkey_core.auth import from_cookies
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.flows.magic_link import magic_link
from moonkey_core.flows.oauth import oauth
from moonkey_core.flows.otp import send_otp, verify_otp
from moonkey_core.flows.responses import error_response, method_not_allowed, style
from moonkey_core.flows.routes import ROUTES, FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.sessions import revoke, revoke_others, session, sessions
from moonkey_core.flows.sign_in import sign_in
from moonkey_core.flows.sign_out import sign_out
from moonkey_core.flows.step_up import step_up, step_up_send_otp, step_up_totp, step_up_verify_otp
from moonkey_core.web.cookies import warn_about_plain_http
from moonkey_core.web.credentials import cookie_lines
from moonkey_core.web.origin import cross_site, may_use_cookies

Handler = Callable[[Core, FlowRequest], FlowPlan]

HANDLERS: Mapping[str, Handler] = {
    "sign_in": sign_in,
    "send_otp": send_otp,
    "verify_otp": verify_otp,
    "magic": magic_link,
    "oauth": oauth,
    "session": session,
    "sign_out": sign_out,
    "sessions": sessions,
    "revoke": revoke,
    "revoke_others": revoke_others,
    "step_up": step_up,
    "step_up_send_otp": step_up_send_otp,
    "step_up_verify_otp": step_up_verify_otp,
    "step_up_totp": step_up_totp,
    "style": style,
}
"""The handler of each of ``ROUTES``, by the name of the route."""

_METHODS = {route.name: route.methods for route in ROUTES}


def answer(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer a request to one of the ready-made routes.

    Every error of the request or of the provider becomes a response, and is logged.

    Raises:
        ConfigurationError: Cookies are not configured.
    """
    if core.settings.cookies is None:
        raise ConfigurationError(
            "The session routes need cookies. Set cookies=CookieSettings() (or MOONKEY_COOKIES=true), or do not "
            "mount them."
        )
    allowed = _METHODS[request.route]
    method = "GET" if request.info.method == "HEAD" else request.info.method
    if method not in allowed:
        return method_not_allowed(allowed)
    try:
        if request.route != "style":  # the page that shows this error needs its style sheet
            cookie_lines(request.headers)  # raises where there is more than is read
        if method == "POST":
            _check_origin(core, request)
        response = yield from HANDLERS[request.route](core, request)
    except ConfigurationError:
        raise
    except MoonKeyError as error:
        return error_response(error, core.settings, request)
    warn_about_plain_http(_set_cookies(response), request.info, request.headers, core.settings)
    return response


def _check_origin(core: Core, request: FlowRequest) -> None:
    """Refuse a POST that a page of another site may have caused: it could sign a browser in or out.

    A credential in a header is exempt: a browser does not add one by itself.

    Raises:
        CrossSiteRequest: The request may come from another site.
    """
    auth = request.auth
    if not from_cookies(auth) and (auth.is_authenticated or auth.is_unavailable):
        return
    if not may_use_cookies(request.info, request.headers, core.settings):
        raise cross_site(request.info, request.headers, core.settings)


def _set_cookies(response: FlowResponse) -> list[str]:
    return [value for name, value in response.headers if name == "set-cookie"]
