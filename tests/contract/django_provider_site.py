"""The site of ``contract.provider_sites`` in Django: views, and the URL configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.provider_sites import end, state, told
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.csrf import csrf_exempt

from moonkey_core.gate import RequirementOptions
from moonkey_django import get_async_client, get_client, require_auth, session_routes


def protected(request: HttpRequest) -> HttpResponse:
    return JsonResponse(told(request.moonkey))  # type: ignore[attr-defined]


async def other_colour(request: HttpRequest) -> HttpResponse:
    return JsonResponse(told(request.moonkey))  # type: ignore[attr-defined]


def optional(request: HttpRequest) -> HttpResponse:
    return JsonResponse(state(request.moonkey))  # type: ignore[attr-defined]


@csrf_exempt
@require_auth
def end_own(request: Any) -> HttpResponse:
    client = get_async_client() if isinstance(request, ASGIRequest) else get_client()
    return JsonResponse(end(client, request.moonkey))


def urls(demands: Mapping[str, RequirementOptions]) -> tuple[URLPattern | URLResolver, ...]:
    """Return the URL configuration."""
    return (
        path("protected", require_auth(protected)),
        path("other-colour", require_auth(other_colour)),
        path("optional", optional),
        path("end", end_own),
        path("auth/", include(session_routes(mode="header"))),
        *(path(name.lstrip("/"), require_auth(**demand)(protected)) for name, demand in demands.items()),
    )
