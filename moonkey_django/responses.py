"""What the core says about a response, written in Django's manner."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from moonkey_core.auth import Auth
from moonkey_core.credentials import presents_any
from moonkey_core.errors import MoonKeyError
from moonkey_core.gate import refusal_of
from moonkey_core.responses import refuse, success_headers
from moonkey_core.settings import Settings
from moonkey_django.conf import configuration
from moonkey_django.identity import Identity, header_view, identity_of


def refused(request: HttpRequest, error: MoonKeyError) -> HttpResponse:
    """The response for an error; it is logged, too."""
    refusal = refuse(error, configuration().settings, header_view(request))
    return HttpResponse(refusal.body, status=refusal.status, headers=dict(refusal.headers))


def refusal_for(request: HttpRequest, auth: Auth) -> HttpResponse | None:
    """The response of a protected view that must not run; ``None`` where it may."""
    error = refusal_of(auth)
    return refused(request, error) if error is not None else None


def with_cache_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """``response``, which tells caches so if it depends on identity. Doing it again changes nothing."""
    identity = identity_of(request)
    settings = configuration().settings
    if _depends_on_identity(identity, response, settings):
        headers = response.headers
        vary = headers.get("Vary")
        found = success_headers(
            Auth() if identity.auth is None else identity.auth,
            settings,
            vary=vary,
            cache_control=headers.get("Cache-Control"),
        )
        for name, value in found.items():
            if name != "vary" or value != vary:
                headers[name] = value
    return response


def _depends_on_identity(identity: Identity, response: HttpResponseBase, settings: Settings) -> bool:
    if identity.is_looked_at:
        return True
    if settings.fresh_jwt_header is not None and identity.auth is not None and identity.auth.fresh is not None:
        return True
    # A stream may look when its headers have long been sent; a file will not.
    may_look_later = response.streaming and not isinstance(response, FileResponse)
    return may_look_later and presents_any(identity.headers, settings)
