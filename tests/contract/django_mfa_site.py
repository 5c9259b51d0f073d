"""The site of ``contract.mfa_sites`` in Django: views, and the URL configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from contract.mfa_sites import VAULT, YOUNG, parts, told
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from moonkey_django import bound_stream, get_async_client, get_client, require_auth, session_routes


def vault(request: HttpRequest) -> HttpResponse:
    return JsonResponse(told(request.moonkey))  # type: ignore[attr-defined]


async def other_vault(request: Any) -> HttpResponse:
    return JsonResponse(told(await request.amoonkey()))


def plain_stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(bound_stream(request, parts(request.moonkey)))


async def async_stream(request: Any) -> StreamingHttpResponse:
    auth = await request.amoonkey()

    async def each() -> AsyncIterator[str]:
        for part in parts(auth, pause=0.0):
            yield part
            await asyncio.sleep(0.01)

    return StreamingHttpResponse(bound_stream(request, each()))


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


def urls(mode: Any, *, notes_starts: bool, is_async: bool) -> tuple[Any, ...]:
    """Return the URL configuration."""
    return (
        path("vault", require_auth(**VAULT)(vault)),
        path("stream", require_auth(**VAULT)(async_stream if is_async else plain_stream)),
        path("other-vault", require_auth(**VAULT)(other_vault)),
        path("me", require_auth(vault)),
        path("verified", verified),
        path("end", end),
        path("started", started),
        path("auth/", include(session_routes(mode=mode))),
        *([path("young", require_auth(**YOUNG)(vault))] if notes_starts else []),
    )
