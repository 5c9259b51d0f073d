"""Mistakes with gates."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.generic import View
from fastapi import Depends, FastAPI
from flask import Flask
from mistakes.lab import FRAMEWORKS, Lab, Row, visit_asgi
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import User
from moonkey_core.auth import Auth
from moonkey_starlette.fastapi import CurrentUser, RequireAuth

GATES: dict[str, Any] = {"flask": moonkey_flask, "django": moonkey_django, "starlette": moonkey_starlette}
DECORATED = ("flask", "django", "starlette")


def plain() -> str:
    return "open"


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


async def endpoint(request: Request) -> Response:
    return PlainTextResponse("open")


def serve(lab: Lab, framework: str, served: Any) -> None:
    """Serve what is registered as the view of ``/``, and visit it."""
    if framework == "flask":
        app = Flask("shop")
        app.testing = True
        moonkey_flask.FlaskMoonKey(app, **lab.base)
        app.add_url_rule("/", "view", served)
        with lab.at("first request"):
            app.test_client().get("/")
    elif framework == "django":
        with lab.urls(path("", served)), lab.at("first request"):
            lab.visit_django()
    elif framework == "starlette":
        _asgi(lab, Starlette(routes=[Route("/", served)]))
    else:
        api = FastAPI()
        api.add_api_route("/", served, response_model=None)
        _asgi(lab, api)


def _asgi(lab: Lab, app: Any) -> None:
    app.add_middleware(moonkey_starlette.MoonKeyMiddleware, **lab.base)
    visit_asgi(lab, app)


AT_THE_LATEST = {"flask": "first request", "django": "first request", "starlette": "start", "fastapi": "start"}
"""When all routes are known. Django's system checks say the same before."""


def own(framework: str) -> Any:
    """A function of its own that a framework can serve."""
    made: dict[str, Any] = {
        "flask": lambda: "open",
        "django": lambda request: HttpResponse("open"),
    }

    async def later(request: Request) -> Response:
        return PlainTextResponse("open")

    return made.get(framework, later)


def gate_above_the_route(lab: Lab, framework: str) -> None:
    served = own(framework)
    gate = GATES.get(framework, moonkey_starlette).require_auth(served)
    serve(lab, framework, served)
    del gate


def the_gate_itself(lab: Lab, framework: str) -> None:
    serve(lab, framework, GATES[framework].require_auth(roles={"admin"}))


def before_request(lab: Lab, _: str) -> None:
    app = Flask("shop")
    app.testing = True
    moonkey_flask.FlaskMoonKey(app, **lab.base)
    gate: Any = moonkey_flask.require_auth
    app.before_request(gate)
    app.add_url_rule("/", "view", plain)
    with lab.at("first request"):
        app.test_client().get("/")


