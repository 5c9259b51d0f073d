"""The gate in front of a class-based view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, cast

from django.utils.decorators import classonlymethod
from django.views.generic.base import View

from moonkey_core.gate import ClaimDemand, RequirementOptions
from moonkey_django.decorators import require_auth


class RequireAuthMixin(View):
    """Run the view only for a request with a verified user and session, whatever its method; sync and async.

    ``class MyView(RequireAuthMixin, TemplateView)``, as the first of the bases. The gate stands before the whole
    view, ``setup()`` and every ``dispatch()`` included. The attributes are what
    :func:`~moonkey_django.decorators.require_auth` takes.
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

    @classonlymethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Callable[..., Any]:
        names = RequirementOptions.__optional_keys__
        asked = {name: initkwargs.get(name, getattr(cls, name)) for name in names}
        gate = require_auth(**cast(RequirementOptions, asked))
        # REST framework's view sets have an argument.
        view: Callable[..., Any] = cast(Any, super()).as_view(*args, **initkwargs)
        return gate(view)
