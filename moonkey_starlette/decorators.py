"""The gate in front of an endpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Annotated, Any, ParamSpec, Protocol, TypeVar, Unpack, get_args, get_origin, overload

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request

from moonkey_core.auth import Auth
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import (
    FreshnessOptions,
    RequirementOptions,
    Requirements,
    accept_any,
    admit,
    check_freshness,
)
from moonkey_core.web.marks import opener
from moonkey_core.web.placement import Undecorated, check_target, decorator, described
from moonkey_core.web.placement import register_gate as note_gate
from moonkey_starlette.identity import identity_of, known_auth
from moonkey_starlette.refused import HttpRefusal, install
from moonkey_starlette.signatures import NoParameter

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V", bound=Callable[..., Any])
Endpoint = Callable[P, Any]
Gate = Callable[[Auth, Requirements], object]
GatedEndpoint = Callable[P, Coroutine[Any, Any, R]]


class EndpointDecorator(Protocol):
    """A decorator that keeps the parameters and result type of an endpoint and makes it a coroutine function."""

    @overload
    def __call__(self, endpoint: Callable[P, Coroutine[Any, Any, R]], /) -> GatedEndpoint[P, R]: ...
    @overload
    def __call__(self, endpoint: Callable[P, R], /) -> GatedEndpoint[P, R]: ...


_PACKAGE = "moonkey_starlette"
_IN_A_CLASS = "in an endpoint class, decorate its methods; for a whole app, use MoonKeyMiddleware(required=True)."
_USUAL_NAMES = ("request", "websocket")
_CLASS_NAMES = (
    "Request", "WebSocket", "HTTPConnection",
    "MoonKeyRequest", "MoonKeyWebSocket", "AuthenticatedRequest", "AuthenticatedWebSocket",
)  # fmt: skip


@overload
def require_auth(endpoint: Callable[P, Coroutine[Any, Any, R]]) -> GatedEndpoint[P, R]: ...
@overload
def require_auth(endpoint: Callable[P, R]) -> GatedEndpoint[P, R]: ...
@overload
def require_auth(**requirements: Unpack[RequirementOptions]) -> EndpointDecorator: ...
def require_auth(
    endpoint: Annotated[Callable[..., Any] | None, NoParameter] = None,
    *more: object,
    **requirements: Unpack[RequirementOptions],
) -> Any:
    """Run the endpoint only for a request or WebSocket with a verified user and session, whatever its method.

    Decorates sync and async functions and methods of endpoint classes, with or without parentheses; a sync
    endpoint still runs in a thread. Write it below the route decorator: above it, the app does not start.

    The endpoint raises the :class:`~moonkey_core.errors.MoonKeyError` with the reason for every other request, and
    the middleware turns that into the response. Without the middleware it raises
    :class:`~moonkey_core.errors.ConfigurationError`.

    Args:
        endpoint: The endpoint, where the decorator is written without parentheses.
        *more: Nothing; a further positional argument is refused.
        **requirements: The fields of :class:`~moonkey_core.gate.Requirements`. ``max_staleness=0`` calls the API
            for each request, ``factors={"totp"}`` requires a session with a second factor.

    Returns:
        The endpoint behind the gate, as a coroutine function; with parentheses, the decorator.

    Raises:
        TypeError: The decorated object is not an endpoint with a parameter for the request or WebSocket.
        ValueError: The value of a requirement is not valid.
    """
    return _decorator("require_auth", admit, Requirements(**requirements), endpoint, more)


@overload
def optional_auth(endpoint: Callable[P, Coroutine[Any, Any, R]]) -> GatedEndpoint[P, R]: ...
@overload
def optional_auth(endpoint: Callable[P, R]) -> GatedEndpoint[P, R]: ...
@overload
def optional_auth(**freshness: Unpack[FreshnessOptions]) -> EndpointDecorator: ...
def optional_auth(
    endpoint: Annotated[Callable[..., Any] | None, NoParameter] = None,
    *more: object,
    **freshness: Unpack[FreshnessOptions],
) -> Any:
    """Verify the credential of a request, if any, before the endpoint; it runs in all states of ``Auth``.

    Such an endpoint stays open under ``required=True``.

    Args:
        endpoint: The endpoint, where the decorator is written without parentheses.
        *more: Nothing; a further positional argument is refused.
        **freshness: ``max_staleness`` and ``grace_seconds``, as of :func:`require_auth`.

    Returns:
        The endpoint, as a coroutine function; with parentheses, the decorator.

    Raises:
        TypeError: As of :func:`require_auth`; or the requirement is another one: an endpoint that refuses no
            request cannot enforce it.
        ValueError: A value is wrong.
    """
    check_freshness(freshness)
    return _decorator("optional_auth", accept_any, Requirements(**freshness), endpoint, more)


@overload
def public(endpoint: V, *, reason: str = ...) -> V: ...
@overload
def public(*, reason: str = ...) -> Callable[[V], V]: ...
def public(
    endpoint: Annotated[Callable[..., Any] | None, NoParameter] = None, *more: object, reason: str = ""
) -> Any:
    """Mark an endpoint as open to all clients: where ``required=True`` closes all others, and for the audit.

    It changes nothing else, so its place among the decorators does not matter. Use it with or without parentheses,
    on a function, a method, an endpoint class, or a mounted app: ``Mount("/static", public(StaticFiles(…)))``.

    Args:
        endpoint: The endpoint, where the decorator is written without parentheses.
        *more: Nothing; a further positional argument is refused.
        reason: Why it is public, for the audit of routes.

    Returns:
        The same endpoint; with parentheses, the decorator.

    Raises:
        TypeError: It is no endpoint, or has ``@require_auth``.
    """
    return opener(_PACKAGE, endpoint, reason, more)


decorator(require_auth, _PACKAGE, "require_auth")
decorator(optional_auth, _PACKAGE, "optional_auth")


def _decorator(name: str, gate: Gate, requirements: Requirements, endpoint: Any, more: tuple[object, ...]) -> Any:
    if endpoint is None and not more:
        return decorator(Undecorated(_gated, name, gate, requirements), _PACKAGE, name, requirements)
    check_target(endpoint, name, _IN_A_CLASS, more)
    assert endpoint is not None
    return _gated(name, gate, requirements, endpoint)


def _gated(
    gate_name: str,
    judge: Gate,
    requirements: Requirements,
    endpoint: Annotated[Endpoint[P], NoParameter],
) -> GatedEndpoint[P, Any]:
    check_target(endpoint, gate_name, _IN_A_CLASS)
    _check_kind(endpoint, gate_name)
    signature = _signature(endpoint)
    index, name = _connection_parameter(endpoint, signature, gate_name)
    is_async = inspect.iscoroutinefunction(endpoint)
    is_simple = judge is admit and requirements.asks_nothing_more

    async def gate(*args: P.args, **kwargs: P.kwargs) -> Any:
        connection = kwargs[name] if name in kwargs else args[index] if index < len(args) else None
        # The usual class first: to ask an abstract one takes as long as all else that is done here.
        if type(connection) is not Request and not isinstance(connection, HTTPConnection):
            raise ConfigurationError(
                f"@{gate_name} took {name!r} of {described(endpoint)} for the request, but it is none of "
                "Starlette's. Name the right parameter `request` or `websocket`; in Flask or Django, take the "
                "gate of moonkey_flask or moonkey_django."
            )
        if not is_simple or known_auth(connection) is None:  # else there is nothing more to decide
            identity = identity_of(connection)
            try:
                auth = identity.fit_for(requirements)
                judge(await identity.meet(requirements) if auth is None else auth, requirements)
            except HttpRefusal:
                install(connection.scope)  # a layer in between may have copied the scope
                raise
        if is_async:
            return await endpoint(*args, **kwargs)
        return await run_in_threadpool(endpoint, *args, **kwargs)

    gated = wraps(endpoint)(gate)
    # Some versions of FastAPI would look up quoted annotations among the names of this module.
    gated.__signature__ = signature  # type: ignore[attr-defined]
    return note_gate(gated, endpoint, _PACKAGE, gate_name, requirements)


def _check_kind(endpoint: Callable[..., Any], name: str) -> None:
    function = endpoint
    while isinstance(function, partial):
        function = function.func
    if not inspect.isroutine(function):
        raise TypeError(
            f"@{name} goes on a function or a method, not on a {type(function).__name__}: {_IN_A_CLASS}"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{described(endpoint)} is a generator, which runs at another time than a gate in front of it. "
            "In FastAPI, use Depends(RequireAuth())."
        )


def _connection_parameter(
    endpoint: Callable[..., Any], signature: inspect.Signature, gate_name: str
) -> tuple[int, str]:
    """Find the parameter of the request or WebSocket: by annotation, by name, or the first without annotation.

    Returns:
        The index and the name of the parameter.

    Raises:
        TypeError: The endpoint has no such parameter.
    """
    parameters = list(signature.parameters.values())
    for is_it in (_is_annotated, _is_named, _is_bare):
        for index, parameter in enumerate(parameters):
            if is_it(parameter):
                return index, parameter.name
    raise TypeError(
        f"@{gate_name} of moonkey_starlette finds no request in {described(endpoint)}. Add a parameter "
        "`request: Request` or `websocket: WebSocket`; in FastAPI, use CurrentUser or Depends(RequireAuth()) "
        "instead; in Flask, from moonkey_flask import require_auth."
    )


def _signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(endpoint, eval_str=True)
    except Exception:  # names imported under TYPE_CHECKING do not exist at run time
        return inspect.signature(endpoint)


def _is_annotated(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        return annotation.split("[")[0].split(".")[-1] in _CLASS_NAMES
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    annotation = get_origin(annotation) or annotation
    return isinstance(annotation, type) and issubclass(annotation, HTTPConnection)


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.name in _USUAL_NAMES


def _is_bare(parameter: inspect.Parameter) -> bool:
    positional = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    is_annotated = parameter.annotation is not parameter.empty
    return parameter.kind in positional and not is_annotated and parameter.name not in ("self", "cls")
