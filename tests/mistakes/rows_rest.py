"""Mistakes with Django REST framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import path
from mistakes.lab import Lab, Row
from mistakes.rows_django import checked
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from moonkey_django import RequireAuthMixin
from moonkey_django.rest_checks import check_rest
from moonkey_django.rest_framework import MoonKeyAuthentication


def view(
    body: Callable[[Any], Any] = lambda request: "open",
    permissions: tuple[Any, ...] = (),
    authentication: tuple[Any, ...] = (MoonKeyAuthentication,),
) -> Any:
    class Account(APIView):
        permission_classes = permissions
        authentication_classes = authentication

        def get(self, request: Any) -> Response:
            return Response(body(request))

    return Account.as_view()


def visited(*arguments: Any) -> Any:
    def provoke(lab: Lab, _: str) -> None:
        headers = {"session-token": lab.emulator.sign_in().session_token}
        with lab.urls(path("", view(*arguments))), lab.at("first request"):
            lab.visit_django(headers)

    return provoke


def by_the_factory(lab: Lab, _: str) -> None:
    with lab.urls(), lab.at("first request"):
        view(lambda request: request.user.pk)(APIRequestFactory().get("/"))


def misspelt_demand(lab: Lab, _: str) -> None:
    with lab.at("construction"):
        type("Admins", (MoonKeyAuthentication,), {"role": {"admin"}})


_UNKNOWN = (
    "moonkey.W015: /account asks for a user by its permission_classes, and none of its authentication_classes knows the "
    "users of MoonKey: a user who is signed in at MoonKey is refused. Write authentication_classes = "
    "[MoonKeyAuthentication] in the view"
)
_USER = (
    "It is REST framework's user, with is_authenticated and pk. MoonKey's is request.user.moonkey: write "
    "request.user.moonkey.{}."
)

ROWS = (
    Row(
        "`IsAuthenticated`, and no authentication class at all",
        ("django",),
        "start",
        _UNKNOWN,
        "`authentication_classes = [MoonKeyAuthentication]`.",
        checked(check_rest, path("account", view(permissions=(IsAuthenticated,), authentication=()))),
    ),
    Row(
        "the same with `SessionAuthentication`, as REST framework has it by default",
        ("django",),
        "start",
        _UNKNOWN,
        "`authentication_classes = [MoonKeyAuthentication]`.",
        checked(
            check_rest,
            path("open", view(permissions=(AllowAny,), authentication=())),
            path("account", view(permissions=(IsAuthenticated,), authentication=(SessionAuthentication,))),
        ),
    ),
    Row(
        "`MoonKeyAuthentication` is among the permissions",
        ("django",),
        "start",
        "moonkey.E016: /account: MoonKeyAuthentication does not belong into permission_classes. Put it into "
        "authentication_classes.",
        "`authentication_classes = [MoonKeyAuthentication]`.",
        checked(check_rest, path("account", view(permissions=(MoonKeyAuthentication,)))),
    ),
    Row(
        "the same at the first request, without the check",
        ("django",),
        "first request",
        "MoonKeyAuthentication is no permission: put it into authentication_classes",
        "`authentication_classes = [MoonKeyAuthentication]`.",
        visited(lambda request: "open", (MoonKeyAuthentication,)),
    ),
    Row(
        "a permission is among the authentication classes",
        ("django",),
        "start",
        "moonkey.E016: /account: IsAuthenticated does not belong into authentication_classes. Put it into "
        "permission_classes.",
        "`permission_classes = [IsAuthenticated]`.",
        checked(check_rest, path("account", view(authentication=(IsAuthenticated,)))),
    ),
    Row(
        "`MoonKeyAuthentication()`, with parentheses",
        ("django",),
        "start",
        "moonkey.E016: /account: MoonKeyAuthentication() does not belong into authentication_classes. Leave out its "
        "parentheses: authentication_classes = [MoonKeyAuthentication].",
        "`[MoonKeyAuthentication]`.",
        checked(check_rest, path("account", view(authentication=(MoonKeyAuthentication(),)))),
    ),
    Row(
        "`RequireAuthMixin` is among the permissions",
        ("django",),
        "start",
        "moonkey.E016: /account: RequireAuthMixin does not belong into permission_classes. Write it first among the bases "
        "of the view: class V(RequireAuthMixin, APIView).",
        "`class V(RequireAuthMixin, APIView)`.",
        checked(check_rest, path("account", view(permissions=(RequireAuthMixin,)))),
    ),
    Row(
        "an attribute of an authentication class is a misspelt demand",
        ("django",),
        "construction",
        "Admins has an attribute 'role', which demands nothing. Use RequireAuthMixin with 'roles' on the view.",
        "`RequireAuthMixin`, and `roles` in the view.",
        misspelt_demand,
    ),
    Row(
        '`request.user["id"]` in a view of REST framework',
        ("django",),
        "first request",
        "request.user is an object and no dict. " + _USER.format("id"),
        "`request.user.moonkey.id`.",
        visited(lambda request: request.user["id"]),
    ),
    Row(
        "`request.user.email` in a view of REST framework",
        ("django",),
        "first request",
        "request.user has no attribute 'email'. " + _USER.format("email"),
        "`request.user.moonkey.email`.",
        visited(lambda request: request.user.email),
    ),
    Row(
        "`Response(request.user)`",
        ("django",),
        "first request",
        "This is request.user of REST framework: return request.user.moonkey.to_dict().",
        "`Response(request.user.moonkey.to_dict())`.",
        visited(lambda request: {"user": request.user}),
    ),
    Row(
        "a test calls a view with a request of `APIRequestFactory`",
        ("django",),
        "first request",
        "A request of RequestFactory passes no middleware: in a test, take django.test.Client, or call "
        "MoonKeyMiddleware(view)(request).",
        "Use `rest_framework.test.APIClient`.",
        by_the_factory,
    ),
)
