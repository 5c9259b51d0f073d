"""Notes on exceptions of a project that come from a usual mistake: of one with the middleware, or without it."""

from __future__ import annotations

from django.http import HttpRequest

from moonkey_core.web.advice import explain
from moonkey_django.identity import peek_auth

_NO_MIDDLEWARE = (
    'This request has not passed MoonKey. Add "moonkey_django.MoonKeyMiddleware" to MIDDLEWARE. A request of '
    "RequestFactory passes no middleware: in a test, take django.test.Client."
)


def explain_uncaught(request: HttpRequest | None, error: BaseException) -> None:
    """Add a note to an exception that no code of the project has handled, before Django logs it."""
    if isinstance(error, AttributeError) and error.name in ("moonkey", "amoonkey"):
        if isinstance(error.obj, HttpRequest):
            error.add_note(_NO_MIDDLEWARE)
    elif request is not None:
        explain(error, peek_auth(request))
