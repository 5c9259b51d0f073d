"""The identity of a request in its templates."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from moonkey_core.auth import Auth
from moonkey_core.web.lazy import LazyAuth
from moonkey_django.identity import identity_of


class _Missing:
    """The source of an identity that a request does not have. Reading it raises the error that says why."""

    __slots__ = ("_request",)

    auth = None

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def read(self) -> Auth:
        """Return the identity, where the request has got one meanwhile."""
        return identity_of(self._request).read()


def moonkey(request: HttpRequest) -> dict[str, Any]:
    """Give templates the ``Auth`` of the request as ``moonkey``.

    As in ``{{ moonkey.user }}``, ``{{ moonkey.session }}`` and ``{% if moonkey.is_authenticated %}``. The
    credential is not verified unless the template reads one of these.
    """
    # An error page of a middleware outside of MoonKey's has no identity: an error only if its template reads one.
    found = getattr(request, "moonkey", None)  # `or` would verify the credential
    return {"moonkey": LazyAuth(_Missing(request)) if found is None else found}
