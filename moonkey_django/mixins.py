"""The gate in front of a class-based view."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, cast

from django.utils.decorators import classonlymethod
from django.views.generic.base import View

from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import ClaimDemand, RequirementOptions, own_attributes, similar_requirements
from moonkey_django.decorators import require_auth


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

    @classonlymethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:  # views of other kinds say more of what they return
        names = RequirementOptions.__optional_keys__
        _check_names(cls, names, initkwargs)
        asked = {name: initkwargs.get(name, getattr(cls, name)) for name in names}
        gate = require_auth(**cast(RequirementOptions, asked))
        return gate(super().as_view(*args, **initkwargs))


def _check_names(view: type, names: frozenset[str], initkwargs: Mapping[str, Any]) -> None:
    found = similar_requirements(
        {*initkwargs, *own_attributes(view, "django", "rest_framework", "moonkey_django")}
    )
    for name, meant in found.items():
        if name not in names:
            raise ConfigurationError(
                f"{view.__qualname__} has {name!r}, which demands nothing of anybody. Did you mean {meant!r}? "
                "If not, call it something else."
            )
