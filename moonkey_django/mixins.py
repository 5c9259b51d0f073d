"""The gate in front of a class-based view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.decorators import classonlymethod
from django.views.generic.base import View

from moonkey_django.decorators import require_auth


class RequireAuthMixin(View):
    """Run the view only for a request with a verified user and session, whatever its method; sync and async.

    ``class MyView(RequireAuthMixin, TemplateView)``. The gate stands before the whole view, ``setup()`` and every
    ``dispatch()`` included. The attributes are what :func:`~moonkey_django.decorators.require_auth` takes.
    """

    max_staleness: float | None = None
    grace_seconds: float | None = None

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        gate = require_auth(
            max_staleness=initkwargs.get("max_staleness", cls.max_staleness),
            grace_seconds=initkwargs.get("grace_seconds", cls.grace_seconds),
        )
        return gate(super().as_view(**initkwargs))
