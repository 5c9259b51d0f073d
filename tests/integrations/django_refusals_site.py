"""Views and middleware that raise, catch and answer what MoonKey raises."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

from moonkey_core import MoonKeyError
from moonkey_core.gate import require

found: list[Any] = []
"""What the views have caught."""


def caught(request: Any) -> HttpResponse:
    try:
        require(request.moonkey)
    except MoonKeyError as error:
        found.append(error)
    return HttpResponse("nobody")


def own_500(request: Any) -> HttpResponse:
    caught(request)
    return JsonResponse({"own": 500}, status=500)


def broken(request: Any) -> HttpResponse:
    caught(request)
    raise RuntimeError("a bug of the project")


def raises(request: Any) -> HttpResponse:
    return HttpResponse(require(request.moonkey).user.id)


class Api(APIView):
    authentication_classes: Any = []

    def get(self, request: Any) -> Response:
        return Response(require(request.moonkey).user.id)


urlpatterns = [path(view.__name__, view) for view in (caught, own_500, broken, raises)]
urlpatterns.append(path("api", Api.as_view()))


class Answering:
    """Middleware that answers each exception of a view."""

    def __init__(self, get_response: Any) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self._next(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse:
        return JsonResponse({"foreign": type(error).__name__}, status=500)


def checking(get_response: Any) -> Any:
    def check(request: Any) -> Any:
        require(request.moonkey)
        return get_response(request)

    return check
