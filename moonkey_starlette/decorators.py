"""The gate in front of an endpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Annotated, Any, ParamSpec, Unpack, get_args, get_origin, overload

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import RequirementOptions, Requirements, require
from moonkey_core.web.placement import check_target, decorator, described
from moonkey_core.web.placement import gated as note_gate
from moonkey_starlette.identity import identity_of
from moonkey_starlette.signatures import NoParameter

__all__ = ["require_auth"]

P = ParamSpec("P")
Endpoint = Callable[P, Any]
GatedEndpoint = Callable[P, Coroutine[Any, Any, Any]]

_PACKAGE = "moonkey_starlette"
_IN_A_CLASS = "in an endpoint class, decorate its methods; for a whole app, use MoonKeyMiddleware(required=True)."
_USUAL_NAMES = ("request", "websocket")
_CLASS_NAMES = ("Request", "WebSocket", "HTTPConnection")


@overload
def require_auth(endpoint: Endpoint[P]) -> GatedEndpoint[P]: ...
@overload
def require_auth(
    **requirements: Unpack[RequirementOptions],
) -> Callable[[Endpoint[P]], GatedEndpoint[P]]: ...
def require_auth(
    endpoint: Annotated[Endpoint[P] | None, NoParameter] = None,
    *more: object,
    **requirements: Unpack[RequirementOptions],
) -> GatedEndpoint[P] | Callable[[Endpoint[P]], GatedEndpoint[P]]:
    """Run the endpoint only for a request or WebSocket with a verified user and session, whatever its method.

    The keywords are those of :class:`~moonkey_core.gate.Requirements`: with ``max_staleness=0`` the API is asked
    each time, ``factors={"totp"}`` takes a session with a second factor. Raises ``ValueError`` for a wrong one.

    Else raises the :class:`~moonkey_core.errors.MoonKeyError` that says why, which the middleware turns into the
    right answer. For functions, sync (they still run in a thread) and async, and for methods of endpoint classes;
    with or without parentheses, below the route decorator. Raises ``TypeError`` for anything else, and
    ``ConfigurationError`` at the first request without the middleware. Above the route, it keeps the app from
    starting.
    """
    asked = Requirements(**requirements)
    if endpoint is None and not more:
        return decorator(partial(_gated, asked), _PACKAGE, "require_auth")
    check_target(endpoint, "require_auth", _IN_A_CLASS, more)
    assert endpoint is not None
    return _gated(asked, endpoint)


decorator(require_auth, _PACKAGE, "require_auth")


def _gated(requirements: Requirements, endpoint: Annotated[Endpoint[P], NoParameter]) -> GatedEndpoint[P]:
    check_target(endpoint, "require_auth", _IN_A_CLASS)
    _check_kind(endpoint)
    signature = _signature(endpoint)
    index, name = _connection_parameter(endpoint, signature)
    is_async = inspect.iscoroutinefunction(endpoint)

    async def gate(*args: P.args, **kwargs: P.kwargs) -> Any:
        connection = kwargs[name] if name in kwargs else args[index] if index < len(args) else None
        if not isinstance(connection, HTTPConnection):
            raise ConfigurationError(
                f"@require_auth took {name!r} of {described(endpoint)} for the request, but it is none of "
                "Starlette's. Name the right parameter `request` or `websocket`; in Flask or Django, take the "
                "gate of moonkey_flask or moonkey_django."
            )
        identity = identity_of(connection)
        auth = identity.fit_for(requirements)
        require(await identity.meet(requirements) if auth is None else auth, requirements)
        if is_async:
            return await endpoint(*args, **kwargs)
        return await run_in_threadpool(endpoint, *args, **kwargs)

    gated = wraps(endpoint)(gate)
    # Some versions of FastAPI would look up quoted annotations among the names of this module.
    gated.__signature__ = signature  # type: ignore[attr-defined]
    return note_gate(gated, endpoint, _PACKAGE, "require_auth")


def _check_kind(endpoint: Callable[..., Any]) -> None:
    function = endpoint
    while isinstance(function, partial):
        function = function.func
    if not inspect.isroutine(function):
        raise TypeError(
            f"@require_auth goes on a function or a method, not on a {type(function).__name__}: {_IN_A_CLASS}"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{described(endpoint)} is a generator, which runs at another time than a gate in front of it. "
            "In FastAPI, use Depends(RequireAuth())."
        )


def _connection_parameter(endpoint: Callable[..., Any], signature: inspect.Signature) -> tuple[int, str]:
    """Where the request or WebSocket is: by annotation, else by name, else the first that is not annotated."""
    parameters = list(signature.parameters.values())
    for is_it in (_is_annotated, _is_named, _is_bare):
        for index, parameter in enumerate(parameters):
            if is_it(parameter):
                return index, parameter.name
    raise TypeError(
        f"@require_auth of moonkey_starlette finds no request in {described(endpoint)}. Add a parameter "
        "`request: Request` or `websocket: WebSocket`; in FastAPI, use CurrentUser or Depends(RequireAuth()) "
        "instead; in Flask, from moonkey_flask import require_auth."
    )


def _signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(endpoint, eval_str=True)
    except Exception:  # annotations for the type checker alone need not be importable
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
