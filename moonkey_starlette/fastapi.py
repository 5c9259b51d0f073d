"""MoonKey for FastAPI: dependencies, which also put the security schemes into the OpenAPI document.

They need the middleware: ``app.add_middleware(MoonKeyMiddleware)``.
"""

# No `from __future__ import annotations` here: FastAPI reads the annotations of these objects, and its older
# versions can't look up the names in a quoted one.

from collections.abc import Coroutine
from typing import Annotated, Any, Never, Unpack, cast

from starlette.requests import HTTPConnection

from moonkey_core.extras import needs

with needs("fastapi", extra="fastapi"):
    from fastapi import APIRouter, FastAPI, Security

from fastapi.encoders import ENCODERS_BY_TYPE
from fastapi.openapi import models
from fastapi.security.base import SecurityBase

from moonkey_core.auth import Auth, AuthenticatedAuth, set_raiser
from moonkey_core.errors import ConfigurationError
from moonkey_core.flows import NAMES, Mode
from moonkey_core.gate import RequirementOptions, Requirements, admit, own_attributes, similar_requirements
from moonkey_core.models import MODELS, Session, User
from moonkey_core.settings import CookieSettings
from moonkey_core.web.placement import described, keyword_only_error
from moonkey_core.web.uncalled import Misplaced, says_if_uncalled
from moonkey_starlette.identity import KEY, Identity, get_auth, get_client, identity_of, known_auth
from moonkey_starlette.openapi import (
    BEARER_SCHEME,
    HEADER_MODEL,
    HEADER_SCHEME,
    OPTIONAL_SCHEME,
    describe_gates,
    describe_in_every_document,
)
from moonkey_starlette.pages import Templates
from moonkey_starlette.refused import HttpRefusal, install
from moonkey_starlette.routes import endpoints
from moonkey_starlette.signatures import Default, Dependency, Value
from moonkey_starlette.streams import bound_session, bound_stream

__all__ = [
    "CurrentAuth", "CurrentSession", "CurrentUser", "RequireAuth", "auth_source", "bound_session", "bound_stream",
    "describe_gates", "document_cookies", "get_client", "session_routes",
]  # fmt: skip

_NOTHING = Requirements()
_COOKIE_SCHEME = "MoonKeySessionCookie"

describe_in_every_document(FastAPI)

# For endpoints without a return annotation. With one, Pydantic uses the schema of the models.
ENCODERS_BY_TYPE.update({model: model.to_dict for model in MODELS})


class _Bearer(SecurityBase):
    """The security scheme of the ``Authorization`` header, for the OpenAPI document.

    It reads no header: the middleware has verified the credential. Each dependency costs time in every request, so
    the dependencies that do the work are the security schemes too. The outer one documents this scheme, and
    ``auth_source``, which it depends on, documents :class:`_SessionTokenHeader`.

    The inner ones serve ``dependency_overrides``: without these, the outer one does their work itself. FastAPI
    reads the signatures anew where an app has overrides, so the middleware may leave the inner ones out of the
    finished routes (:func:`moonkey_starlette.shortcuts.shorten`).
    """

    scheme_name = BEARER_SCHEME
    model: models.SecurityBase = models.HTTPBearer(
        bearerFormat="JWT or session token", description="A MoonKey session token or session JWT."
    )


class _SessionTokenHeader(SecurityBase):
    """The security scheme of the ``session-token`` header, for the OpenAPI document."""

    scheme_name = HEADER_SCHEME
    model: models.SecurityBase = models.APIKey.model_validate(HEADER_MODEL)


class _AuthSource(_SessionTokenHeader, Default):
    """The dependency of all others: it documents the ``session-token`` header, and is what a test overrides."""

    async def __call__(self) -> Any:
        """Return ``None``: the identity is that of the request."""
        return None

    def __repr__(self) -> str:
        return "auth_source"


auth_source: _AuthSource = _AuthSource()
"""The key of ``app.dependency_overrides`` that reaches all dependencies of this package.

The override returns the :class:`~moonkey_core.auth.Auth` of every request. Gates check it as usual.
"""

_GIVEN: Any = Security(auth_source)
"""The default of a parameter, and so its value where ``auth_source`` is left out: it counts as ``None``."""


def _overriding(given: Any, connection: HTTPConnection) -> Auth:
    """Return what an override of ``auth_source`` has returned, if it is an ``Auth``, as that of the request."""
    if not isinstance(given, Auth):
        raise TypeError(
            f"An override of auth_source returns an Auth, not a {type(given).__name__}. Make one by "
            "moonkey_core.auth.new_auth(verified=VerifiedSession(user, session)), or new_auth() for nobody."
        )
    identity = connection.scope.get(KEY)
    if isinstance(identity, Identity):  # else the app has no middleware, which is enough for a test
        set_raiser(given, identity.raiser)
    return given


class _CurrentAuth(_Bearer, Dependency):
    written = "CurrentAuth"
    scheme_name = OPTIONAL_SCHEME

    async def __call__(self, connection: HTTPConnection, given: Any = _GIVEN) -> Auth:
        if given is _GIVEN or given is None:
            return await get_auth(connection)
        return _overriding(given, connection)


