"""Layers of Django and of Django REST framework between MoonKey and a gate: views, URLs and middleware."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from moonkey_core import Requirements
from moonkey_core.gate import require
from moonkey_django import RequireAuthMixin, bound_stream, require_auth
from moonkey_django.rest_framework import MoonKeyAuthentication

WRITE = {"write"}
GATES: dict[str, Any] = {"me": require_auth, "write": require_auth(scopes=WRITE)}
DEMANDS: dict[str, Requirements | None] = {"me": None, "write": Requirements(scopes=WRITE)}


class CatchAll:
    """Middleware that makes a 500 of all exceptions it sees."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self._next = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.__acall__(request)
        try:
            return self._next(request)
        except Exception:
            return JsonResponse({"foreign": 500}, status=500)

    async def __acall__(self, request: HttpRequest) -> Any:
        try:
            return await self._next(request)
        except Exception:
            return JsonResponse({"foreign": 500}, status=500)


class Checking:
    """Middleware that refuses requests itself."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self._next = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if iscoroutinefunction(self):
            return self.__acall__(request)
        if request.path.startswith("/checked/"):
            require(request.moonkey, DEMANDS[request.path.split("/")[2]])
        return self._next(request)

    async def __acall__(self, request: Any) -> Any:
        if request.path.startswith("/checked/"):
            require(await request.amoonkey(), DEMANDS[request.path.split("/")[2]])
        return await self._next(request)


def made(name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
    return type(name, bases, body)


def polite(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows one exception, and makes a 500 of all others."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except PermissionDenied:
            raise
        except Exception:
            return JsonResponse({"foreign": 500}, status=500)

    return guarded


def who(request: Any) -> dict[str, str]:
    return {"user": request.moonkey.user.id}


def me(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


async def ame(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


def rest_me(request: Any, *_: Any) -> Response:
    return Response(who(request))


def reading(demand: Requirements | None) -> Callable[[Any], HttpResponse]:
    def read(request: Any) -> HttpResponse:
        return JsonResponse({"user": require(request.moonkey, demand).user.id})

    return read


def areading(demand: Requirements | None) -> Callable[..., Any]:
    async def read(request: Any) -> HttpResponse:
        return JsonResponse({"user": require(await request.amoonkey(), demand).user.id})

    return read


def stream(request: Any) -> HttpResponse:
    items = bound_stream(request, ['{"user": "', "%s", '"}'])
    return HttpResponse("".join(items) % request.moonkey.user.id, content_type="application/json")


def rest_reading(demand: Requirements | None, *authenticators: Any) -> Any:
    def get(self: APIView, request: Any) -> Response:
        return Response({"user": require(request.moonkey, demand).user.id})

    return made("Api", (APIView,), {"get": get, "authentication_classes": list(authenticators)}).as_view()


def enveloped(error: Exception, context: Any) -> Response | None:
    """A handler as in REST framework's documentation."""
    response = exception_handler(error, context)
    if response is not None:
        response.data["status_code"] = response.status_code
    return response


def never_raising(error: Exception, context: Any) -> Response:
    """A handler that makes a 500 of what REST framework does not know."""
    return exception_handler(error, context) or Response({"foreign": 500}, 500)


def with_handler(view: Any, handler: Any) -> Any:
    view.cls.get_exception_handler = lambda self: handler
    return view


def _urls(name: str) -> list[Any]:
    gate, demand = GATES[name], DEMANDS[name]
    wish = {} if demand is None else {"scopes": WRITE}
    in_class = method_decorator(gate, name="dispatch")
    get = {"get": lambda self, request: me(request)}
    views = {
        "sync": gate(me),
        "async": gate(ame),
        "polite": polite(gate(me)),
        "mixin": made("Mine", (RequireAuthMixin, View), {**get, **wish}).as_view(),
        "class": in_class(made("Mine", (View,), dict(get))).as_view(),
        "rest-mixin": made("Api", (RequireAuthMixin, APIView), {"get": _rest_get, **wish}).as_view(),
        "rest-class": in_class(made("Api", (APIView,), {"get": _rest_get})).as_view(),
        "rest-method": made("Api", (APIView,), {"get": method_decorator(gate)(_rest_get)}).as_view(),
        "rest-function": api_view(["GET"])(authentication_classes([])(gate(rest_me))),
        "checked": me,
        "reading": reading(demand),
        "areading": areading(demand),
        "rest-reading": rest_reading(demand),
        "rest-never": with_handler(rest_reading(demand), never_raising),
        "rest-enveloped": with_handler(rest_reading(demand), enveloped),
    }
    return [path(f"{place}/{name}", view) for place, view in views.items()]


def _rest_get(self: APIView, request: Any) -> Response:
    return Response(who(request))


urlpatterns = [
    *_urls("me"),
    *_urls("write"),
    path("stream/me", stream),
    path("authenticated/me", rest_reading(None, MoonKeyAuthentication)),
]
GATED = (
    "sync", "async", "polite", "mixin", "class", "rest-mixin", "rest-class", "rest-method", "rest-function",
    "checked", "reading", "areading", "rest-reading", "rest-never",
)  # fmt: skip
MIDDLEWARE = "moonkey_django.MoonKeyMiddleware"
CATCH, CHECK = "contract.django_layers.CatchAll", "contract.django_layers.Checking"
ARRANGEMENTS = {
    "alone": [MIDDLEWARE, CHECK],
    "catching inside": [MIDDLEWARE, CATCH, CHECK, CATCH],
    "catching outside": [CATCH, MIDDLEWARE, CHECK],
}
