"""What identities raise, and the refusals that other layers of a project have answered otherwise.

Django itself has no exception that carries a response, so its gates return theirs. What reading an identity raises
is a plain error for Django, and for Django REST framework an ``APIException`` too.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.http.response import HttpResponseBase

from moonkey_core.errors import MoonKeyError
from moonkey_core.web.raised import FrameworkError, as_framework_error
from moonkey_core.web.responses import public_code, public_detail, refusal_headers
from moonkey_django.conf import configuration

_ERROR = "moonkey_error"
"""The attribute of the detail of an ``APIException``, with the error of the core."""


class RestRaiser:
    """Makes what is raised for a request."""

    def to_raise(self, error: MoonKeyError) -> MoonKeyError:
        """Return the error as an ``APIException`` where REST framework is in use; else the error itself.

        It is none of REST framework's own 401s: on a view without authenticator, these become a 403.
        """
        exceptions: Any = sys.modules.get("rest_framework.exceptions")
        if exceptions is None:
            return error
        headers = dict(refusal_headers(error, configuration().settings))
        detail = exceptions.ErrorDetail(public_detail(error), rest_code(error))
        setattr(detail, _ERROR, error)
        return as_framework_error(
            error,
            _api_exception(exceptions.APIException),
            status_code=error.status,
            detail=detail,
            auth_header=headers.get("www-authenticate"),
            wait=int(headers.get("retry-after", 0)),
        )


RAISER = RestRaiser()


@lru_cache(2)
def _api_exception(kind: type[Exception]) -> type[Exception]:
    return type("RestRefusal", (FrameworkError, kind), {"__module__": __name__})


def rest_code(error: MoonKeyError) -> str:
    """Return the ``code`` of an ``APIException``, which some exception handlers send to the client.

    So it is not the reason: that says which check has failed.
    """
    return public_code(error) or HTTPStatus(error.status).name.lower()


def error_behind(response: HttpResponseBase) -> MoonKeyError | None:
    """Return the error that REST framework's own handler has made a response of; ``None`` for other responses."""
    data = getattr(response, "data", None)
    detail = data.get("detail") if isinstance(data, dict) and len(data) == 1 else None
    found: MoonKeyError | None = getattr(detail, _ERROR, None)
    return found
