"""Decorators for views: sync or async, functions, methods, and in ``View.decorators``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from flask import current_app, has_request_context
from flask.sansio.scaffold import Scaffold

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
from moonkey_core.web.placement import Undecorated, check_target, decorator, described, register_gate
from moonkey_flask.gates import expect_an_app, is_answered_by_flask
from moonkey_flask.identity import ATTRIBUTE, current_request, meet, verify

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V", bound=Callable[..., Any])


class ViewDecorator(Protocol):
    """A decorator that keeps a view's parameters and result; Flask runs the coroutine of an async view."""

    @overload
    def __call__(self, view: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, view: Callable[P, R], /) -> Callable[P, R]: ...


Gate = Callable[[Auth, Requirements], object]

_PACKAGE = "moonkey_flask"


@overload
def require_auth(view: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]: ...
@overload
def require_auth(view: Callable[P, R]) -> Callable[P, R]: ...
@overload
def require_auth(**requirements: Unpack[RequirementOptions]) -> ViewDecorator: ...
def require_auth(
    view: Callable[..., Any] | None = None, *more: object, **requirements: Unpack[RequirementOptions]
) -> Any:
    """Run the view only for a request with a verified user and session, whatever its method.

    For any other request, the decorated view raises the :class:`~moonkey_core.errors.MoonKeyError` with the
    reason. The extension makes the response from it, unless the app has an error handler of its own for it.

    Use it with or without parentheses, below the route decorator: above it, the app's first request raises
    :class:`~moonkey_core.errors.ConfigurationError`. In a class-based view, write
    ``decorators = [require_auth]``. For a whole app or blueprint, put it below ``@app.before_request``, on a
    function that does nothing else. There it lets the ``OPTIONS`` requests pass that Flask answers itself
    (``provide_automatic_options``), such as CORS preflights, and no others.

    Args:
        view: The view, sync or async.
        *more: Nothing; a second positional argument is an error.
        **requirements: The fields of :class:`~moonkey_core.gate.Requirements`. With ``max_staleness=0`` the API
            verifies the credential at each request; ``factors={"totp"}`` requires a session with a second factor.

    Raises:
        TypeError: The argument is not a view, or a requirement does not exist.
        ValueError: A requirement has a wrong value.
    """
    return _decorator("require_auth", admit, Requirements(**requirements), view, more)


@overload
def optional_auth(view: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]: ...
@overload
def optional_auth(view: Callable[P, R]) -> Callable[P, R]: ...
@overload
def optional_auth(**freshness: Unpack[FreshnessOptions]) -> ViewDecorator: ...
def optional_auth(
    view: Callable[..., Any] | None = None, *more: object, **freshness: Unpack[FreshnessOptions]
) -> Any:
    """Verify the request's credential, if any, before the view; the view runs in all states of ``Auth``.

    Args:
        view: The view, sync or async.
        *more: Nothing; a second positional argument is an error.
        **freshness: ``max_staleness`` and ``grace_seconds``, as of :func:`require_auth`.

    Raises:
        TypeError: The argument is not a view, or the requirement is another one: a view that refuses no request
            cannot enforce it.
        ValueError: A value is wrong.
    """
    check_freshness(freshness)
    return _decorator("optional_auth", accept_any, Requirements(**freshness), view, more)


@overload
def public(view: V, *, reason: str = ...) -> V: ...
@overload
def public(*, reason: str = ...) -> Callable[[V], V]: ...
def public(view: V | None = None, *more: object, reason: str = "") -> Any:
    """Mark a view as open to all clients: where all are closed by default, and for the audit of routes.

    It changes nothing else, so its place among the decorators does not matter. Use it with or without parentheses,
    on a function, a method, a class-based view, or around what ``as_view()`` returns.

    Args:
        view: The view.
        *more: Nothing; a second positional argument is an error.
        reason: Why it is public, for the audit of routes.

    Returns:
        The same view; with parentheses, the decorator.

    Raises:
        TypeError: It is no view, or has ``@require_auth``.
    """
    return opener(_PACKAGE, view, reason, more)


decorator(require_auth, _PACKAGE, "require_auth")
decorator(optional_auth, _PACKAGE, "optional_auth")


def _decorator(
    name: str, gate: Gate, requirements: Requirements, view: Callable[..., Any] | None, more: tuple[object, ...]
) -> Callable[..., Any]:
    if view is None and not more:
        made = Undecorated(_decorated, name, gate, requirements)
        return decorator(made, _PACKAGE, name, requirements)
    check_target(view, name, f"write decorators = [{name}] in it.", more)
    assert view is not None
    return _decorated(name, gate, requirements, view)


def _decorated(name: str, gate: Gate, requirements: Requirements, view: Callable[P, Any]) -> Callable[P, Any]:
    check_target(view, name, f"write decorators = [{name}] in it.")
    if isinstance(view, Scaffold):
        raise TypeError(
            f"@{name} goes on a function. For a whole app or blueprint, put it below @app.before_request, on a "
            "function that does nothing else."
        )
    is_async = inspect.iscoroutinefunction(view)
    asks_nothing_more = requirements.asks_nothing_more
    is_simple = gate is admit and asks_nothing_more

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            flask_request = current_request()
        except RuntimeError:
            raise _elsewhere(name, view) from None
        if flask_request.method == "OPTIONS" and gate is admit and is_answered_by_flask(flask_request):
            return None  # no view runs for this request, and neither does this function
        # The usual ends of `meet`, without its call.
        auth: Auth | None = flask_request.__dict__.get(ATTRIBUTE)
        if auth is None:
            auth = verify(flask_request, requirements)
        elif not asks_nothing_more:
            auth = meet(flask_request, requirements)
        if not (is_simple and auth.is_authenticated):
            gate(auth, requirements)
        return current_app.ensure_sync(view)(*args, **kwargs) if is_async else view(*args, **kwargs)

    if not has_request_context():
        expect_an_app()
    return register_gate(checked, view, _PACKAGE, name, requirements)


def _elsewhere(name: str, view: object) -> ConfigurationError:
    return ConfigurationError(
        f"{described(view)} has the {name} of moonkey_flask, and was called outside of a request to a Flask app. "
        "In another framework, take its own: from moonkey_django, or from moonkey_starlette, import require_auth. "
        "In a test, call it inside of app.test_request_context()."
    )
