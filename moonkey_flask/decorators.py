"""Decorators for views: sync or async, functions, methods, and in ``View.decorators``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, overload

from flask import current_app

from moonkey_core.gate import require
from moonkey_flask.identity import current_auth

P = ParamSpec("P")
View = Callable[P, Any]
"""A view returns whatever Flask allows, or a coroutine of it."""


@overload
def require_auth(view: View[P]) -> View[P]: ...
@overload
def require_auth() -> Callable[[View[P]], View[P]]: ...
def require_auth(view: View[P] | None = None) -> View[P] | Callable[[View[P]], View[P]]:
    """Run the view only for a request with a verified user and session, whatever its method.

    Else raises the :class:`~moonkey_core.errors.MoonKeyError` that says why, which the extension turns into the
    right response unless the app has an error handler of its own for it. Used with or without parentheses, below
    the route decorator.
    """
    return partial(_decorated, _require) if view is None else _decorated(_require, view)


@overload
def optional_auth(view: View[P]) -> View[P]: ...
@overload
def optional_auth() -> Callable[[View[P]], View[P]]: ...
def optional_auth(view: View[P] | None = None) -> View[P] | Callable[[View[P]], View[P]]:
    """Verify the request's credential, if any, before the view; the view runs in all four states of ``Auth``."""
    return partial(_decorated, _look) if view is None else _decorated(_look, view)


def _require() -> None:
    require(current_auth)


def _look() -> None:
    _ = current_auth.state


def _decorated(check: Callable[[], None], view: View[P]) -> View[P]:
    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Any:
        check()
        return current_app.ensure_sync(view)(*args, **kwargs)

    return checked
