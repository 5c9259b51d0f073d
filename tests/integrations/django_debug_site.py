"""A Django site with django-debug-toolbar; imported where the toolbar is one of the installed apps."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path

from moonkey_django import MoonKeyRequest


def shown(request: MoonKeyRequest) -> HttpResponse:
    """Two templates, whose contexts the panel compares."""
    render(request, "plain.html", {"moonkey": "a text", "who": request.moonkey})
    return render(request, "plain.html", {"who": request.moonkey})


async def ashown(request: MoonKeyRequest) -> HttpResponse:
    return shown(request)


def reading(request: HttpRequest) -> HttpResponse:
    return render(request, "reading.html")


urlpatterns = [
    path("shown", shown),
    path("ashown", ashown),
    path("reading", reading),
    path("__debug__/", include("debug_toolbar.urls")),
]
