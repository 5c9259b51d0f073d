"""The search for gates that protect nothing: views that the URLconf names without the gate put on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import URLPattern, URLResolver, get_resolver

from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.web.marks import called_by, cells_of
from moonkey_core.web.placement import (
    Framework,
    Registered,
    attribute,
    check_demands,
    check_once,
    find_misplaced_gate,
    has_gate,
)
from moonkey_django.conf import configuration, get_client
from moonkey_django.mixins import RequireAuthMixin

_ADVICE = (
    "Give path() what require_auth returns: write @require_auth above the function, before anything else uses it, "
    "or path({path!r}, require_auth({name}))."
)


def _right(name: str, _: str, where: str) -> str:
    return _ADVICE.format(path=where.removeprefix("/"), name=name)


DJANGO = Framework("Django", "moonkey_django", (URLPattern, URLResolver), _right)


def check_urls(resolver: URLResolver) -> None:
    """Check that no view is called without its gate. Each resolver is checked once.

    Raises:
        ConfigurationError: A view is called without the gate that was put on it.
    """
    check_once(resolver, lambda: registered(resolver, ""), DJANGO)


def check_requirements(resolver: URLResolver) -> None:
    """Check that the provider can give what the gates of the views require.

    Raises:
        ConfigurationError: A gate requires what can never be met, or a setting is wrong.
    """
    check_demands(registered(resolver, ""), _check)


def _check(requirements: Requirements) -> None:
    get_client().check_requirements(requirements)  # a client is made only where a gate requires freshness


def check_sign_in_of_django(**_kwargs: Any) -> list[CheckMessage]:
    """Check that no view waits for a Django user where MoonKey's users are none. W014: one does."""
    try:
        if configuration().users is not None or not getattr(settings, "ROOT_URLCONF", None):
            return []
    except ConfigurationError:
        return []  # `checks` reports this error
    try:
        where = next((one.where for one in registered(get_resolver(), "") if _waits_for_django(one.view)), None)
    except ConfigurationError:
        return []  # `check_gates` reports this error
    if where is None:
        return []
    return [
        Warning(
            f"{where} is behind login_required of Django, which does not know the users of MoonKey: "
            'MOONKEY["USERS"] is not set, so a user who is signed in at MoonKey is sent to sign in.',
            hint='Use @require_auth there, or set MOONKEY["USERS"]. Silence this where Django itself signs in.',
            id="moonkey.W014",
        )
    ]


def _waits_for_django(view: object) -> bool:
    """Return whether a view of the project itself has ``login_required`` or ``LoginRequiredMixin``."""
    owner = attribute(view, "view_class")
    if str(attribute(owner or view, "__module__")).startswith("django."):
        return False
    if isinstance(owner, type):
        found = {f"{one.__module__}.{one.__qualname__}" for one in owner.__mro__}
        if "django.contrib.auth.mixins.LoginRequiredMixin" in found:
            return True
    tests = (cells_of(one).get("test_func") for one in called_by(view))
    return any(str(attribute(one, "__qualname__")).startswith("login_required.") for one in tests)


def check_gates(**_kwargs: Any) -> list[CheckMessage]:
    """Check the gates of the project's views. E006: a gate protects nothing. E007: its demand can never be met."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    resolver = get_resolver()
    _ = resolver.url_patterns  # Django's own checks report an error in these
    found = find_misplaced_gate(lambda: registered(resolver, ""), DJANGO)
    hint = "What require_auth returns, or a class with RequireAuthMixin in front, has to be what path() is given."
    if found:
        return [Error(found, hint=hint, id="moonkey.E006")]
    try:
        check_requirements(resolver)
    except ConfigurationError as error:
        return [Error(str(error), id="moonkey.E007")]
    return []


def registered(
    resolver: URLResolver, prefix: str, note: Callable[[ConfigurationError], None] | None = None
) -> Iterator[Registered]:
    """Yield the views of a URL configuration, each with its path.

    Args:
        resolver: The resolver.
        prefix: The path of what includes it, without its first slash.
        note: Is told of what is wrong with a view, which is raised otherwise.

    Raises:
        ConfigurationError: A view was made without the gate of its class.
    """
    for one in resolver.url_patterns:
        where = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from registered(one, where, note)
            continue
        try:
            _check_class(one.callback, where)
        except ConfigurationError as error:
            if note is None:
                raise
            note(error)
        yield Registered(one.callback, f"/{where}")


def _check_class(view: Any, where: str) -> None:
    """Raise ``ConfigurationError`` where a class has the mixin, but its view was made without the gate."""
    owner = attribute(view, "view_class") or attribute(view, "cls")
    if isinstance(owner, type) and issubclass(owner, RequireAuthMixin) and not has_gate(view):
        raise ConfigurationError(
            f"/{where} is open to everybody: {owner.__qualname__} has another as_view() than RequireAuthMixin's. "
            f"Write the mixin first: class {owner.__name__}(RequireAuthMixin, …)."
        )
