"""From a request to its handler and to the response: checks that all routes share, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from moonkey_core._operations.core import Core
from moonkey_core._operations.ending_retries import end_later
from moonkey_core._operations.sessions import Ids
from moonkey_core._provider import Capability
from moonkey_core.auth import Auth, from_cookies, new_auth, peek_identity, provider_name
from moonkey_core.errors import BodyTooLong, ConfigurationError, MoonKeyError, NotSupported
from moonkey_core.flows.magic_link import magic_link
from moonkey_core.flows.oauth import oauth
from moonkey_core.flows.otp import send_otp, verify_otp
from moonkey_core.flows.responses import error_response, form_address, icon, method_not_allowed, see_other, style
from moonkey_core.flows.routes import HEADER_ROUTES, ROUTES, FlowPlan, FlowRequest, FlowResponse, Mode, Route
from moonkey_core.flows.sessions import hydrate, revoke, revoke_others, session, sessions
from moonkey_core.flows.sign_in import own_sign_in_page, sign_in
from moonkey_core.flows.sign_out import sign_out
from moonkey_core.flows.step_up import step_up, step_up_send_otp, step_up_totp, step_up_verify_otp
from moonkey_core.web.cookies import check_settable, sets_session_cookie, warn_about_plain_http
from moonkey_core.web.credentials import cookie_lines
from moonkey_core.web.origin import cross_site, may_use_cookies
from moonkey_core.web.pages import complete_page

Handler = Callable[[Core, FlowRequest], FlowPlan]

HANDLERS: Mapping[str, Handler] = {
    "sign_in": sign_in,
    "send_otp": send_otp,
    "verify_otp": verify_otp,
    "magic": magic_link,
    "oauth": oauth,
    "session": session,
    "hydrate": hydrate,
    "sign_out": sign_out,
    "sessions": sessions,
    "revoke": revoke,
    "revoke_others": revoke_others,
    "step_up": step_up,
    "step_up_send_otp": step_up_send_otp,
    "step_up_verify_otp": step_up_verify_otp,
    "step_up_totp": step_up_totp,
    "style": style,
    "icon": icon,
}
"""The handler of each of ``ROUTES``, by the name of the route."""

_ROUTES: Mapping[Mode, Mapping[str, Route]] = {
    "cookies": {route.name: route for route in ROUTES},
    "header": {route.name: route for route in HEADER_ROUTES},
}
_SIGN_IN = frozenset({"sign_in", "send_otp", "verify_otp", "magic", "oauth"})
_STEP_UP = frozenset({"step_up", "step_up_send_otp", "step_up_verify_otp", "step_up_totp"})
_NEEDS: Mapping[str, Capability] = {
    **dict.fromkeys(_SIGN_IN | _STEP_UP, "sign_in"),
    "hydrate": "hydrate",
    **dict.fromkeys(("sessions", "revoke", "revoke_others"), "list_sessions"),
}
"""What a route needs of the provider."""

_OF_BROWSERS = ("accept", "cookie")
_OF_ANYBODY = frozenset({"session", "style", "icon"})
OF_EACH_PROVIDER: frozenset[str] = frozenset({"sign_out"})
"""The routes that do what they do at the provider of the identity, where there are several."""


def is_of_session(request: FlowRequest) -> bool:
    """Return whether a request is about the session that it presents, so that its provider is to answer it."""
    return request.route not in _SIGN_IN and not _ROUTES[request.mode][request.route].is_static


def answer(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer a request to one of the ready-made routes.

    Every error of the request or of the provider becomes a response, and is logged. With several providers, a
    sign-in is answered by the one that signs users in, and what is about a session by that of the session, if it
    has cookies of its own or the mode needs none. Of any other user the routes know ``session`` and ``sign_out``
    only.

    Raises:
        ConfigurationError: Cookies are not configured, and the mode needs them.
    """
    if request.mode == "header":
        request = _by_header(request)
    elif core.settings.cookies is None:
        raise ConfigurationError(
            "The session routes need cookies. Set cookies=CookieSettings() (or MOONKEY_COOKIES=true), mount them "
            'with mode="header", or do not mount them.'
        )
    route = _ROUTES[request.mode][request.route]
    method = "GET" if request.info.method == "HEAD" else request.info.method
    if method not in route.methods:
        return method_not_allowed(route.methods)
    if method == "GET" and route.form != route.path and (form := form_address(request)) is not None:
        return see_other(form)
    try:
        if not route.is_static:  # the page that shows this error needs its style sheet
            cookie_lines(request.headers)  # raises where there is more than is read
        if request.body is None:
            raise BodyTooLong
        if method == "POST":
            _check_origin(core, request)
        if request.route in _NEEDS:
            core.check_able_to(_NEEDS[request.route])
        if request.mode == "cookies" and request.route in _SIGN_IN:
            if method == "GET" and (page := own_sign_in_page(core, request)) is not None:
                return see_other(page)
            check_settable(core.settings, "sign a user in on the ready-made pages")
        former = request.auth
        if core.settings.own_name is not None:
            request = _of_own_provider(core, request)
        response = yield from HANDLERS[request.route](core, request)
        if request.auth is not former and sets_session_cookie(_set_cookies(response), core.settings):
            _end_at_other_provider(core, former)
        if response.page is not None:
            response = replace(response, page=complete_page(response.page, core.settings))
    except ConfigurationError:
        raise
    except MoonKeyError as error:
        return error_response(error, core.settings, request)
    warn_about_plain_http(_set_cookies(response), request.info, request.headers, core.settings)
    return response


