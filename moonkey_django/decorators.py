"""The gate in front of a view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, TypeVar, Unpack, cast, overload

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from moonkey_core.auth import Auth
from moonkey_core.gate import RequirementOptions, Requirements, refusal_of
from moonkey_django.identity import identity_of
from moonkey_django.responses import refused, with_cache_headers

View = TypeVar("View", bound=Callable[..., Any])


@overload
def require_auth(view: View) -> View: ...
@overload
def require_auth(**requirements: Unpack[RequirementOptions]) -> Callable[[View], View]: ...
def require_auth(
    view: View | None = None, **requirements: Unpack[RequirementOptions]
) -> View | Callable[[View], View]:
    """Run the view only for a request with a verified user and session, whatever its method.

    For any other request the right refusal is the response. For sync and async views, with or without
    parentheses; for a class through ``method_decorator`` or, better,
    :class:`~moonkey_django.mixins.RequireAuthMixin`. Raises ``ImproperlyConfigured`` without the middleware.

    The keywords are those of :class:`~moonkey_core.gate.Requirements`: with ``max_staleness=0`` the API is asked
    each time, ``factors={"totp"}`` takes a session with a second factor. Raises ``ValueError`` for a wrong one.
    """
    asked = Requirements(**requirements)
    return partial(_gated, asked) if view is None else _gated(asked, view)


def _gated(requirements: Requirements, view: View) -> View:
    gate = _async_gate if _is_async(view) else _sync_gate
    return cast(View, gate(requirements, view))


def _sync_gate(requirements: Requirements, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def gate(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = _refusal(request, identity_of(request).meet(requirements), requirements)
        return _marked(request, view(request, *args, **kwargs)) if refusal is None else refusal

    return gate


def _async_gate(requirements: Requirements, view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    async def gate(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = _refusal(request, await identity_of(request).ameet(requirements), requirements)
        if refusal is not None:
            return refusal
        response = view(request, *args, **kwargs)
        return _marked(request, await response if isawaitable(response) else response)

    return gate


def _refusal(request: HttpRequest, auth: Auth, requirements: Requirements) -> HttpResponse | None:
    error = refusal_of(auth, requirements)
    return None if error is None else refused(request, error)


def _marked(request: HttpRequest, response: Any) -> Any:
    # Here and not only in the middleware: a `cache_page` around the gate must see that this page is private.
    # What is no response goes on as it is: Django has the better words for it.
    return with_cache_headers(request, response) if isinstance(response, HttpResponseBase) else response


def _is_async(view: Callable[..., Any]) -> bool:
    """Whether the view's caller awaits its result; so does that of `dispatch` in a class of async handlers."""
    method = view.func if isinstance(view, partial) else view  # a partial is what `method_decorator` hands us
    owner = getattr(method, "__self__", None)
    return iscoroutinefunction(view) or (
        getattr(method, "__name__", "") == "dispatch" and bool(getattr(owner, "view_is_async", False))
    )
