"""System checks of REST framework's views: who reads the credential, and what stands in the wrong list."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import get_resolver

from moonkey_core.errors import ConfigurationError
from moonkey_core.web.placement import Registered, attribute, kind_of
from moonkey_django.conf import configuration
from moonkey_django.gates import registered
from moonkey_django.mixins import RequireAuthMixin

_FOR_USERS = ("IsAuthenticated", "IsAdminUser", "IsAuthenticatedOrReadOnly", "DjangoModelPermissions")
_OF_DJANGO = ("SessionAuthentication", "BasicAuthentication")
_OURS = "moonkey_django.rest_framework.MoonKeyAuthentication"


def check_rest(**_kwargs: Any) -> list[CheckMessage]:
    """Check REST framework's views.

    W015: a permission asks for a user, and no authentication class of the view knows MoonKey's. E016: an
    authentication class, a mixin or a gate is among the permissions, or the other way round.
    """
    if "rest_framework.views" not in sys.modules or not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        maps_users = configuration().users is not None
        views = [one for one in registered(get_resolver(), "") if _has_permissions(one.view)]
    except ConfigurationError:
        return []  # other checks report it
    found: list[CheckMessage] = [message for one in views for message in _misplaced(one)]
    if not (maps_users or found):
        waiting = next((one for one in views if _waits_for_user(one.view)), None)
        found += [] if waiting is None else [_unknown_user(waiting)]
    return found


def _has_permissions(view: object) -> bool:
    return attribute(attribute(view, "cls"), "permission_classes") is not None


def _listed(view: Any, name: str) -> list[Any]:
    """Return a list of classes of a view, as ``as_view()`` or an ``@action`` may have changed it."""
    given = attribute(view, "initkwargs") or {}
    found = given.get(name, attribute(view.cls, name))
    return list(found) if isinstance(found, list | tuple) else []


def _waits_for_user(view: Any) -> bool:
    """Return whether a view asks for a user of Django's own sign-in, which MoonKey does not do."""
    own = "rest_framework.views", "APIView"
    for name in ("get_authenticators", "get_permissions"):
        function = attribute(view.cls, name)
        if (
            f"{attribute(function, '__module__')}.{attribute(function, '__qualname__')}"
            != f"{own[0]}.{own[1]}.{name}"
        ):
            return False  # what it returns cannot be seen
    is_known = any(not _is_of_rest(one, _OF_DJANGO) for one in _listed(view, "authentication_classes"))
    return not is_known and any(map(_asks_for_user, _listed(view, "permission_classes")))


def _asks_for_user(permission: Any) -> bool:
    if (combination := attribute(permission, "operator_class")) is not None:
        parts = [_asks_for_user(attribute(permission, name)) for name in ("op1_class", "op2_class")]
        return any(parts) if combination.__name__ == "AND" else all(parts)
    if not isinstance(permission, type):
        return False
    return any(_is_of_rest(one, _FOR_USERS) for one in permission.__mro__)


def _is_of_rest(kind: Any, names: tuple[str, ...]) -> bool:
    return str(attribute(kind, "__module__")).startswith("rest_framework.") and kind.__name__ in names


def _unknown_user(one: Registered) -> CheckMessage:
    return Warning(
        f"{one.where} asks for a user by its permission_classes, and none of its authentication_classes knows the "
        "users of MoonKey: a user who is signed in at MoonKey is refused.",
        hint="Write authentication_classes = [MoonKeyAuthentication] in the view, or "
        f'REST_FRAMEWORK = {{"DEFAULT_AUTHENTICATION_CLASSES": ["{_OURS}"]}}. '
        "Silence this where Django itself signs in.",
        id="moonkey.W015",
    )


def _misplaced(one: Registered) -> Iterator[CheckMessage]:
    view: Any = one.view
    for name, wanted, other in (
        ("permission_classes", "has_permission", "authentication_classes"),
        ("authentication_classes", "authenticate", "permission_classes"),
    ):
        for listed in _listed(view, name):
            if callable(attribute(listed, wanted)) and isinstance(listed, type):
                continue
            mend = _mend(listed, name, other)
            if mend:
                yield Error(
                    f"{one.where}: {_name(listed)} does not belong into {name}.", hint=mend, id="moonkey.E016"
                )


def _mend(listed: Any, name: str, other: str) -> str:
    """Return where an object belongs; empty where it is not known."""
    kind = listed if isinstance(listed, type) else type(listed)
    if kind_of(listed) is not None:
        return "Write @require_auth above the view, or use RequireAuthMixin in front of the class."
    if issubclass(kind, RequireAuthMixin):
        return f"Write it first among the bases of the view: class V({kind.__name__}, APIView)."
    wanted = "has_permission" if name == "permission_classes" else "authenticate"
    if callable(attribute(kind, wanted)):
        return f"Leave out its parentheses: {name} = [{kind.__name__}]."
    names = f"{kind.__module__}.{kind.__qualname__}"
    is_ours = any(f"{one.__module__}.{one.__qualname__}" == _OURS for one in kind.__mro__)
    if is_ours or names.startswith("rest_framework."):
        return f"Put it into {other}."
    return ""


def _name(listed: Any) -> str:
    kind = kind_of(listed)
    if kind is not None:
        return kind.name
    return listed.__qualname__ if isinstance(listed, type) else f"{type(listed).__qualname__}()"
