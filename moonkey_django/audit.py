"""The audit of a Django project: :func:`moonkey_core.audit.audit_routes` reads its URL configuration here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import get_resolver
from django.utils.module_loading import import_string
from django.views.generic.base import View

from moonkey_core.audit import (
    Endpoint,
    Found,
    RouteAudit,
    by_methods,
    contradictions,
    idle_methods,
    judged,
    name_of,
)
from moonkey_core.errors import ConfigurationError
from moonkey_core.web.marks import applied_later, called_by, cells_of, marks_on, vars_of
from moonkey_core.web.placement import Registered, attribute, misplaced_gates
from moonkey_django.channels_routes import consumers
from moonkey_django.closed import (
    PACKAGE,
    handlers_of,
    is_of_the_admin,
    is_opened_by_django,
)
from moonkey_django.conf import configuration
from moonkey_django.gates import DJANGO, registered
from moonkey_django.static_files import serves_files

_FRAMEWORKS = ("django", "rest_framework", "moonkey_django")
_DECORATORS = ("django.contrib.auth.decorators", "django.contrib.admin.views.decorators")
_CLOSED_BY = 'MOONKEY["REQUIRED"]'
_ORDER = {name: place for place, name in enumerate(("get", "post", "put", "patch", "delete", "trace"))}
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOGIN_REQUIRED = ("django.contrib.auth.middleware", "LoginRequiredMiddleware")
_ACCESS_MIXIN = ("django.contrib.auth.mixins", "AccessMixin")
_LOGOUT = ("django.contrib.auth.views", "LogoutView")
_REST_HINT = (
    "The permissions of REST framework let all requests pass. Put @require_auth or RequireAuthMixin on it, set "
    "permission_classes, or mark it with @public."
)
_HINT = "Put @require_auth or RequireAuthMixin on it, or mark it with @public."


def audit_routes(urlconf: str | None = None) -> RouteAudit:
    """Return the audit of the Django project of the current settings, which has been set up.

    Args:
        urlconf: The module of the URL configuration; that of the settings if left out.

    Raises:
        ConfigurationError: A setting of MoonKey is wrong.
    """
    resolver = get_resolver(urlconf)
    stack = [one for one in map(_imported, settings.MIDDLEWARE) if one is not None]
    closed_by, login_required = _closed_by(stack), _login_required(stack)
    noted: list[ConfigurationError] = []
    found = list(registered(resolver, "", noted.append))
    endpoints = [row for one in found for row in _rows(one, closed_by, login_required)]
    endpoints += consumers()
    void = [*map(str, noted), *misplaced_gates(found, DJANGO), *_void_gates(found)]
    return RouteAudit(framework="Django", endpoints=tuple(endpoints), void_gates=tuple(dict.fromkeys(void)))


def check_routes(**_kwargs: Any) -> list[CheckMessage]:
    """Check each route. W030: it is unprotected, and not marked as public. E031: a gate protects nothing."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        audit = audit_routes()
    except ConfigurationError:
        return []  # other checks report it
    hint = "manage.py moonkey_routes lists all routes."
    found: list[CheckMessage] = [Error(one, hint=hint, id="moonkey.E031") for one in audit.void_gates]
    return found + [
        Warning(f"{one.where} is unprotected: {one.view}.", hint=one.hint, id="moonkey.W030")
        for one in audit.unprotected
    ]


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError:
        return None


def _closed_by(stack: Iterable[Any]) -> str:
    from moonkey_django.middleware import MoonKeyMiddleware

    has_ours = any(isinstance(one, type) and issubclass(one, MoonKeyMiddleware) for one in stack)
    return _CLOSED_BY if has_ours and configuration().required else ""


def _login_required(stack: Iterable[Any]) -> str:
    has_it = any(isinstance(one, type) and _is_in(one, _LOGIN_REQUIRED) for one in stack)
    return "LoginRequiredMiddleware" if has_it else ""


def _rows(one: Registered, closed_by: str, login_required: str) -> Iterator[Endpoint]:
    view: Any = one.view
    yield from by_methods(_row(view, method, one.where, closed_by, login_required) for method in _methods_of(view))


def _methods_of(view: Any) -> list[str]:
    actions = attribute(view, "actions")
    if isinstance(actions, dict):
        return [name.upper() for name in actions if name not in ("head", "options")]
    owner = attribute(view, "cls") or attribute(view, "view_class")
    if isinstance(owner, type):
        names = attribute(owner, "http_method_names") or ()
        # In a fixed order: @api_view lists them as a set.
        own = sorted({*names} - {"head", "options"}, key=lambda name: (_ORDER.get(name, 9), name))
        return [name.upper() for name in own if callable(attribute(owner, name))] or ["ANY"]
    for wrapped in called_by(view):
        listed = cells_of(wrapped).get("request_method_list")
        if isinstance(listed, list | tuple):
            return [name for name in listed if name != "HEAD"] or ["HEAD"]
    return ["ANY"]


def _row(view: Any, method: str, path: str, closed_by: str, login_required: str) -> Endpoint:
    handlers = handlers_of(view, method)
    is_open, is_admin = is_opened_by_django(view), is_of_the_admin(view)
    guard = "the admin" if is_admin else _guard_of(view, *handlers) or _permissions_of(view, method)
    if not guard and login_required and attribute(view, "login_required") is not False:
        guard = login_required
    found = Found(
        closed_by="" if is_admin else closed_by,
        guard=guard,
        nature=_nature_of(view, closed_by, is_open=is_open),
        hint=_REST_HINT if _is_rest(view) else _HINT,
    )
    marks = marks_on(view, *handlers)
    return judged((method, path), name_of(view, handlers), marks, found, PACKAGE)


def _nature_of(view: Any, closed_by: str, *, is_open: bool) -> str:
    if serves_files(view):
        return "static files"
    if is_open:
        return "@login_not_required"
    owner = attribute(view, "view_class")
    is_logout = (attribute(owner, "__module__"), attribute(owner, "__name__")) == _LOGOUT
    return "Django's own sign-out" if is_logout and not closed_by else ""


def _guard_of(view: Any, *handlers: Any) -> str:
    """Return which of Django's own gates stands before a view: a decorator, or a mixin of its class."""
    owner = attribute(view, "view_class")
    dispatch = vars_of(owner, "dispatch") if isinstance(owner, type) else None
    for start in (view, dispatch, *handlers):
        for one in called_by(start):
            if _is_decorator(one) and attribute(attribute(one, "__code__"), "co_name") == "_view_wrapper":
                return _test_of(one)
            for later in applied_later(one):
                if _is_decorator(later) and attribute(later, "__name__") != "login_not_required":
                    return _test_of(later)
    return next((kind.__name__ for kind in _mixins_of(owner, in_front=True)), "")


def _is_decorator(function: Any) -> bool:
    names = attribute(function, "__globals__") or {}
    return attribute(function, "__code__") is not None and names.get("__name__") in _DECORATORS


def _test_of(function: Any) -> str:
    """Return the name of the decorator: that whose test the function runs, else its own."""
    test = cells_of(function).get("test_func")
    name = str(attribute(test, "__qualname__") or "").partition(".")[0]
    if not name or name == "<lambda>":
        name = "user_passes_test" if test is not None else str(function.__name__)
    return f"@{name}"


def _mixins_of(owner: Any, *, in_front: bool) -> Iterator[type]:
    """Yield the access mixins of a class that check something: those in front of ``View``, or those behind it."""
    if not isinstance(owner, type) or View not in owner.__mro__:
        return
    order = owner.__mro__
    for kind in order:
        is_mixin = _is_in(kind, _ACCESS_MIXIN) and _named(kind) != _ACCESS_MIXIN and View not in kind.__mro__
        if is_mixin and "dispatch" in vars(kind) and (order.index(kind) < order.index(View)) is in_front:
            yield kind


def _is_in(kind: type, base: tuple[str, str]) -> bool:
    """Return whether a class has a base of this module and name. Their import may need apps that are missing."""
    return any(_named(one) == base for one in kind.__mro__)


def _named(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__name__


def _is_rest(view: Any) -> bool:
    return attribute(attribute(view, "cls"), "permission_classes") is not None


def _permissions_of(view: Any, method: str) -> str:
    """Return the permissions of REST framework that ask something of a request with this method, by name."""
    rest = sys.modules.get("rest_framework.views")
    if rest is None or not _is_rest(view):
        return ""
    owner = view.cls
    if owner.get_permissions is not rest.APIView.get_permissions:
        return f"get_permissions of {owner.__qualname__}"
    given = attribute(view, "initkwargs") or {}
    classes = given.get("permission_classes", owner.permission_classes)
    return ", ".join(_permission_name(one) for one in classes if _asks(one, method))


def _asks(permission: Any, method: str) -> bool:
    """Return whether a permission, or a combination of them, asks something of a request with this method."""
    permissions = sys.modules["rest_framework.permissions"]
    if (combination := attribute(permission, "operator_class")) is not None:
        first, second = attribute(permission, "op1_class"), attribute(permission, "op2_class")
        if combination is permissions.OR:
            return _asks(first, method) and _asks(second, method)
        if combination is permissions.AND:
            return _asks(first, method) or _asks(second, method)
        return True
    if not isinstance(permission, type):
        return True
    if issubclass(permission, permissions.AllowAny):
        return False
    # Not `A | B`: of these classes that is a permission.
    readers = (permissions.IsAuthenticatedOrReadOnly, permissions.DjangoModelPermissionsOrAnonReadOnly)
    is_reader = any(issubclass(permission, one) for one in readers)
    if is_reader and method in _SAFE:
        return False
    own: Any = permission
    return own.has_permission is not permissions.BasePermission.has_permission


def _permission_name(permission: Any) -> str:
    return str(attribute(permission, "__name__") or "a combination of permissions")


def _void_gates(found: Iterable[Registered]) -> Iterator[str]:
    called: dict[type, set[str]] = {}
    for one in found:
        view: Any = one.view
        yield from contradictions(one.where, view, marks_on(view), PACKAGE)
        owner = attribute(view, "cls") or attribute(view, "view_class")
        if not isinstance(owner, type):
            continue
        names = called.setdefault(owner, {"dispatch", "setup", "options", "head"})
        actions = attribute(view, "actions")
        names |= set(actions.values()) if isinstance(actions, dict) else set(owner.http_method_names)  # type: ignore[attr-defined]
        for mixin in _mixins_of(owner, in_front=False):
            yield (
                f"{one.where}: {mixin.__name__} in {owner.__qualname__} protects nothing, as it stands behind the "
                f"view. Write it first: class {owner.__name__}({mixin.__name__}, …)."
            )
    for owner, names in called.items():
        yield from idle_methods(owner, names, _FRAMEWORKS)
