"""Every view asks for a sign-in, but those that say otherwise. Imported only where ``MIDDLEWARE`` names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import middleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from moonkey_core.errors import MoonKeyError
from moonkey_django.responses import reject


class LoginRequiredMiddleware(middleware.LoginRequiredMiddleware):
    """Django's own, for when it cannot be known who is asking.

    Views with ``@login_not_required`` run without anybody being looked at; Django's own looks first in its older
    versions (5.2), and would refuse them too. Other views are answered with our 503, and nothing of it is an error
    in Django's log.
    """

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        try:
            return super().process_view(request, view_func, view_args, view_kwargs)
        except MoonKeyError as error:
            return reject(request, error)
