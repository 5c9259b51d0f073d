"""What FastAPI need not resolve anew in each request: the dependencies of a route that another one vouches for.

FastAPI takes about as long over a dependency that does nothing as this package over a request. So a finished route
has one of them, and none where the user is known. All are there again while the app has ``dependency_overrides``.
The OpenAPI document is the same. Whether the installed FastAPI goes along is tried once; if not, all routes stay
whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, wraps
from types import FunctionType
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonkey_core.auth import AuthenticatedAuth, is_user, new_auth
from moonkey_core.models import Session, User, VerifiedSession
from moonkey_core.web.placement import attribute
from moonkey_starlette.identity import KEY, Identity, known_auth
from moonkey_starlette.signatures import (
    Default,
    Dependency,
    Shortened,
    Value,
    all_of,
    default_of,
    dependencies_of,
    entered,
    parameters_of,
)

_CONNECTION = "the moonkey connection"  # no parameter of a function has such a name
_MISSING = object()


def shorten(route: Any, dependant: Any) -> None:
    """Leave out of a finished route what it can do without. A second time changes nothing.

    Args:
        route: The route, as FastAPI lists it.
        dependant: FastAPI's description of its endpoint, with all dependencies.
    """
    if fits_fastapi():
        _shorten(route, dependant)


def _shorten(route: Any, dependant: Any) -> None:
    for one in all_of(dependant):
        if isinstance(one.call, Dependency):
            _leave_out_defaults(one)
            if one.scope is None:
                one.scope = "request"  # what it is anyway; else FastAPI works it out in each request
    if not isinstance(dependant.dependencies, Shortened):
        _leave_out_values(route, dependant)


def _leave_out_defaults(dependant: Any) -> None:
    """Leave out the dependencies that a dependency of this package can do without.

    They are told by the default of their parameter, which names the dependency itself. They only serve
    ``dependency_overrides``: where an app has any, FastAPI reads the signatures anew in each request, and finds
    them again.
    """
    defaults = {parameter.name: default_of(parameter) for parameter in parameters_of(dependant.call)}
    # A new list: a request on its way may be in the middle of the old one.
    dependant.dependencies = [
        inner
        for inner in dependant.dependencies
        if not isinstance(inner.call, Default) or defaults.get(inner.name) is not inner.call
    ]


def _leave_out_values(route: Any, dependant: Any) -> None:
    """Leave out the users and sessions of an endpoint behind a gate, and read them from the request instead.

    The gate, or the first of them, remains in its place, and refuses what they would refuse. Where it is known
    that a verified user has sent the request, there is nothing to refuse: gates that ask nothing more are left out
    as well, and the endpoint asks them only if that is not true any more.
    """
    endpoint, provider = dependant.call, getattr(route, "dependency_overrides_provider", _MISSING)
    if provider is _MISSING or not (isinstance(endpoint, FunctionType) and inspect.iscoroutinefunction(endpoint)):
        return  # a plain function runs in a thread, which takes far longer
    whole, few, fewest = dependencies_of(dependant), list[Any](), list[Any]()
    values, gates = dict[str, Dependency](), list[Dependency]()
    is_gated = False
    for one in whole:
        gate = one.call if isinstance(one.call, Dependency) else None
        if gate is None or not gate.lets_all_users_pass:
            fewest.append(one)
        elif one.name is None:
            gates.append(gate)
        else:
            values[one.name] = gate
        if not (is_gated and isinstance(gate, Value) and one.name is not None):
            few.append(one)
        is_gated = is_gated or (gate is not None and gate.lets_users_pass_only)
    if not values and not gates:
        return
    if dependant.http_connection_param_name is None:
        dependant.http_connection_param_name = _CONNECTION
    left_out = Shortened(whole, few, fewest, provider)
    dependant.call = _reading(endpoint, values, gates, left_out, dependant.http_connection_param_name)
    dependant.dependencies = left_out
    owner = (
        attribute(route, "_effective_route") or route
    )  # FastAPI lists those of an included router by a stand-in
    if (app := attribute(owner, "app")) is not None:
        owner.app = _entrance(app, left_out)


def _entrance(app: ASGIApp, left_out: Shortened) -> ASGIApp:
    """Return the app of a route, which notes that it is entered by a request whose user is known."""

    async def entrance(scope: Scope, receive: Receive, send: Send) -> None:
        identity = scope.get(KEY)
        auth = identity.auth if isinstance(identity, Identity) else None
        entered.set(left_out if auth is not None and is_user(auth) else None)
        try:
            await app(scope, receive, send)
        finally:
            entered.set(None)  # FastAPI may have refused the body first

    return entrance


def _reading(
    endpoint: Callable[..., Awaitable[Any]],
    values: Mapping[str, Dependency],
    gates: Sequence[Dependency],
    left_out: Shortened,
    connection_name: str,
) -> Callable[..., Awaitable[Any]]:
    """Return an endpoint that is called without these values, and reads them, as far as FastAPI has not.

    Args:
        endpoint: The endpoint.
        values: The dependencies whose values it takes, by the name of the parameter.
        gates: Those that only let requests pass.
        left_out: The dependencies of the route.
        connection_name: The name under which FastAPI passes the request.
    """
    is_own = connection_name == _CONNECTION

    @wraps(endpoint)
    def reading(**given: Any) -> Awaitable[Any]:
        connection: HTTPConnection | None
        connection = given.pop(_CONNECTION, None) if is_own else given[connection_name]
        if connection is None:  # a request that was on its way when the route was shortened has all values
            return endpoint(**given)
        auth = known_auth(connection)
        if auth is None:  # it was another one when the gate, or the middleware, let the request pass
            if left_out.are_overridden:
                return endpoint(**given)  # nothing was left out
            return _asking(endpoint, values, gates, given, connection)
        for name, value in values.items():
            if name not in given:
                given[name] = value.read(auth)
        return endpoint(**given)

    # FastAPI names the file of an endpoint in its errors, and takes it from here.
    inner = inspect.unwrap(endpoint)  # an object that can be called has no code
    code = (inner if isinstance(inner, FunctionType) else endpoint).__code__
    reading.__code__ = reading.__code__.replace(co_filename=code.co_filename)  # type: ignore[attr-defined]
    return reading


async def _asking(
    endpoint: Callable[..., Awaitable[Any]],
    values: Mapping[str, Dependency],
    gates: Sequence[Dependency],
    given: dict[str, Any],
    connection: HTTPConnection,
) -> Any:
    for gate in gates:
        await gate(connection)
    for name, value in values.items():
        if name not in given:
            given[name] = await value(connection)
    return await endpoint(**given)


class _Probe(Dependency):
    """A gate and its value, for :func:`fits_fastapi`."""

    @property
    def lets_users_pass_only(self) -> bool:
        return True

    @property
    def lets_all_users_pass(self) -> bool:
        return True

    def read(self, auth: AuthenticatedAuth) -> str:
        return "read"

    async def __call__(self, connection: HTTPConnection) -> str:
        return "asked"


@lru_cache(1)
def fits_fastapi() -> bool:
    """Return whether the installed FastAPI serves shortened routes as they are meant: tried once per process.

    It goes through the dependencies of a request in one place, calls the ``app`` of a route for a request, and
    passes the request under the name that its description of the endpoint has for it.
    """
    try:
        return _served() == ["asked", "read", "asked"]
    except Exception:  # of whatever FastAPI has become
        return False


def _served() -> list[object]:
    """Return what an endpoint gets from a shortened dependency: for no user, a known user, and no user again."""
    from fastapi import APIRouter, Depends
    from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware

    found: list[object] = []

    async def endpoint(value: Any = Depends(_Probe())) -> None:  # noqa: B008  # FastAPI's way
        found.append(value)

    router = APIRouter()  # and no app: what instruments apps would report these requests
    router.get("/")(endpoint)
    app = AsyncExitStackMiddleware(router)
    for route in router.routes:
        if (dependant := attribute(route, "dependant")) is not None:
            _shorten(route, dependant)
    known = Identity.__new__(Identity)
    ends_at = datetime.max.replace(tzinfo=UTC)
    known.auth = new_auth(verified=VerifiedSession(User("user"), Session("session", "user", ends_at)))
    for identity in (None, known, None):
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            KEY: identity,
        }
        step = app(scope, _receive, _send)
        try:
            step.send(None)  # it waits for nothing
        except StopIteration:
            continue
        finally:
            step.close()
        break
    return found


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass
