"""Decorators for views: sync or async, functions, methods, and in ``View.decorators``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, Unpack, overload

from flask import current_app

from moonkey_core.auth import Auth
from moonkey_core.gate import FreshnessOptions, RequirementOptions, Requirements, require
from moonkey_flask.identity import auth_for, current_request

P = ParamSpec("P")
View = Callable[P, Any]
"""A view returns whatever Flask allows, or a coroutine of it."""

Gate = Callable[[Auth, Requirements], object]


@overload
def require_auth(view: View[P]) -> View[P]: ...
@overload
def require_auth(**requirements: Unpack[RequirementOptions]) -> Callable[[View[P]], View[P]]: ...
def require_auth(
    view: View[P] | None = None, **requirements: Unpack[RequirementOptions]
) -> View[P] | Callable[[View[P]], View[P]]:
    """Run the view only for a request with a verified user and session, whatever its method.

    Else raises the :class:`~moonkey_core.errors.MoonKeyError` that says why, which the extension turns into the
    right response unless the app has an error handler of its own for it. Used with or without parentheses, below
    the route decorator.

    The keywords are those of :class:`~moonkey_core.gate.Requirements`: with ``max_staleness=0`` the API is asked
    each time, ``factors={"totp"}`` takes a session with a second factor. Raises ``ValueError`` for a wrong one.
    """
    decorated = partial(_decorated, require, Requirements(**requirements))
    return decorated if view is None else decorated(view)


@overload
def optional_auth(view: View[P]) -> View[P]: ...
@overload
def optional_auth(**freshness: Unpack[FreshnessOptions]) -> Callable[[View[P]], View[P]]: ...
def optional_auth(
    view: View[P] | None = None, **freshness: Unpack[FreshnessOptions]
) -> View[P] | Callable[[View[P]], View[P]]:
    """Verify the request's credential, if any, before the view; the view runs in all four states of ``Auth``.

    The keywords are ``max_staleness`` and ``grace_seconds`` of :func:`require_auth`. Raises ``TypeError`` for the
    others: a view that refuses nobody cannot demand them.
    """
    if not freshness.keys() <= FreshnessOptions.__optional_keys__:
        raise TypeError("optional_auth takes max_staleness and grace_seconds; demands are for require_auth.")
    decorated = partial(_decorated, _look, Requirements(**freshness))
    return decorated if view is None else decorated(view)


def _look(auth: Auth, requirements: Requirements) -> None:
    _ = auth.state


def _decorated(gate: Gate, requirements: Requirements, view: View[P]) -> View[P]:
    is_async = inspect.iscoroutinefunction(view)

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Any:
        gate(auth_for(current_request(), requirements), requirements)
        return current_app.ensure_sync(view)(*args, **kwargs) if is_async else view(*args, **kwargs)

    return checked
