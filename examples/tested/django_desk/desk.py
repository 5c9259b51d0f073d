"""A help desk: Django REST framework, views for browsers, and users that Django knows."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from moonkey_django import require_auth


@login_required(login_url="/sign-in")
def tickets(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"Tickets of {request.user.get_username()}")


@require_auth(factors={"totp"}, factor_max_age=timedelta(minutes=5))
def delete_all(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"deleted": True})


@require_auth
async def events(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return JsonResponse({"user": user.pk})


@api_view(["GET", "POST"])
def api(request: Request) -> Response:
    return Response({"user": request.user.pk, "said": request.data})


urlpatterns = [
    path("tickets", tickets),
    path("tickets/delete", delete_all),
    path("events", events),
    path("api/tickets", api),
]
