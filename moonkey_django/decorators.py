"""The gate in front of a view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, TypeVar, Unpack, cast, overload

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from moonkey_core.gate import RequirementOptions, Requirements, check
from moonkey_core.web.placement import check_target, decorator, register_gate
from moonkey_django.identity import identity_of
from moonkey_django.responses import apply_cache_headers, areject, reject

View = TypeVar("View", bound=Callable[..., Any])

_PACKAGE = "moonkey_django"
_IN_A_CLASS = 'write class V(RequireAuthMixin, …), or @method_decorator(require_auth, name="dispatch").'


@overload
def require_auth(view: View) -> View: ...
@overload
def require_auth(**requirements: Unpack[RequirementOptions]) -> Callable[[View], View]: ...
def require_auth(
    view: View | None = None, *more: object, **requirements: Unpack[RequirementOptions]
) -> View | Callable[[View], View]:
    """Run the view only for a request with a verified user and session, whatever its method.

    For any other request, the response is the refusal with the reason. Use it for sync and async views, with or
    without parentheses; for a class through ``method_decorator`` or, better,
    :class:`~moonkey_django.mixins.RequireAuthMixin`. The decorated view raises ``ImproperlyConfigured`` for a
    request that has not passed the middleware.

    Args:
        view: The view, sync or async.
        *more: Nothing; a second positional argument is an error.
        **requirements: The fields of :class:`~moonkey_core.gate.Requirements`. With ``max_staleness=0`` the API
            verifies the credential at each request; ``factors={"totp"}`` requires a session with a second factor.

    Raises:
        TypeError: The argument is not a view, or a requirement does not exist.
        ValueError: A requirement has a wrong value.
    """
    asked = Requirements(**requirements)
    if view is None and not more:
        return decorator(partial(_gated, asked), _PACKAGE, "require_auth", asked)
    check_target(view, "require_auth", _IN_A_CLASS, more)
    assert view is not None
    return _gated(asked, view)


decorator(require_auth, _PACKAGE, "require_auth")


def _gated(requirements: Requirements, view: View) -> View:
    check_target(view, "require_auth", _IN_A_CLASS)
    gate = _async_gate if _is_async(view) else _sync_gate
    gated = gate(requirements, view)
    return cast(View, register_gate(gated, view, _PACKAGE, "require_auth", requirements))


def _sync_gate(requirements: Requirements, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def gate(request: Any = None, *args: Any, **kwargs: Any) -> Any:
        error = check(identity_of(request).meet(requirements), requirements)
        return _marked(request, view(request, *args, **kwargs)) if error is None else reject(request, error)

    return gate


def _async_gate(requirements: Requirements, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    async def gate(request: Any = None, *args: Any, **kwargs: Any) -> Any:
        error = check(await identity_of(request).ameet(requirements), requirements)
        if error is not None:
            return await areject(request, error)
        response = view(request, *args, **kwargs)
        return _marked(request, await response if isawaitable(response) else response)

    return gate


def _marked(request: HttpRequest, response: Any) -> Any:
    # Here and not only in the middleware: a `cache_page` around the gate must see that this page is private.
    # A result that is not a response is passed on as it is: Django's own error for it is clearer.
    return apply_cache_headers(request, response) if isinstance(response, HttpResponseBase) else response


def _is_async(view: Callable[..., Any]) -> bool:
    """Return whether the view's caller awaits its result, as for ``dispatch`` in a class of async handlers."""
    method = view.func if isinstance(view, partial) else view  # `method_decorator` passes a partial
    owner = getattr(method, "__self__", None)
    return iscoroutinefunction(view) or (
        getattr(method, "__name__", "") == "dispatch" and bool(getattr(owner, "view_is_async", False))
    )
