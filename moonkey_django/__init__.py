"""MoonKey for Django: middleware, a decorator and a mixin; system checks through ``INSTALLED_APPS``.

Importing this needs no configured settings and loads no models.
"""

from moonkey_core.extras import needs

with needs("django", extra="django"):
    import django as _django  # noqa: F401

from moonkey_django.conf import get_async_client, get_client
from moonkey_django.decorators import optional_auth, public, require_auth
from moonkey_django.identity import AuthenticatedRequest, MoonKeyRequest
from moonkey_django.middleware import MoonKeyMiddleware
from moonkey_django.mixins import RequireAuthMixin
from moonkey_django.responses import set_cookies
from moonkey_django.routes import session_routes
from moonkey_django.streams import bound_stream

__all__ = [
    "AuthenticatedRequest",
    "MoonKeyMiddleware",
    "MoonKeyRequest",
    "RequireAuthMixin",
    "bound_stream",
    "get_async_client",
    "get_client",
    "optional_auth",
    "public",
    "require_auth",
    "session_routes",
    "set_cookies",
]
