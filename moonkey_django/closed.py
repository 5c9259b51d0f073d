"""Closed by default: with ``MOONKEY["REQUIRED"]`` each view requires a sign-in, unless it is marked as open."""

from __future__ import annotations

from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from moonkey_core.gate import Requirements, check
from moonkey_core.web.marks import called_by, default_requirements, marks_on, vars_of
from moonkey_core.web.placement import attribute
from moonkey_django.identity import identity_of
from moonkey_django.responses import areject, reject
from moonkey_django.static_files import serves_files

PACKAGE = "moonkey_django"

_MOST_METHODS = 20
_decided: WeakKeyDictionary[object, dict[str, Requirements | None]] = WeakKeyDictionary()

_ADMIN = ("django.contrib.admin.sites", "django.contrib.admin.options")
_ADMIN_WRAPPERS = ("inner", "wrapper")


def refusal(request: HttpRequest, view: Any) -> HttpResponseBase | None:
    """Return the response to a request that is refused by default; ``None`` where the view is to run."""
    requirements = default_for(view, request.method or "")
    if requirements is None:
        return None
    if _is_preflight(request):
        return HttpResponse(status=204)  # it grants nothing, and no view runs for it
    error = check(identity_of(request).meet(requirements), requirements)
    return None if error is None else reject(request, error)


async def arefusal(request: HttpRequest, view: Any) -> HttpResponseBase | None:
    """Return the response to a request that is refused by default; ``None`` where the view is to run."""
    requirements = default_for(view, request.method or "")
    if requirements is None:
        return None
    if _is_preflight(request):
        return HttpResponse(status=204)
    error = check(await identity_of(request).ameet(requirements), requirements)
    return None if error is None else await areject(request, error)


def default_for(view: Any, method: str) -> Requirements | None:
    """Return what the default requires of a request to a view; ``None`` where it is open, or the admin's own."""
    try:
        decided = _decided.setdefault(view, {})
    except TypeError:  # an object without weak references
        return _decide(view, method)
    if method not in decided:
        if len(decided) >= _MOST_METHODS:  # a client can invent methods
            return _decide(view, method)
        decided[method] = _decide(view, method)
    return decided[method]


def _decide(view: Any, method: str) -> Requirements | None:
    if serves_files(view) or is_opened_by_django(view) or is_of_the_admin(view):
        return None
    return default_requirements(marks_on(view, *handlers_of(view, method)), PACKAGE)


def handlers_of(view: Any, method: str) -> tuple[object, ...]:
    """Return the method of a class-based view, or of a view set, that is called for a method of HTTP."""
    owner = attribute(view, "cls") or attribute(view, "view_class")
    if not isinstance(owner, type):
        return ()
    name, actions = method.lower(), attribute(view, "actions")
    if isinstance(actions, dict):
        name = actions.get(name) or (actions.get("get", "") if name == "head" else "")
    elif name == "head" and vars_of(owner, name) is None:
        name = "get"
    found = vars_of(owner, name)
    return () if found is None else (found,)


def is_opened_by_django(view: Any) -> bool:
    """Return whether ``@login_not_required`` is on a view. REST framework puts it on all of its own views."""
    if attribute(attribute(view, "cls"), "authentication_classes") is not None:
        return False
    return attribute(view, "login_required") is False


def is_of_the_admin(view: Any) -> bool:
    """Return whether a view is one of the admin's, which checks the permission of each user itself."""
    return any(
        isinstance(one, FunctionType)
        and one.__globals__.get("__name__") in _ADMIN
        and one.__code__.co_name in _ADMIN_WRAPPERS
        for one in called_by(view)
    )


def _is_preflight(request: HttpRequest) -> bool:
    headers = request.headers
    return request.method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers
