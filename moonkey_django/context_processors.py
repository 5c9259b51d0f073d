"""The identity of a request in its templates."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from moonkey_django.identity import identity_of


def moonkey(request: HttpRequest) -> dict[str, Any]:
    """Give templates the ``Auth`` of the request as ``moonkey``.

    As in ``{{ moonkey.user }}``, ``{{ moonkey.session }}`` and ``{% if moonkey.is_authenticated %}``. The
    credential is not verified unless the template reads one of these.
    """
    # An error page of a middleware outside of MoonKey's has no identity: an error only if its template reads one.
    missing = SimpleLazyObject(partial(identity_of, request))
    return {"moonkey": getattr(request, "moonkey", missing)}
