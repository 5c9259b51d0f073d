"""Django views as users write them. Checked with mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from django.contrib.auth.models import User as DjangoUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.generic import ListView, TemplateView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from moonkey_core import Session, User
from moonkey_django import AuthenticatedRequest, MoonKeyRequest, RequireAuthMixin, require_auth


@require_auth
def me(request: AuthenticatedRequest) -> JsonResponse:
    return JsonResponse({"user_id": request.moonkey.user.id, "session_id": request.moonkey.session.id})


@require_auth(max_staleness=0)
async def one(request: AuthenticatedRequest, number: int) -> JsonResponse:
    auth = await request.amoonkey()
    assert_type(auth.user, User)
    return JsonResponse({request.moonkey.user.id: number, "session_id": auth.session.id})


@require_auth
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def optional(request: MoonKeyRequest) -> HttpResponse:
    if request.moonkey.is_authenticated:
        return HttpResponse(request.moonkey.user.id)
    return HttpResponse()


async def optional_too(request: MoonKeyRequest) -> HttpResponse:
    auth = await request.amoonkey()
    return HttpResponse(auth.user.id if auth.is_authenticated else "nobody")


class Blocking(RequireAuthMixin, View):
    def get(self, request: AuthenticatedRequest, number: int) -> HttpResponse:
        return HttpResponse(request.moonkey.user.id * number)


class Asynchronous(RequireAuthMixin, View):
    max_staleness = 0

    async def get(self, request: AuthenticatedRequest) -> HttpResponse:
        auth = await request.amoonkey()
        return HttpResponse(auth.user.id)


class Page(RequireAuthMixin, TemplateView):
    template_name = "page.html"


class Listed(RequireAuthMixin, ListView[DjangoUser]):
    model = DjangoUser


class Api(RequireAuthMixin, APIView):
    def get(self, request: Request) -> Response:
        return Response({})


class Set(RequireAuthMixin, ViewSet):
    pass


@method_decorator(require_auth, name="dispatch")
class Decorated(View):
    def get(self, request: AuthenticatedRequest) -> HttpResponse:
        return HttpResponse(request.moonkey.user.id)


class DecoratedInside(View):
    @method_decorator(require_auth(max_staleness=0))
    def get(self, request: AuthenticatedRequest) -> HttpResponse:
        return HttpResponse(request.moonkey.user.id)


urlpatterns = [
    path("me", me),
    path("one/<int:number>", one),
    path("plain", plain),
    path("optional", optional),
    path("optional_too", optional_too),
    path("blocking", Blocking.as_view()),
    path("asynchronous", Asynchronous.as_view()),
    path("page", Page.as_view()),
    path("listed", Listed.as_view()),
    path("api", Api.as_view()),
]


def called(request: AuthenticatedRequest, other: MoonKeyRequest) -> None:
    assert_type(me(request), JsonResponse)
    optional(request)
    request.moonkey.user.id.upper()
    other.moonkey.user.id.upper()  # type: ignore[union-attr]
    me(other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    _ = one(request, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(request.moonkey.session, Session)
