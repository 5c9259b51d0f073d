"""The identity of a Flask request: verified on first look, remembered on the ``Request`` object itself.

Not on ``g``: that belongs to the application context, which may outlive a request and be shared by several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flask import Flask, Request, current_app, request
from werkzeug.local import LocalProxy

from moonkey_core.auth import Auth
from moonkey_core.client import MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements, optional_user, require
from moonkey_core.models import Session, User
from moonkey_core.web.request import wsgi_headers, wsgi_request
from moonkey_flask.names import EXTENSION
from moonkey_flask.signals import announce

_ATTRIBUTE = "_moonkey_auth"


def get_client() -> MoonKey:
    """The current app's client, to revoke sessions, send codes and so on.

    Raises :class:`~moonkey_core.errors.ConfigurationError` where the extension was not initialised.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    client: MoonKey | None = app.extensions.get(EXTENSION)
    if client is None:
        raise ConfigurationError("MoonKey is not set up for this app. Add: FlaskMoonKey(app)")
    return client


def current_request() -> Request:
    """The request itself: the proxy stands for a different one in each context, and costs with every look."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found


def resolve(flask_request: Request) -> Auth:
    """Return the identity of a request; the first call verifies its credential."""
    auth = peek(flask_request)
    return _verified_now(flask_request) if auth is None else auth


def meet(flask_request: Request, requirements: Requirements) -> Auth:
    """Return the identity of a request for a gate; verified once more where it is not fresh enough for that one.

    What comes of it is the identity of the request from then on.
    """
    auth = peek(flask_request)
    if auth is None or not requirements.are_met_by(auth):
        return _verified_now(flask_request, requirements)
    return auth


def peek(flask_request: Request) -> Auth | None:
    """Return the identity of a request where it is resolved already; else ``None``."""
    auth: Auth | None = getattr(flask_request, _ATTRIBUTE, None)
    return auth


def _verified_now(flask_request: Request, requirements: Requirements | None = None) -> Auth:
    client, environ = get_client(), flask_request.environ
    is_first = peek(flask_request) is None
    info = wsgi_request(environ) if client.settings.needs_request_info else None
    auth = client.authenticate(wsgi_headers(environ), requirements, info)
    setattr(flask_request, _ATTRIBUTE, auth)
    if is_first:
        announce(auth)
    return auth


def user_of(flask_request: Request) -> User | None:
    """The user, or ``None``. Raises ``ProviderError`` where identity cannot be known."""
    return optional_user(resolve(flask_request))


def session_of(flask_request: Request) -> Session | None:
    """The session, or ``None``. Raises ``ProviderError`` where identity cannot be known."""
    optional_user(resolve(flask_request))
    return resolve(flask_request).session


class _ReadOnRequest:
    """An attribute of the request that is worked out when read; assigning to it works as on any object."""

    def __init__(self, read: Callable[[Request], object]) -> None:
        self._read = read

    def __get__(self, instance: Request | None, owner: type) -> object:
        return self if instance is None else self._read(instance)


def with_identity(request_class: type[Request]) -> type[Request]:
    """A request class that has ``request.user`` and ``request.session`` as well."""
    attributes = {"user": _ReadOnRequest(user_of), "session": _ReadOnRequest(session_of)}
    return type(request_class.__name__, (request_class,), attributes)


def _current_auth() -> Auth:
    return resolve(current_request())


current_auth: Auth = cast(Auth, LocalProxy(_current_auth))
"""The :class:`~moonkey_core.auth.Auth` of the current request; verified on first look."""


def _current_user() -> User | None:
    return require(resolve(current_request())).user


def _current_session() -> Session | None:
    return require(resolve(current_request())).session


current_user: User = cast(User, LocalProxy(_current_user))
"""The verified user of the current request; reading it on a request that has none is refused as a gate would."""

current_session: Session = cast(Session, LocalProxy(_current_session))
"""The verified session of the current request; reading it on a request that has none is refused likewise."""
