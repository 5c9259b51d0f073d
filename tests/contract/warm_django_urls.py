"""The routes of the Django app whose requests are counted."""

from __future__ import annotations

from typing import Any

from contract.warm_apps import view
from django.http import HttpResponse, JsonResponse
from django.urls import path

from moonkey_django import require_auth


@require_auth
def protected(request: Any) -> HttpResponse:
    return JsonResponse(view.answer(request.moonkey.user, request.moonkey.session))


@require_auth
async def protected_async(request: Any) -> HttpResponse:
    auth = await request.amoonkey()
    return JsonResponse(view.answer(auth.user, auth.session))


def anyone(request: Any) -> HttpResponse:
    return JsonResponse({})


async def anyone_async(request: Any) -> HttpResponse:
    return JsonResponse({})


urlpatterns = [path("protected", protected), path("open", anyone)]