def _by_header(request: FlowRequest) -> FlowRequest:
    """Return a request without what only browsers send: its cookies prove nothing, and it gets no page."""
    read = request.headers
    auth = new_auth() if from_cookies(request.auth) else request.auth
    return replace(request, headers=lambda name: () if name in _OF_BROWSERS else read(name), auth=auth)


def _of_own_provider(core: Core, request: FlowRequest) -> FlowRequest:
    """Return a request without the identity of another provider, whose ids mean nothing to this one.

    Raises:
        NotSupported: The route is about the session of the user, which is one of another provider.
    """
    auth = request.auth
    name = provider_name(auth)
    if name == core.name or request.route in _OF_ANYBODY or request.route in OF_EACH_PROVIDER:
        return request
    if request.route in _SIGN_IN:
        return replace(request, auth=new_auth())
    if not auth.is_authenticated:
        return request
    raise NotSupported(
        provider=name,
        operation=f"answer the ready-made route {request.route}",
        why=f"It is one of the provider {core.name!r}. Use the methods of client.providers[{name!r}] instead.",
    )


def _end_at_other_provider(core: Core, former: Auth) -> None:
    """End the session that a browser had at another provider before it has signed in, beside the requests."""
    other, verified = core.siblings.get(provider_name(former)), peek_identity(former)
    if other is None or verified is None or not from_cookies(former):
        return
    user, session = verified
    other.revocations.add(session_id=session.id, issuer=user.scope)
    if "revoke_session" in other.provider.capabilities:
        end_later(other, "session_id", session.id, Ids(session.id, user.id, user.scope))


def _check_origin(core: Core, request: FlowRequest) -> None:
    """Refuse a POST that a page of another site may have caused: it could sign a browser in or out.

    A credential in a header is exempt, as a browser does not add one by itself; so is the mode without cookies.

    Raises:
        CrossSiteRequest: The request may come from another site.
    """
    if request.mode == "header":
        return
    auth = request.auth
    if not from_cookies(auth) and (auth.is_authenticated or auth.is_unavailable):
        return
    if not may_use_cookies(request.info, request.headers, core.settings):
        raise cross_site(request.info, request.headers, core.settings)


def _set_cookies(response: FlowResponse) -> list[str]:
    return [value for name, value in response.headers if name == "set-cookie"]
