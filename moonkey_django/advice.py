"""Notes on exceptions of a project that come from a usual mistake: of one with the middleware, or without it."""

from __future__ import annotations

from django.http import HttpRequest

from moonkey_core.web.advice import explain
from moonkey_django.identity import peek_auth

_NO_MIDDLEWARE = (
    'This request has not passed MoonKey. Add "moonkey_django.MoonKeyMiddleware" to MIDDLEWARE. A request of '
    "RequestFactory passes no middleware: in a test, take django.test.Client."
)
_SAFE = "non-dict objects to be serialized set the safe parameter"
_NO_DICT = "If this is MoonKey's User or Session: JsonResponse(user.to_dict())."
_REST_USER = "Object of type RestUser is not JSON serializable"
_NO_REST_USER = "This is request.user of REST framework: return request.user.moonkey.to_dict()."


def explain_uncaught(request: HttpRequest | None, error: BaseException) -> None:
    """Add a note to an exception that no code of the project has handled, before Django logs it."""
    if isinstance(error, AttributeError) and error.name in ("moonkey", "amoonkey"):
        if isinstance(error.obj, HttpRequest):
            error.add_note(_NO_MIDDLEWARE)
    elif isinstance(error, TypeError) and _SAFE in str(error):
        error.add_note(_NO_DICT)
    elif isinstance(error, TypeError) and str(error) == _REST_USER:
        error.add_note(_NO_REST_USER)
    elif request is not None:
        explain(error, peek_auth(request))