CurrentAuth = Annotated[Auth, Security(_CurrentAuth())]
"""The identity of the request or WebSocket, in any of its states. It refuses no request."""


class _ConfiguredGate(type):
    """A metaclass that refuses ``Depends(RequireAuth)``, which would make a gate per request and never call it."""

    @property
    def __signature__(cls) -> Any:
        raise TypeError(f"Write Depends({cls.__name__}()), with parentheses: the class itself protects nothing.")

    @property
    def dependency(cls) -> Any:
        """Refuse ``dependencies=[RequireAuth]``: FastAPI reads this attribute of each item of that list."""
        raise TypeError(f"Write dependencies=[Depends({cls.__name__}())].")


def _no_decorator(gate: object, given: object) -> TypeError:
    """Return the error for a gate that is given a function or a class, as a decorator is."""
    name = type(gate).__name__
    if not callable(given):
        return keyword_only_error(name, given)
    return TypeError(
        f"{name} is a dependency and no decorator: as @{name}(), it would leave {described(given)} open. Write "
        f"`user: CurrentUser` as a parameter, or @app.get(…, dependencies=[Depends({name}(…))])."
    )


class _Gate(Dependency, metaclass=_ConfiguredGate):
    """The base of all gates. Gates of the same class with the same requirements are equal."""

    @property
    def dependency(self) -> Any:
        """Refuse ``dependencies=[RequireAuth()]``: FastAPI reads this attribute of each item of that list."""
        raise TypeError(f"Write dependencies=[Depends({type(self).__name__}(…))], with Depends around it.")

    def __init__(self, *surplus: Never, **requirements: Unpack[RequirementOptions]) -> None:
        if surplus:
            raise _no_decorator(self, surplus[0])
        self.requirements: Requirements = Requirements(**requirements)
        self._check_attributes()
        # A subclass may add checks of its own, so it never equals its base.
        self._configuration = (RequireAuth if type(self) is _InnerGate else type(self), self.requirements)
        self._hash = hash(self._configuration)
        if type(self).__call__ is RequireAuth.__call__:
            # FastAPI asks this attribute whether it has to await what a call returns; a call does not read it.
            object.__setattr__(self, "__call__", self._passed)

    def _check_attributes(self) -> None:
        """Raise ``ConfigurationError`` if an attribute of a subclass looks like a requirement and is none."""
        for name, demand in similar_requirements(
            own_attributes(type(self), "fastapi", "moonkey_starlette")
        ).items():
            if getattr(self.requirements, demand) == getattr(_NOTHING, demand):
                raise ConfigurationError(
                    f"{type(self).__name__} has an attribute {name!r}, which demands nothing. "
                    f"Hand it on: super().__init__({demand}=…)."
                )

    async def _passed(self, connection: HTTPConnection, given: Any = _GIVEN) -> AuthenticatedAuth:
        asked = self.requirements
        try:
            # A subclass may hand on a default of its own, which is equal.
            if not (given is _GIVEN or given is None or given == _GIVEN):
                return cast("AuthenticatedAuth", admit(_overriding(given, connection), asked))
            identity = identity_of(connection)
            auth = identity.fit_for(asked)
            auth = await identity.meet(asked) if auth is None else auth
            return cast("AuthenticatedAuth", admit(auth, asked))
        except HttpRefusal:
            install(connection.scope)  # a layer in between may have copied the scope
            raise

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Gate) and self._configuration == other._configuration

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.requirements!r})"


class RequireAuth(_Gate, _Bearer):
    """A gate: ``Depends(RequireAuth())`` on a route, a router, the app or another dependency.

    Only a request or WebSocket with a verified user and session passes, whatever its method. For every other one
    the gate raises the :class:`~moonkey_core.errors.MoonKeyError` with the reason, and the middleware turns that
    into the response. The value of the dependency is an :class:`~moonkey_core.auth.AuthenticatedAuth`. Gates of
    equal configuration are equal, so that ``app.dependency_overrides[RequireAuth()]`` replaces them all in a test.
    ``app.dependency_overrides[auth_source]`` gives an identity to all gates and to ``CurrentAuth``.

    With ``allow_machines=True`` a machine passes as well, which has no user and session: annotate with
    :data:`~moonkey_core.auth.Auth` then. ``CurrentUser`` and ``CurrentSession`` never let a machine pass.

    Args:
        *surplus: Nothing; a positional argument is refused.
        **requirements: The fields of :class:`~moonkey_core.gate.Requirements`. ``max_staleness=0`` calls the API
            for each request, ``factors={"totp"}`` requires a session with a second factor.

    Raises:
        TypeError: An argument is positional, or not the name of a requirement.
        ValueError: The value of a requirement is not valid.
        ConfigurationError: A subclass has an attribute that looks like a requirement and has no effect.
    """

    @property
    def lets_users_pass_only(self) -> bool:
        """Whether behind it there is a verified user and session for certain; a subclass may do anything."""
        return type(self) is RequireAuth and not self.requirements.allow_machines

    @property
    def lets_all_users_pass(self) -> bool:
        """Whether it lets each verified user and session pass, and does nothing else."""
        return self.lets_users_pass_only and self.requirements.asks_nothing_more

    def __call__(self, connection: HTTPConnection, given: Any = _GIVEN) -> Coroutine[Any, Any, AuthenticatedAuth]:
        """Return the identity of a request that passes the gate; raise the refusal of any other.

        Raises:
            TypeError: It is given a function, as a decorator is. So this is no ``async def``, which would say
                nothing where its coroutine takes the place of the endpoint.
        """
        if callable(connection):
            raise _no_decorator(self, connection)
        if given is _GIVEN and self.requirements.asks_nothing_more:
            return self._known(connection)
        return self._passed(connection, given)

    async def _known(self, connection: HTTPConnection) -> AuthenticatedAuth:
        known = known_auth(connection)
        return await self._passed(connection) if known is None else known


