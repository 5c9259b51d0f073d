"""The identity of a Flask request: verified at the first read, and kept on the ``Request`` object itself.

It is not kept on ``g``, which belongs to the application context: that may outlive a request, and several requests
may share it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

from flask import Flask, Request, current_app, has_app_context, has_request_context, request

from moonkey_core.auth import Auth, BaseAuth, Raiser, peek_identity, set_raiser
from moonkey_core.client import MoonKey
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import Requirements, optional_user, require
from moonkey_core.models import Session, User
from moonkey_core.web.lazy import AuthSource, LazyValue
from moonkey_core.web.request import HeaderView, wsgi_headers
from moonkey_flask.names import CLOSED, EXTENSION, GATES, OWN_EVENT, RAISER, RENEWED
from moonkey_flask.signals import announce, authenticated, rejected
from moonkey_flask.socketio import header_view, refused_connect, request_info

ATTRIBUTE = "_moonkey_auth"
CLIENT = "_moonkey_client"
"""The attribute of a request with the client that has verified it."""

T = TypeVar("T")

# Flask's proxies look up their object at each read. What finds it is the same function for the life of a proxy.
current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]
"""Returns the current request itself; raises ``RuntimeError`` outside of a request."""

_current_app: Callable[[], Flask] = current_app._get_current_object  # type: ignore[attr-defined]


_WITHOUT_APP = "get_client() needs an app: call it inside of `with app.app_context():`, as in a job or a shell."


def get_client() -> MoonKey:
    """Return the current app's client, to revoke sessions, send codes and so on.

    Raises:
        ConfigurationError: The extension was not initialised for this app.
    """
    try:
        client: MoonKey | None = _current_app().extensions.get(EXTENSION)
    except RuntimeError as error:
        error.add_note(_WITHOUT_APP)
        raise
    if client is None:
        raise refused_connect(ConfigurationError("MoonKey is not set up for this app. Add: FlaskMoonKey(app)"))
    return client


def resolve(flask_request: Request) -> Auth:
    """Return the identity of a request; the first call verifies its credential."""
    auth: Auth | None = flask_request.__dict__.get(ATTRIBUTE)
    return verify(flask_request) if auth is None else auth


def meet(flask_request: Request, requirements: Requirements) -> Auth:
    """Return the identity of a request for a gate.

    Where the identity is not fresh enough for this gate, the credential is verified again. The result is then the
    identity of the request.

    Args:
        flask_request: The request.
        requirements: The requirements of the gate.

    Raises:
        ConfigurationError: A provider cannot give what the gate requires.
    """
    auth: Auth | None = flask_request.__dict__.get(ATTRIBUTE)
    if auth is None or not requirements.are_met_by(auth, _CLIENT):
        if auth is not None and requirements.needs_record(auth):
            get_client().mfa.load(auth)
            if requirements.are_met_by(auth, _CLIENT):
                return auth
        return verify(flask_request, requirements)
    return auth


class _CurrentClient:
    """The client of the current app, which is looked up only where a gate has something to ask of it."""

    def check_requirements(self, requirements: Requirements) -> None:
        """Check that each provider can give what a gate requires."""
        try:
            get_client().check_requirements(requirements)
        except ConfigurationError as error:
            raise refused_connect(error) from None


_CLIENT = _CurrentClient()


def peek(flask_request: Request) -> Auth | None:
    """Return the identity of a request where it is resolved already; else ``None``."""
    auth: Auth | None = flask_request.__dict__.get(ATTRIBUTE)  # `getattr` takes longer where it is not there yet
    return auth


class _AppRaiser:
    """Makes what gates raise by the app's raiser, which is looked up only then."""

    def to_raise(self, error: MoonKeyError) -> MoonKeyError:
        raiser: Raiser | None = current_app.extensions.get(RAISER) if has_app_context() else None
        return error if raiser is None else raiser.to_raise(error)


_RAISER = _AppRaiser()


def verify(flask_request: Request, requirements: Requirements | None = None) -> Auth:
    """Verify the credential of a request, whether or not that was done before, and return the identity.

    Args:
        flask_request: The request.
        requirements: The requirements of a gate, if any.

    Raises:
        ConfigurationError: A provider cannot give what the gate requires.
    """
    client, environ = get_client(), flask_request.environ
    info = request_info(flask_request) if client.settings.needs_request_info else None
    # As in `header_view`, without its call.
    headers = wsgi_headers(environ) if RENEWED not in environ else header_view(environ)
    try:
        auth = client.authenticate(headers, requirements, info)
    except ConfigurationError as error:
        raise refused_connect(error) from None
    set_raiser(auth, _RAISER)
    known = flask_request.__dict__
    is_first = ATTRIBUTE not in known
    known[ATTRIBUTE], known[CLIENT] = auth, client
    if is_first and (authenticated.receivers or rejected.receivers):  # mostly the app has none
        announce(auth)
    return auth


def renew(flask_request: Request, auth: Auth, headers: HeaderView) -> None:
    """Take over the identity by a newer credential, and the headers that present it, for later events as well."""
    set_raiser(auth, _RAISER)
    setattr(flask_request, ATTRIBUTE, auth)
    flask_request.environ[RENEWED] = headers


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


