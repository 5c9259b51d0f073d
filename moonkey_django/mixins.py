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
    ``dispatch()`` included.
    """

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        return require_auth(super().as_view(**initkwargs))
