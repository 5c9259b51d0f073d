"""The identity of a Flask request: verified at the first read, and kept on the ``Request`` object itself.

It is not kept on ``g``, which belongs to the application context: that may outlive a request, and several requests
may share it.
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
    """Return the current app's client, to revoke sessions, send codes and so on.

    Raises:
        ConfigurationError: The extension was not initialised for this app.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    client: MoonKey | None = app.extensions.get(EXTENSION)
    if client is None:
        raise ConfigurationError("MoonKey is not set up for this app. Add: FlaskMoonKey(app)")
    return client


def current_request() -> Request:
    """Return the current request itself.

    Flask's proxy refers to a different request in each context, and each read through it has a cost.
    """
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found


def resolve(flask_request: Request) -> Auth:
    """Return the identity of a request; the first call verifies its credential."""
    auth = peek(flask_request)
    return _verified_now(flask_request) if auth is None else auth


def meet(flask_request: Request, requirements: Requirements) -> Auth:
    """Return the identity of a request for a gate.

    Where the identity is not fresh enough for this gate, the credential is verified again. The result is then the
    identity of the request.

    Args:
        flask_request: The request.
        requirements: The requirements of the gate.
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
    """Return the user of a request, or ``None``.

    Raises:
        ProviderError: The identity cannot be determined.
    """
    return optional_user(resolve(flask_request))


def session_of(flask_request: Request) -> Session | None:
    """Return the session of a request, or ``None``.

    Raises:
        ProviderError: The identity cannot be determined.
    """
    optional_user(resolve(flask_request))
    return resolve(flask_request).session


class _ReadOnRequest:
    """An attribute of a request that is computed when it is read. An assigned value replaces it, as usual."""

    def __init__(self, read: Callable[[Request], object]) -> None:
        self._read = read

    def __get__(self, instance: Request | None, owner: type) -> object:
        return self if instance is None else self._read(instance)


def with_identity(request_class: type[Request]) -> type[Request]:
    """Return a subclass of a request class, with the attributes ``user`` and ``session``."""
    attributes = {"user": _ReadOnRequest(user_of), "session": _ReadOnRequest(session_of)}
    return type(request_class.__name__, (request_class,), attributes)


def _current_auth() -> Auth:
    return resolve(current_request())


current_auth: Auth = cast(Auth, LocalProxy(_current_auth))
"""The :class:`~moonkey_core.auth.Auth` of the current request; verified at the first read."""


def _current_user() -> User | None:
    return require(resolve(current_request())).user


def _current_session() -> Session | None:
    return require(resolve(current_request())).session


current_user: User = cast(User, LocalProxy(_current_user))
"""The verified user of the current request. A read without one raises the same error as ``require_auth``."""

current_session: Session = cast(Session, LocalProxy(_current_session))
"""The verified session of the current request. A read without one raises the same error as ``require_auth``."""
