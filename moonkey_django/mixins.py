"""The gate in front of a class-based view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.utils.decorators import classonlymethod

from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import ClaimDemand, RequirementOptions, like_demands, own_attributes
from moonkey_django.decorators import require_auth

if TYPE_CHECKING:
    # django-stubs has a type of view for each type of response: the mixin must go with all of them.
    View = object
else:
    from django.views.generic.base import View


class RequireAuthMixin(View):
    """Run the view only for a request with a verified user and session, whatever its method; sync and async.

    ``class MyView(RequireAuthMixin, TemplateView)``, as the first of the bases. The gate stands before the whole
    view, ``setup()`` and every ``dispatch()`` included. The attributes are what
    :func:`~moonkey_django.decorators.require_auth` takes.

    ``as_view()`` raises :class:`~moonkey_core.errors.ConfigurationError` for an attribute with nearly the name of
    one of these, which would demand nothing, and ``ValueError`` for a wrong value.
    """

    max_staleness: float | None = None
    grace_seconds: float | None = None
    factors: AbstractSet[str] | None = None
    factor_count: int | None = None
    factor_max_age: timedelta | None = None
    session_max_age: timedelta | None = None
    claims: Mapping[str, ClaimDemand] | None = None
    scopes: AbstractSet[str] | None = None
    roles: AbstractSet[str] | None = None
    permissions: AbstractSet[str] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        first = next(one for one in cls.__mro__ if "as_view" in vars(one))
        if first.__module__ == "rest_framework.viewsets":  # it asks nobody further
            raise ConfigurationError(
                f"RequireAuthMixin stands after a view set in {cls.__qualname__}, whose as_view() passes it by. "
                f"Put it first: class {cls.__name__}(RequireAuthMixin, …)."
            )

    if not TYPE_CHECKING:  # to type checkers, it returns what the view's own kind does

        @classonlymethod
        def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
            return _gate_of(cls, initkwargs)(super().as_view(*args, **initkwargs))


def _gate_of(view: type, initkwargs: Mapping[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = RequirementOptions.__optional_keys__
    _check_names(view, names, initkwargs)
    asked = {name: initkwargs.get(name, getattr(view, name)) for name in names}
    return require_auth(**cast(RequirementOptions, asked))


def _check_names(view: type, names: frozenset[str], initkwargs: Mapping[str, Any]) -> None:
    found = like_demands({*initkwargs, *own_attributes(view, "django", "rest_framework", "moonkey_django")})
    for name, meant in found.items():
        if name not in names:
            raise ConfigurationError(
                f"{view.__qualname__} has {name!r}, which demands nothing of anybody. Did you mean {meant!r}? "
                "If not, call it something else."
            )
