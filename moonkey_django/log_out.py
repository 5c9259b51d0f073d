"""Django's "Log out", which ends the MoonKey session too where ``MOONKEY["USERS"]`` maps users.

The session ends after the view, in the middleware: the signal may be sent where nothing may wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from moonkey_core import AsyncMoonKey, MoonKey, RevocationHandle
from moonkey_core.auth import Auth
from moonkey_core.errors import MoonKeyError, NotSupported
from moonkey_core.flows import FlowRequest, FlowResponse
from moonkey_django.conf import configuration, get_async_client, get_client
from moonkey_django.identity import Identity, find_identity, request_info
from moonkey_django.responses import areject, reject, set_cookies

_MOST_LAYERS = 100


def watch_log_out() -> None:
    """Note the requests in which a user logs out of Django."""
    from django.contrib.auth.signals import user_logged_out

    user_logged_out.connect(_note, dispatch_uid="moonkey_django.log_out")


def _note(request: HttpRequest | None = None, **_: object) -> None:
    identity = None if request is None else find_identity(request)
    if request is None or identity is None:
        return
    settings = configuration()
    if settings.users is not None and settings.logout_ends_session and _is_log_out(request):
        identity.is_leaving = True


def end_session(request: HttpRequest, identity: Identity, response: HttpResponseBase) -> HttpResponseBase:
    """End the MoonKey session of a request whose user has logged out of Django, and remove its cookies.

    Args:
        request: The request.
        identity: Its identity.
        response: The response to it.

    Returns:
        The response; or the refusal, where it is not certain that the session has ended, and no later attempt is
        made.
    """
    auth, identity.is_leaving = identity.resolve(), False
    if not auth.is_authenticated:
        return response
    client = get_client()
    if configuration().settings.cookies is not None:
        return _without_cookies(response, client.flows.answer(_sign_out(request, identity, auth)))
    try:
        client.mfa.drop(auth)
        try:
            client.sessions.revoke(session_id=auth.session.id, provider=auth.provider)
        except NotSupported:
            _refuse_here(client, auth, auth.session.id).wait()
    except MoonKeyError as error:
        return reject(request, error)
    return response


async def aend_session(request: HttpRequest, identity: Identity, response: HttpResponseBase) -> HttpResponseBase:
    """Do the same as :func:`end_session`, in asynchronous code."""
    auth, identity.is_leaving = await identity.aresolve(), False
    if not auth.is_authenticated:
        return response
    client = get_async_client()
    if configuration().settings.cookies is not None:
        return _without_cookies(response, await client.flows.answer(_sign_out(request, identity, auth)))
    try:
        await client.mfa.drop(auth)
        try:
            await client.sessions.revoke(session_id=auth.session.id, provider=auth.provider)
        except NotSupported:
            await _refuse_here(client, auth, auth.session.id).wait_async()
    except MoonKeyError as error:
        return await areject(request, error)
    return response


def _refuse_here(client: MoonKey | AsyncMoonKey, auth: Auth, session_id: str) -> RevocationHandle:
    """Refuse a session in all processes of the app that its provider cannot be told to end.

    Raises:
        RevocationsFull: There is no room for it.
    """
    revocations = client.providers.get(auth.provider, client).revocations
    return revocations.add_session(session_id, None if auth.user is None else auth.user.id, scope=auth.scope)


def _sign_out(request: HttpRequest, identity: Identity, auth: Auth) -> FlowRequest:
    return FlowRequest(
        route="sign_out", routes="", info=request_info(request), headers=identity.headers, auth=auth
    )


def _without_cookies(response: HttpResponseBase, answer: FlowResponse) -> HttpResponseBase:
    set_cookies(response, (value for name, value in answer.headers if name == "set-cookie"))
    return response


def _is_log_out(request: HttpRequest) -> bool:
    """Return whether the view of a request is the admin's "Log out" or a ``LogoutView``."""
    from django.contrib.auth.views import LogoutView

    match = request.resolver_match
    if match is None:
        return False
    if match.url_name == "logout" and hasattr(match.func, "admin_site"):
        return True
    owners = (getattr(view, "view_class", None) for view in _wrapped(match.func))
    return any(isinstance(owner, type) and issubclass(owner, LogoutView) for owner in owners)


def _wrapped(view: Any) -> Iterator[Any]:
    for _ in range(_MOST_LAYERS):
        if view is None:
            return
        yield view
        view = getattr(view, "__wrapped__", None)
