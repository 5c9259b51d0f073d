"""A replacement for Django's ``LoginRequiredMiddleware``.

Imported only where ``MIDDLEWARE`` names it or, with ``MOONKEY["USERS"]``, by the system checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import middleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from moonkey_core.errors import MoonKeyError
from moonkey_django.responses import reject


class LoginRequiredMiddleware(middleware.LoginRequiredMiddleware):
    """Django's middleware, made to handle an identity that cannot be determined.

    Every view requires a sign-in, except those with ``@login_not_required``. These run without a read of the
    identity; Django's own middleware reads it first in older versions (5.2), and would refuse these requests too.
    For the other views the response is MoonKey's 503, and Django's log has no error.
    """

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        """Return the response for a request without a sign-in; ``None`` where the view is to run."""
        if not getattr(view_func, "login_required", True):
            return None
        try:
            return super().process_view(request, view_func, view_args, view_kwargs)
        except MoonKeyError as error:
            return reject(request, error)