class _InnerGate(_Gate, Default):
    """The gate of ``CurrentUser`` and ``CurrentSession``. An override of ``RequireAuth()`` replaces it too."""

    async def __call__(self, connection: HTTPConnection, given: Any = _GIVEN) -> AuthenticatedAuth:
        """Return the identity of a request that passes the gate."""
        return await self._passed(connection, given)


_GATE = _InnerGate()
_PASSED: Any = Security(_GATE)
"""The default of a parameter, and so its value where the inner gate is left out: it is to be called."""


class _CurrentUser(_Bearer, Value):
    written = "CurrentUser"

    def read(self, auth: AuthenticatedAuth) -> User:
        return auth.user

    async def __call__(self, connection: HTTPConnection, auth: Any = _PASSED) -> User:
        if auth is _PASSED and (auth := known_auth(connection)) is None:
            auth = await _GATE(connection)
        passed: AuthenticatedAuth = auth
        return passed.user


class _CurrentSession(_Bearer, Value):
    written = "CurrentSession"

    def read(self, auth: AuthenticatedAuth) -> Session:
        return auth.session

    async def __call__(self, connection: HTTPConnection, auth: Any = _PASSED) -> Session:
        if auth is _PASSED and (auth := known_auth(connection)) is None:
            auth = await _GATE(connection)
        passed: AuthenticatedAuth = auth
        return passed.session


CurrentUser = Annotated[User, Security(_CurrentUser())]
"""The verified user. A request without a verified user is refused."""

CurrentSession = Annotated[Session, Security(_CurrentSession())]
"""The verified session. A request without a verified session is refused."""


class _Routes(Misplaced, APIRouter):
    """The router of the session routes."""

    belongs = (
        "These session_routes are FastAPI's: app.include_router(session_routes()). In Starlette: "
        "from moonkey_starlette import session_routes; in Flask: from moonkey_flask import session_routes; in "
        "Django: from moonkey_django import session_routes."
    )


@says_if_uncalled("app.include_router(session_routes())")
def session_routes(
    *, url_prefix: str = "/auth", templates: "Templates | None" = None, mode: Mode = "cookies"
) -> APIRouter:
    """Return all session routes as a router: ``app.include_router(session_routes(url_prefix="/auth"))``.

    They are no operations of the API: the OpenAPI document leaves them out, and dependencies of the app or of an
    outer router do not apply to them, so that signing in never requires a signed-in user. For the rest see
    :func:`moonkey_starlette.routes.session_routes`.

    Args:
        url_prefix: The path below which the routes are mounted.
        templates: The app's own page templates; those of the middleware if left out.
        mode: ``"cookies"`` for browsers, or ``"header"``.

    Returns:
        A router for ``include_router``.

    Raises:
        ConfigurationError: There is no such mode.
    """
    router = _Routes()
    for route, endpoint in endpoints(templates, mode):
        path, name = url_prefix.rstrip("/") + route.path, f"{NAMES[mode]}:{route.name}"
        router.add_route(path, endpoint, methods=list(route.methods), name=name, include_in_schema=False)
    return router


def document_cookies(app: FastAPI, cookies: CookieSettings | None = None) -> None:
    """Add the session cookie to the OpenAPI document, wherever that lists the two headers.

    For an API that browsers call with cookies. Only the document changes, not how requests are verified.

    Args:
        app: The app whose document is extended.
        cookies: The cookie settings of the client, where its cookie has another name than the default.
    """
    make, name = app.openapi, (cookies or CookieSettings()).session_name

    def openapi() -> dict[str, Any]:
        document = describe_gates(make())
        schemes = document.get("components", {}).get("securitySchemes", {})
        if _Bearer.scheme_name in schemes and _COOKIE_SCHEME not in schemes:
            description = "That of a browser that has signed in; unsafe methods need a trusted Origin."
            schemes[_COOKIE_SCHEME] = {"type": "apiKey", "in": "cookie", "name": name, "description": description}
            for operation in (one for path in document["paths"].values() for one in path.values()):
                if {_Bearer.scheme_name: []} in operation.get("security", ()):
                    operation["security"].append({_COOKIE_SCHEME: []})
        return document

    app.openapi = openapi  # type: ignore[method-assign]
