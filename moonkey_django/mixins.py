"""The gate in front of a class-based view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.utils.decorators import classonlymethod

from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import ClaimDemand, RequirementOptions, own_attributes, similar_requirements
from moonkey_django.decorators import require_auth

if TYPE_CHECKING:
    # django-stubs has a type of view for each type of response: the mixin must go with all of them.
    View = object
else:
    from django.views.generic.base import View


class RequireAuthMixin(View):
    """Run the view only for a request with a verified user and session, whatever its method; sync and async.

    Write it as the first of the bases: ``class MyView(RequireAuthMixin, TemplateView)``. The gate stands before
    the whole view, ``setup()`` and every ``dispatch()`` included. The attributes are the keyword arguments of
    :func:`~moonkey_django.decorators.require_auth`.

    Raises:
        ConfigurationError: The mixin stands after a view set; or, from ``as_view()``, the name of an attribute is
            a near miss of a requirement, which would have no effect.
        ValueError: An attribute has a wrong value; from ``as_view()``.
    """

    max_staleness: float | None = None
    grace_seconds: float | None = None
    factors: AbstractSet[str] | None = None
    factor_count: int | None = None
    factor_max_age: timedelta | None = None
    session_max_age: timedelta | None = None
    acr_values: Sequence[str] | AbstractSet[str] | None = None
    max_age: timedelta | None = None
    mfa_max_age: timedelta | None = None
    claims: Mapping[str, ClaimDemand] | None = None
    scopes: AbstractSet[str] | None = None
    roles: AbstractSet[str] | None = None
    permissions: AbstractSet[str] | None = None
    allow_actor: bool = True
    allow_machines: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        first = next(one for one in cls.__mro__ if "as_view" in vars(one))
        if first.__module__ == "rest_framework.viewsets":  # its as_view() does not call the next one
            raise ConfigurationError(
                f"RequireAuthMixin stands after a view set in {cls.__qualname__}, whose as_view() passes it by. "
                f"Put it first: class {cls.__name__}(RequireAuthMixin, …)."
            )

    if not TYPE_CHECKING:  # for type checkers, the result has the type of the view's own as_view()

        @classonlymethod
        def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
            """Return the view behind the gate.

            Args:
                *args: Those of the view's own ``as_view()``.
                **initkwargs: Those of the view's own ``as_view()``; a requirement here replaces the attribute.

            Raises:
                ConfigurationError: A name is a near miss of a requirement, which would have no effect.
                ValueError: A requirement has a wrong value.
            """
            if args and isinstance(args[0], str):  # Flask's as_view() takes the name of the endpoint
                raise TypeError(
                    "RequireAuthMixin is for Django's views. In Flask, write decorators = [require_auth] in the "
                    "class, with require_auth from moonkey_flask."
                )
            return _gate_of(cls, initkwargs)(super().as_view(*args, **initkwargs))


def _gate_of(view: type, initkwargs: Mapping[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = RequirementOptions.__optional_keys__
    _check_names(view, names, initkwargs)
    asked = {name: initkwargs.get(name, getattr(view, name)) for name in names}
    return require_auth(**cast(RequirementOptions, asked))


def _check_names(view: type, names: frozenset[str], initkwargs: Mapping[str, Any]) -> None:
    found = similar_requirements(
        {*initkwargs, *own_attributes(view, "django", "rest_framework", "moonkey_django")}
    )
    for name, meant in found.items():
        if name not in names:
            raise ConfigurationError(
                f"{view.__qualname__} has {name!r}, which demands nothing. Did you mean {meant!r}? "
                "If not, call it something else."
            )