class _SocketEvent:
    """The ``event`` that Flask-SocketIO sets on a request just before it calls the handler.

    No ``before_request`` function runs then: the gates of the app are checked here, if this is its first request.
    So is the client, where all is closed by default.
    """

    def __get__(self, instance: Request | None, owner: type) -> object:
        if instance is None:
            return self
        try:
            return vars(instance)["event"]
        except KeyError:
            raise AttributeError("event") from None

    def __set__(self, instance: Request, value: object) -> None:
        vars(instance)["event"] = value
        check: Callable[[], None] | None = current_app.extensions.get(GATES)
        if check is None:
            return
        try:
            check()
        except ConfigurationError as error:
            raise refused_connect(error) from None
        closed: Callable[[Request], None] | None = current_app.extensions.get(CLOSED)
        if closed is not None:
            closed(instance)


def with_identity(request_class: type[Request]) -> type[Request]:
    """Return a subclass with the attributes ``user`` and ``session``; a class that has both already as it is.

    It is the same for all apps with one class.
    """
    found: type[Request] = _with_identity(cast(Any, request_class))
    return found


@lru_cache(16)
def _with_identity(request_class: Any) -> Any:
    if all(isinstance(getattr(request_class, name, None), _ReadOnRequest) for name in ("user", "session")):
        return request_class
    attributes: dict[str, object] = {"user": _ReadOnRequest(user_of), "session": _ReadOnRequest(session_of)}
    if not hasattr(request_class, "event"):
        attributes |= {"event": _SocketEvent(), OWN_EVENT: True}
    return type(request_class.__name__, (request_class,), attributes)


class _RequestIdentity:
    """The source of the identity of one request, for the stand-ins below."""

    __slots__ = ("_request",)

    def __init__(self, flask_request: Request) -> None:
        self._request = flask_request

    @property
    def auth(self) -> Auth | None:
        """The identity, where it is resolved."""
        return peek(self._request)

    def read(self) -> Auth:
        """Return the identity; the first call verifies its credential."""
        return resolve(self._request)


_OUTSIDE = (
    "current_user, current_session and current_auth belong to a request. In a job or thread, pass on what it "
    "needs, such as user.id; in a test, read them inside of `with app.test_request_context(headers=…):`."
)


class _CurrentIdentity:
    """The same for whatever request is the current one."""

    __slots__ = ()

    @property
    def auth(self) -> Auth | None:
        """The identity, where there is a request and it is resolved."""
        return peek(current_request()) if has_request_context() else None

    def read(self) -> Auth:
        """Return the identity; the first call verifies its credential."""
        try:
            flask_request = current_request()
        except RuntimeError as error:
            error.add_note(_OUTSIDE)
            raise
        auth: Auth | None = flask_request.__dict__.get(ATTRIBUTE)
        return verify(flask_request) if auth is None else auth


_CURRENT = _CurrentIdentity()


class _Current(LazyValue[T]):
    """A stand-in for a value of whatever request is the current one. A copy of it stays with its request."""

    __slots__ = ()

    def __init__(self, source: AuthSource = _CURRENT) -> None:
        super().__init__(source)

    def _again(self) -> LazyValue[T]:
        is_bound = self._resolver is not _CURRENT
        return type(self)(self._resolver if is_bound else _RequestIdentity(current_request()))

    def _get_current_object(self) -> T:
        """Return the value itself, as the method of this name does of Flask's own proxies."""
        return self._read()


class _CurrentAuth(_Current[Auth], kind=BaseAuth):
    __slots__ = ()

    def _known(self) -> Auth | None:
        return self._resolver.auth

    def _read(self) -> Auth:
        return self._resolver.read()

    @classmethod
    def _reader_of(cls, name: str) -> Callable[[Any], Any]:
        return lambda stand_in: getattr(stand_in._resolver.read(), name)  # `_read` would be one more call


class _CurrentUser(_Current[User], kind=User):
    __slots__ = ()

    def _known(self) -> User | None:
        found = _known_identity(self._resolver)
        return None if found is None else found[0]

    def _read(self) -> User:
        auth = self._resolver.read()
        user = auth.user
        return require(auth).user if user is None else user

    @classmethod
    def _reader_of(cls, name: str) -> Callable[[Any], Any]:
        def read(stand_in: Any) -> Any:  # as `_read`, without its call
            auth = stand_in._resolver.read()
            user = auth.user
            return getattr(require(auth).user if user is None else user, name)

        return read


class _CurrentSession(_Current[Session], kind=Session):
    __slots__ = ()

    def _known(self) -> Session | None:
        found = _known_identity(self._resolver)
        return None if found is None else found[1]

    def _read(self) -> Session:
        auth = self._resolver.read()
        session = auth.session
        return require(auth).session if session is None else session

    @classmethod
    def _reader_of(cls, name: str) -> Callable[[Any], Any]:
        def read(stand_in: Any) -> Any:  # as `_read`, without its call
            auth = stand_in._resolver.read()
            session = auth.session
            return getattr(require(auth).session if session is None else session, name)

        return read


def _known_identity(source: AuthSource) -> tuple[User, Session] | None:
    auth = source.auth
    return None if auth is None else peek_identity(auth)


current_auth: Auth = cast(Auth, _CurrentAuth())
"""The :class:`~moonkey_core.auth.Auth` of the current request; verified at the first read."""

current_user: User = cast(User, _CurrentUser())
"""The verified user of the current request. A read without one raises the same error as ``require_auth``."""

current_session: Session = cast(Session, _CurrentSession())
"""The verified session of the current request. A read without one raises the same error as ``require_auth``."""