def on_a_class(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        GATES[framework].require_auth(type("Account", (), {}))


def by_place(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        GATES[framework].require_auth("admin") if framework in GATES else RequireAuth("admin")  # type: ignore[arg-type]


def of_another(other: str) -> Any:
    def provoke(lab: Lab, framework: str) -> None:
        served = {"flask": lambda request=None: "open", "django": view, "starlette": endpoint}[framework]
        serve(lab, framework, GATES[other].require_auth(served))

    return provoke


def misspelt_demand(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        GATES[framework].require_auth(role={"admin"}) if framework in GATES else RequireAuth(role={"admin"})  # type: ignore[call-arg]


def misspelt_attribute(lab: Lab, _: str) -> None:
    class Account(moonkey_django.RequireAuthMixin, View):
        role = {"admin"}

    with lab.at("construction"):
        Account.as_view()


def wrong_value(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        GATES[framework].require_auth(roles="admin") if framework in GATES else RequireAuth(roles="admin")  # type: ignore[arg-type]


def demand_on_optional_auth(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        GATES[framework].optional_auth(roles={"admin"})


def called_in_the_view(lab: Lab, framework: str) -> None:
    def body(_: Any) -> str:
        GATES.get(framework, moonkey_starlette).require_auth()
        return "open"

    lab.visit(framework, body, gate=False, signed_in=False)


def class_of_rest_framework(lab: Lab, _: str) -> None:
    class Account(APIView):
        permission_classes: Any = [moonkey_django.require_auth(roles={"admin"})]

        def get(self, request: Any) -> RestResponse:
            return RestResponse("open")

    serve(lab, "django", Account.as_view())


def mixin_in_flask(lab: Lab, _: str) -> None:
    made: Any = type("Account", (moonkey_django.RequireAuthMixin,), {})
    with lab.at("construction"):
        made.as_view("account")


def annotated_with(annotation: Any, **default: Any) -> Any:
    def provoke(lab: Lab, framework: str) -> None:
        def account(user, **_):  # type: ignore[no-untyped-def]
            return "open"

        parameter = inspect.Parameter("user", inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **default)
        account.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
        serve(lab, framework, account)

    return provoke


def auth_as_parameter(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        annotated_with(Auth)(lab, framework)


def depends_on_the_class(lab: Lab, framework: str) -> None:
    with lab.at("construction"):
        annotated_with(Annotated[Any, Depends(RequireAuth)])(lab, framework)


def dependency_as_decorator(lab: Lab, _: str) -> None:
    gate: Any = RequireAuth()
    with lab.at("construction"):
        gate(FastAPI().get("/")(plain))


def class_as_decorator(lab: Lab, _: str) -> None:
    gate: Any = RequireAuth
    with lab.at("construction"):
        gate(FastAPI().get("/")(plain))


def gate_as_value(lab: Lab, _: str) -> None:
    with lab.at("construction"):
        FastAPI().get("/", dependencies=[RequireAuth()])(plain)  # type: ignore[list-item]


_NO_DECORATOR = (
    "RequireAuth is a dependency and no decorator: as @RequireAuth(), it would leave plain (rows_gates.py, line {}) open. "
    "Write `user: CurrentUser` as a parameter, or @app.get(…, dependencies=[Depends(RequireAuth(…))])."
)
_NO_DEPENDENCY = (
    "GET /: the parameter `user` of {} is no dependency: callers may send there what they like, or nothing. Write "
    "`user: CurrentUser`, without a default."
)

ROWS = (
    Row(
        "the gate stands above the line that registers the route",
        FRAMEWORKS,
        AT_THE_LATEST,
        {
            **dict.fromkeys(
                FRAMEWORKS,
                "GET / is open to everybody: it calls {} without the @require_auth that was put on it, and that is never "
                'called. Put the gate below the route, next to the function: first @app.get("/"), then @require_auth, then '
                "def {}(…).",
            ),
            "django": "/ is open to everybody: it calls {} without the @require_auth that was put on it, and that is never "
            "called. Give path() what require_auth returns: write @require_auth above the function, before anything else "
            "uses it, or path('', require_auth({})).",
        },
        "Put `@require_auth` below the route, next to the function.",
        gate_above_the_route,
    ),
    Row(
        "the gate itself is registered, as its result was put on no view",
        DECORATED,
        AT_THE_LATEST,
        {
            **dict.fromkeys(
                FRAMEWORKS,
                "GET / calls require_auth itself, which is no view and protects nothing by itself. Put the gate below the "
                'route, next to the function: first @app.get("/"), then @require_auth, then def view(…).',
            ),
            "django": "/ calls require_auth itself, which is no view and protects nothing by itself. Give path() what "
            "require_auth returns",
        },
        "Put it on a view: `require_auth(view)`.",
        the_gate_itself,
    ),
    Row(
        "`before_request` gets the gate itself, without a function",
        ("flask",),
        "first request",
        "before_request calls require_auth itself, which is no view and protects nothing by itself. Put the gate below the "
        "route, next to the function: first @app.before_request, then @require_auth, then def view(…).",
        "Put both on a function that does nothing else.",
        before_request,
    ),
    Row(
        "the gate stands on a class",
        DECORATED,
        "construction",
        {
            "flask": "@require_auth goes on a function, and Account is a class: write decorators = [require_auth] in it.",
            "django": "@require_auth goes on a function, and Account is a class: write class V(RequireAuthMixin, …), or "
            '@method_decorator(require_auth, name="dispatch").',
            "starlette": "@require_auth goes on a function, and Account is a class: in an endpoint class, decorate its "
            "methods; for a whole app, use MoonKeyMiddleware(required=True).",
        },
        "Decorate its methods, use `decorators = [require_auth]` (Flask) or `RequireAuthMixin` (Django).",
        on_a_class,
    ),
    Row(
        "a demand is given by place",
        FRAMEWORKS,
        "construction",
        "takes what it asks for by keyword: write {}(roles={'admin'}), or scopes=, claims=…",
        '`@require_auth(roles={"admin"})`.',
        by_place,
    ),
    *(
        Row(
            f"the gate is that of {name}",
            tuple(one for one in DECORATED if one != other),
            AT_THE_LATEST,
            f"has the require_auth of moonkey_{other}, which does not work in {{}}. Write: from moonkey_{{}} import "
            "require_auth",
            "Import it from the package of your framework.",
            of_another(other),
        )
        for other, name in (("flask", "Flask"), ("django", "Django"), ("starlette", "Starlette"))
    ),
    Row(
        "a demand is misspelt",
        FRAMEWORKS,
        "construction",
        "Requirements has no argument 'role'. Did you mean 'roles'?",
        "Write the name that the message suggests.",
        misspelt_demand,
    ),
    Row(
        "an attribute of a view with the mixin is a misspelt demand",
        ("django",),
        "construction",
        "has 'role', which demands nothing. Did you mean 'roles'? If not, call it something else.",
        "Rename the attribute.",
        misspelt_attribute,
    ),
    Row(
        "a demand has a value of another type",
        FRAMEWORKS,
        "construction",
        'roles must be a set of names that is not empty, such as {"one", "two"}.',
        '`roles={"admin"}`.',
        wrong_value,
    ),
    Row(
        "`optional_auth`, which refuses nothing, is given a demand",
        DECORATED,
        "construction",
        "optional_auth takes max_staleness and grace_seconds: use require_auth for demands.",
        "Use `require_auth`.",
        demand_on_optional_auth,
    ),
    Row(
        "the view calls `require_auth()` in its body, which does nothing",
        FRAMEWORKS,
        "first request",
        "require_auth(…) was called in line {} of rows_gates.py, and its result was put on no view: it protects nothing. "
        "Write @require_auth above the view; inside of a view, call require(auth) of moonkey_core.gate",
        "Write it above the view, or call `require(auth)`.",
        called_in_the_view,
    ),
    Row(
        "REST framework gets the gate for a permission class",
        ("django",),
        "first request",
        "This is the decorator that require_auth(…) returns, and is for a view alone. Write @require_auth above the view",
        "Use `RequireAuthMixin`, or `MoonKeyAuthentication` with `IsAuthenticated`.",
        class_of_rest_framework,
    ),
    Row(
        "Django's mixin is used in a view of Flask",
        ("flask",),
        "construction",
        "RequireAuthMixin is for Django's views. In Flask, write decorators = [require_auth] in the class, with "
        "require_auth from moonkey_flask.",
        "`decorators = [require_auth]`.",
        mixin_in_flask,
    ),
    Row(
        "`user: User` with a default value",
        ("fastapi",),
        "start",
        _NO_DEPENDENCY,
        "`user: CurrentUser`.",
        annotated_with(User, default=None),
    ),
    Row(
        "`auth: Auth`",
        ("fastapi",),
        "construction",
        "An Auth is no field of a request or a response. In FastAPI, write `auth: CurrentAuth` as a parameter, or `auth: "
        "Annotated[Auth, Depends(RequireAuth())]`, and return auth.user.",
        "`auth: CurrentAuth`.",
        auth_as_parameter,
    ),
    Row("`user: User`", ("fastapi",), "start", _NO_DEPENDENCY, "`user: CurrentUser`.", annotated_with(User)),
    Row(
        "`user=CurrentUser`: the annotation as a default",
        ("fastapi",),
        "start",
        _NO_DEPENDENCY,
        "`user: CurrentUser`.",
        annotated_with(Any, default=CurrentUser),
    ),
    Row(
        "`user: CurrentUser | None`",
        ("fastapi",),
        "start",
        _NO_DEPENDENCY,
        "`auth: CurrentAuth`, and `auth.user`, which may be `None`.",
        annotated_with(CurrentUser | None),
    ),
    Row(
        "`Depends(CurrentUser)`",
        ("fastapi",),
        "start",
        "GET /: Depends(CurrentUser) protects nothing. Write Depends(RequireAuth()), or a parameter `user: CurrentUser`.",
        "`user: CurrentUser`.",
        annotated_with(Annotated[Any, Depends(CurrentUser)]),
    ),
    Row(
        "`Depends(RequireAuth)`, without parentheses",
        ("fastapi",),
        "construction",
        "Write Depends(RequireAuth()), with parentheses: the class itself protects nothing.",
        "`Depends(RequireAuth())`.",
        depends_on_the_class,
    ),
    Row(
        "`@RequireAuth()`: the dependency as a decorator",
        ("fastapi",),
        "construction",
        _NO_DECORATOR,
        "`user: CurrentUser`, or `dependencies=[Depends(RequireAuth())]`.",
        dependency_as_decorator,
    ),
    Row(
        "`@RequireAuth`: the same without parentheses",
        ("fastapi",),
        "construction",
        _NO_DECORATOR,
        "`user: CurrentUser`, or `dependencies=[Depends(RequireAuth())]`.",
        class_as_decorator,
    ),
    Row(
        "`dependencies=[RequireAuth()]`, without `Depends`",
        ("fastapi",),
        "construction",
        "Write dependencies=[Depends(RequireAuth(…))], with Depends around it.",
        "`dependencies=[Depends(RequireAuth())]`.",
        gate_as_value,
    ),
)
