"""The gate in front of a view."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, TypeVar, Unpack, cast, overload

from asgiref.sync import iscoroutinefunction
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator

from moonkey_core.auth import Auth
from moonkey_core.errors import MoonKeyError
from moonkey_core.gate import (
    FreshnessOptions,
    RequirementOptions,
    Requirements,
    accept_any,
    check,
    check_freshness,
)
from moonkey_core.web.marks import opener
from moonkey_core.web.placement import Undecorated, check_target, decorator, register_gate
from moonkey_django.identity import ATTRIBUTE, Identity, identity_of
from moonkey_django.responses import areject, reject, with_effects

View = TypeVar("View", bound=Callable[..., Any])

Anything = TypeVar("Anything")
Judge = Callable[[Auth, Requirements], MoonKeyError | None]

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
    made: View | Callable[[View], View] = _decorator(
        "require_auth", check, Requirements(**requirements), view, more
    )
    return made


@overload
def optional_auth(view: View) -> View: ...
@overload
def optional_auth(**freshness: Unpack[FreshnessOptions]) -> Callable[[View], View]: ...
def optional_auth(
    view: View | None = None, *more: object, **freshness: Unpack[FreshnessOptions]
) -> View | Callable[[View], View]:
    """Verify the request's credential, if any, before the view; the view runs in all states of ``Auth``.

    Such a view stays open where ``MOONKEY["REQUIRED"]`` closes the others.

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
    made: View | Callable[[View], View] = _decorator(
        "optional_auth", accept_any, Requirements(**freshness), view, more
    )
    return made


@overload
def public(view: Anything, *, reason: str = ...) -> Anything: ...
@overload
def public(*, reason: str = ...) -> Callable[[Anything], Anything]: ...
def public(view: Anything | None = None, *more: object, reason: str = "") -> Any:
    """Mark a view as open to all clients: where all are closed by default, and for the audit of routes.

    Django's ``LoginRequiredMiddleware`` leaves it open, too. It changes nothing else. Use it with or without
    parentheses, on a function, on a class-based view or a view set, on a method of one, or around what
    ``as_view()`` returns.

    Args:
        view: The view.
        *more: Nothing; a second positional argument is an error.
        reason: Why it is public, for the audit of routes.

    Returns:
        The same view; with parentheses, the decorator.

    Raises:
        TypeError: It is no view, or has ``@require_auth``.
    """
    opened = opener(_PACKAGE, view, reason, more)
    return _not_for_sign_in(opened) if view is not None else lambda one: _not_for_sign_in(opened(one))


def _not_for_sign_in(view: Anything) -> Anything:
    """Return the view, open for ``LoginRequiredMiddleware``, which reads one attribute."""
    if not isinstance(view, type):
        with suppress(AttributeError):  # a bound method has none of its own
            _needs_no_login(view)
    elif "dispatch" in dir(view):
        method_decorator(_needs_no_login, name="dispatch")(view)
    return view


def _needs_no_login(view: Anything) -> Anything:
    """Do what Django's ``login_not_required`` does, whose module a project without users does not have loaded."""
    view.login_required = False  # type: ignore[attr-defined]
    return view


decorator(require_auth, _PACKAGE, "require_auth")
decorator(optional_auth, _PACKAGE, "optional_auth")


def _decorator(name: str, judge: Judge, requirements: Requirements, view: Any, more: tuple[object, ...]) -> Any:
    if view is None and not more:
        return decorator(Undecorated(_gated, name, judge, requirements), _PACKAGE, name, requirements)
    check_target(view, name, _IN_A_CLASS, more)
    assert view is not None
    return _gated(name, judge, requirements, view)


def _gated(name: str, judge: Judge, requirements: Requirements, view: View) -> View:
    check_target(view, name, _IN_A_CLASS)
    gate = _async_gate if _is_async(view) else _sync_gate
    gated = gate(judge, requirements, view)
    return cast(View, register_gate(gated, view, _PACKAGE, name, requirements))


def _sync_gate(judge: Judge, requirements: Requirements, view: Callable[..., Any]) -> Callable[..., Any]:
    asks_nothing_more = requirements.asks_nothing_more
    is_simple = judge is check and asks_nothing_more

    @wraps(view)
    def gate(request: Any = None, *args: Any, **kwargs: Any) -> Any:
        # Each request comes here, and each function takes time: `identity_of` is called where there is none.
        identity: Identity = getattr(request, ATTRIBUTE, None) or identity_of(request)
        auth = identity.auth  # the usual ends of `meet` follow, without its call
        if auth is None:
            auth = identity.verify(requirements)
        elif not asks_nothing_more:
            auth = identity.meet(requirements)
        error = None if is_simple and auth.is_authenticated else judge(auth, requirements)
        if error is not None:
            return reject(request, error)
        response = view(request, *args, **kwargs)
        # Here and not only in the middleware: a `cache_page` around the gate must see that this page is private.
        # A result that is not a response is passed on as it is: Django's own error for it is clearer.
        return (
            with_effects(identity, response, sets_cookies=False)
            if isinstance(response, HttpResponseBase)
            else response
        )

    return gate


def _async_gate(judge: Judge, requirements: Requirements, view: Callable[..., Any]) -> Callable[..., Any]:
    asks_nothing_more = requirements.asks_nothing_more
    is_simple = judge is check and asks_nothing_more

    @wraps(view)
    async def gate(request: Any = None, *args: Any, **kwargs: Any) -> Any:
        identity: Identity = getattr(request, ATTRIBUTE, None) or identity_of(request)
        auth = identity.auth
        if auth is None or not asks_nothing_more:
            auth = await identity.ameet(requirements)
        error = None if is_simple and auth.is_authenticated else judge(auth, requirements)
        if error is not None:
            return await areject(request, error)
        response = view(request, *args, **kwargs)
        if isawaitable(response):
            response = await response
        return (
            with_effects(identity, response, sets_cookies=False)
            if isinstance(response, HttpResponseBase)
            else response
        )

    return gate


def _is_async(view: Callable[..., Any]) -> bool:
    """Return whether the view's caller awaits its result, as for ``dispatch`` in a class of async handlers."""
    method = view.func if isinstance(view, partial) else view  # `method_decorator` passes a partial
    owner = getattr(method, "__self__", None)
    return iscoroutinefunction(view) or (
        getattr(method, "__name__", "") == "dispatch" and bool(getattr(owner, "view_is_async", False))
    )
