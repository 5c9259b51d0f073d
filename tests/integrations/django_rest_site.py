"""Views of Django REST framework, behind MoonKey."""

from __future__ import annotations

from typing import Any

from django.urls import path
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.permissions import (
    AllowAny,
    BasePermission,
    DjangoModelPermissions,
    IsAdminUser,
    IsAuthenticated,
)
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from moonkey_core import Auth
from moonkey_django.rest_framework import MoonKeyAuthentication


class TwicePerHour(UserRateThrottle):
    rate = "2/hour"


class Nobody(BasePermission):
    message = "Not you."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return False


def _id_of(auth: Any) -> str | None:
    if auth is None:
        return None
    assert isinstance(auth, Auth)
    assert auth.user is not None
    return auth.user.id


class Api(APIView):
    authentication_classes: Any = [MoonKeyAuthentication]
    renderer_classes = [JSONRenderer]

    def answer(self, request: Request) -> Response:
        auth: Any = request.auth
        django_request: Any = request._request
        assert django_request.user == request.user
        return Response({"user": str(request.user), "id": request.user.pk, "auth": _id_of(auth)})

    get = post = answer


class Open(Api):
    permission_classes = [AllowAny]


class Protected(Api):
    permission_classes = [IsAuthenticated]


class Forbidden(Api):
    permission_classes = [Nobody]


class Admins(Api):
    permission_classes = [IsAdminUser]


class Throttled(Protected):
    throttle_classes = [TwicePerHour]


class SessionFirst(Protected):
    authentication_classes = [SessionAuthentication, MoonKeyAuthentication]


class SessionToo(Protected):
    authentication_classes = [MoonKeyAuthentication, SessionAuthentication, BasicAuthentication]


class ByModel(Api):
    permission_classes = [DjangoModelPermissions]

    def get_queryset(self) -> Any:
        from django.contrib.auth.models import Group

        return Group.objects.all()


urlpatterns = [
    path("open", Open.as_view()),
    path("protected", Protected.as_view()),
    path("forbidden", Forbidden.as_view()),
    path("admins", Admins.as_view()),
    path("throttled", Throttled.as_view()),
    path("session-first", SessionFirst.as_view()),
    path("session-too", SessionToo.as_view()),
    path("by-model", ByModel.as_view()),
]
