"""The site of ``contract.mfa_sites`` in Django: views, and the URL configuration."""

from __future__ import annotations

from typing import Any

from contract.mfa_sites import VAULT, YOUNG, told
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from moonkey_django import get_async_client, get_client, require_auth, session_routes


def vault(request: HttpRequest) -> HttpResponse:
    return JsonResponse(told(request.moonkey))  # type: ignore[attr-defined]


async def other_vault(request: Any) -> HttpResponse:
    return JsonResponse(told(await request.amoonkey()))


@csrf_exempt
@require_auth
async def verified(request: Any) -> HttpResponse:
    auth = await request.amoonkey()
    if isinstance(request, ASGIRequest):
        return JsonResponse((await get_async_client().mfa.record(auth)).to_dict())
    return JsonResponse(get_client().mfa.record(auth).to_dict())


@csrf_exempt
@require_auth
def end(request: Any) -> HttpResponse:
    get_client().mfa.end(request.moonkey)
    return JsonResponse({})


@csrf_exempt
@require_auth
def started(request: Any) -> HttpResponse:
    return JsonResponse(get_client().sessions.note_start(request.moonkey).to_dict())


def urls(mode: Any, *, notes_starts: bool) -> tuple[Any, ...]:
    """Return the URL configuration."""
    return (
        path("vault", require_auth(**VAULT)(vault)),
        path("other-vault", require_auth(**VAULT)(other_vault)),
        path("me", require_auth(vault)),
        path("verified", verified),
        path("end", end),
        path("started", started),
        path("auth/", include(session_routes(mode=mode))),
        *([path("young", require_auth(**YOUNG)(vault))] if notes_starts else []),
    )
