"""The audit of a Django project: what it says of each view, and the holes and void gates that it finds."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required, login_required, permission_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET
from django.views.generic import TemplateView, View
from django.views.static import serve as serve_files
from integrations.django_visits import Configure, Visit
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.permissions import (
    AllowAny,
    BasePermission,
    IsAdminUser,
    IsAuthenticated,
    IsAuthenticatedOrReadOnly,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from moonkey_core.audit import Endpoint, Verdict, assert_all_protected, audit_routes
from moonkey_django import RequireAuthMixin, optional_auth, public, require_auth

Serve = Callable[..., None]


@pytest.fixture(autouse=True)
def _project(configure: Configure) -> None:
    configure()


@pytest.fixture
def serve(settings: Any) -> Serve:
    def serve(*patterns: Any) -> None:
        urls: Any = types.ModuleType("urls_of_a_test")
        urls.urlpatterns = list(patterns)
        settings.ROOT_URLCONF = urls

    return serve


def view(request: HttpRequest, **_: object) -> HttpResponse:
    return HttpResponse("open")


async def aview(request: HttpRequest, **_: object) -> HttpResponse:
    return HttpResponse("open")


def rows() -> dict[str, Endpoint]:
    return {one.where: one for one in audit_routes().endpoints}


def verdicts() -> dict[str, str]:
    return {where: one.verdict.value for where, one in rows().items()}


class Methods(View):
    @method_decorator(require_auth(factors={"totp"}))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("get")

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("post")


@method_decorator(require_auth, name="dispatch")
class Dispatched(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("get")


class Mixed(RequireAuthMixin, TemplateView):
    scopes = {"read"}


class Behind(TemplateView, LoginRequiredMixin):
    pass


class Habit(View):
    decorators = [require_auth]

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("get")


@pytest.mark.rule("S53")
def test_a_project_with_one_planted_hole(serve: Serve) -> None:
    serve(
        path("me", require_auth(view)), path("in/", include([path("hole", aview)])), path("open", public(copied()))
    )
    assert verdicts() == {"ANY /me": "protected", "ANY /in/hole": "unprotected", "ANY /open": "public"}
    with pytest.raises(AssertionError, match=r"ANY /in/hole is unprotected: aview \(test_audit_django.py"):
        assert_all_protected()


def copied() -> Any:
    """A view of the test's own, which is marked for this test only."""

    def copy(request: HttpRequest, **_: object) -> HttpResponse:
        return HttpResponse("open")

    return copy


def test_what_each_kind_of_view_demands_and_where_that_is_said(serve: Serve, configure: Configure) -> None:
    configure(COOKIES={})
    serve(
        path("methods", Methods.as_view()),
        path("dispatched", Dispatched.as_view()),
        path("mixed", Mixed.as_view()),
        path("maybe", optional_auth(copied())),
        path("login", login_required(view)),
        path("permission", permission_required("app.view")(require_GET(view))),
        path("mixin", type("Mine", (LoginRequiredMixin, TemplateView), {}).as_view()),  # type: ignore[attr-defined]
        path("not", login_not_required(copied())),
        path("sign-in", auth_views.LoginView.as_view()),
        path("static/<path:path>", serve_files),
        path("auth/", include("moonkey_django.urls")),
        path("admin/", admin.site.urls),
    )
    found = rows()
    assert {one.verdict for one in found.values() if one.path.startswith("/auth/")} == {Verdict.PUBLIC}
    of_admin = {one.where: one for one in found.values() if one.path.startswith("/admin/")}
    assert of_admin["ANY /admin/login/"].verdict is Verdict.PUBLIC
    assert [one for one in of_admin.values() if one.verdict is Verdict.UNPROTECTED] == []
    said = {
        one.where: (one.verdict.value, one.said_by)
        for one in found.values()
        if not one.path.startswith(("/auth/", "/admin/"))
    }
    other = "guarded by something else"
    assert said == {
        "GET /methods": ("protected", "@require_auth"),
        "POST /methods": ("unprotected", ""),
        "GET /dispatched": ("protected", "@require_auth"),
        "GET /mixed": ("protected", "@require_auth"),
        "ANY /maybe": ("public", "@optional_auth, which runs it in all states"),
        "ANY /login": (other, "@login_required"),
        "GET /permission": (other, "@permission_required"),
        "GET /mixin": (other, "LoginRequiredMixin"),
        "ANY /not": ("public", "@login_not_required"),
        "GET/POST/PUT /sign-in": ("public", "@login_not_required"),
        "ANY /static/<path:path>": ("public", "static files"),
    }
    assert found["GET /methods"].demands == {"factors": ["totp"]}
    assert found["GET /mixed"].demands == {"scopes": ["read"]}


class Reads(IsAuthenticatedOrReadOnly):
    pass


class OfObjects(BasePermission):
    def has_object_permission(self, request: Request, view: APIView, obj: object) -> bool:
        return False


class Things(ViewSet):
    permission_classes: Any = [Reads]

    def list(self, request: Request) -> Response:
        return Response("list")

    def create(self, request: Request) -> Response:
        return Response("create")

    @action(detail=False, methods=["post"], permission_classes=[AllowAny])
    def extra(self, request: Request) -> Response:
        return Response("extra")


class Gated(RequireAuthMixin, ViewSet):
    def list(self, request: Request) -> Response:
        return Response("list")


@public(reason="a list of prices")
class Prices(ViewSet):
    def list(self, request: Request) -> Response:
        return Response("list")


def api(*permissions: Any, gate: Any = lambda one: one) -> Any:
    def answer(request: Request) -> Response:
        return Response("answer")

    return api_view(["GET"])(permission_classes(list(permissions))(gate(answer)))


@pytest.mark.rule("S53")
def test_rest_framework(serve: Serve) -> None:
    router = SimpleRouter(use_regex_path=False)
    for kind in (Things, Gated, Prices):
        router.register(kind.__name__.lower(), kind, basename=kind.__name__)
    serve(
        path("", include(router.urls)),
        path("all", api(AllowAny)),
        path("objects", api(OfObjects)),
        path("some", api(IsAuthenticated)),
        path("either", api(IsAuthenticated | AllowAny)),
        path("both", api(IsAuthenticated & AllowAny)),
        path("nobody", api(~AllowAny)),
        path("admins", api(IsAdminUser | IsAuthenticated)),
        path("gate", api(AllowAny, gate=require_auth)),
        path("marked", api(AllowAny, gate=public)),
    )
    other = "guarded by something else"
    assert verdicts() == {
        "GET /things/": "unprotected",
        "POST /things/": other,
        "POST /things/extra/": "unprotected",
        "GET /gated/": "protected",
        "GET /prices/": "public",
        "GET /all": "unprotected",
        "GET /objects": "unprotected",
        "GET /some": other,
        "GET /either": "unprotected",
        "GET /both": other,
        "GET /nobody": other,
        "GET /admins": other,
        "GET /gate": "protected",
        "GET /marked": "public",
    }
    assert "set permission_classes" in rows()["GET /all"].hint


def test_login_required_middleware(serve: Serve, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    serve(path("view", view), path("open", public(copied())), path("class", public(open_class()).as_view()))
    assert {where: one.said_by for where, one in rows().items()} == {
        "ANY /view": "LoginRequiredMiddleware",
        "ANY /open": "@public",
        "GET /class": "@public",
    }
    for one in ("open", "class"):
        assert getattr(_callback(one), "login_required", True) is False


def _callback(name: str) -> Any:
    from django.urls import resolve

    return resolve(f"/{name}").func


def open_class() -> Any:
    class Open(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("get")

    return Open


@pytest.mark.rule("S53")
def test_closed_by_default(serve: Serve, configure: Configure, visit: Visit) -> None:
    configure(REQUIRED=True)
    serve(
        path("view", aview),
        path("api", api(AllowAny)),
        path("open-api", api(AllowAny, gate=public)),
        path("not", login_not_required(copied())),
        path("methods", public_get().as_view()),
        path("static/<path:path>", serve_files, {"document_root": "."}),
    )
    found = {where: one.said_by for where, one in rows().items() if one.verdict is Verdict.PROTECTED}
    assert found == dict.fromkeys(("ANY /view", "GET /api", "POST /methods"), 'MOONKEY["REQUIRED"]')
    statuses = {
        one: visit(f"/{one}").status_code for one in ("view", "api", "open-api", "not", "methods", "static/x")
    }
    assert statuses == {"view": 401, "api": 401, "open-api": 200, "not": 200, "methods": 200, "static/x": 404}
    assert visit("/methods", method="POST").status_code == 401
    assert visit("/api").headers["www-authenticate"].startswith("Bearer")


def public_get() -> Any:
    class Get(View):
        @public
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("get")

        def post(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("post")

    return Get


def test_gates_that_protect_nothing(serve: Serve) -> None:
    late = copied()
    pattern = path("late", late)
    late = require_auth(late)
    serve(path("behind", Behind.as_view()), path("habit", Habit.as_view()), pattern)
    late_one, behind, habit = audit_routes().void_gates
    assert "/late is open to everybody" in late_one
    assert behind.startswith("/behind: LoginRequiredMixin in Behind protects nothing")
    assert "only Flask reads that attribute" in habit
    assert set(verdicts().values()) == {"unprotected"}


def test_the_system_check_is_one_of_deployment(serve: Serve) -> None:
    serve(path("hole", view), path("behind", Behind.as_view()))

    def found(**more: Any) -> list[tuple[str, str]]:
        said = run_checks(tags=["moonkey_routes"], **more)
        return [(one.id or "", one.msg.partition(" ")[0]) for one in said]

    assert found() == []
    assert sorted(found(include_deployment_checks=True)) == [
        ("moonkey.E031", "/behind:"),
        ("moonkey.W030", "ANY"),
        ("moonkey.W030", "GET"),
    ]


def test_the_management_command(serve: Serve) -> None:
    serve(path("hole", view), path("me", require_auth(view)))
    shown = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("moonkey_routes", stdout=shown)
    assert ended.value.code == 1
    assert "unprotected" in shown.getvalue()
    serve(path("me", require_auth(view)))
    shown = StringIO()
    call_command("moonkey_routes", json=True, stdout=shown)
    assert json.loads(shown.getvalue())["counts"]["protected"] == 1


class TestChannels:
    """The shapes of ``ProtocolTypeRouter``, ``URLRouter``, ``AuthMiddlewareStack`` and ``Consumer.as_asgi()``."""

    @pytest.fixture(autouse=True)
    def asgi(self, serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        serve(path("me", require_auth(view)))
        chat = types.FunctionType((lambda: None).__code__, {}, "app")
        chat.consumer_class = type("Chat", (), {})  # type: ignore[attr-defined]
        routed = types.SimpleNamespace(routes=[path("chat/<str:room>", chat)])
        nested = types.SimpleNamespace(routes=[types.SimpleNamespace(pattern="ws/", callback=routed)])
        module: Any = types.ModuleType("channels_of_a_test")
        module.application = types.SimpleNamespace(
            application_mapping={
                "http": view,
                "websocket": types.SimpleNamespace(application=types.SimpleNamespace(inner=nested)),
                "lifespan": chat,
            }
        )
        monkeypatch.setitem(sys.modules, "channels_of_a_test", module)
        settings.ASGI_APPLICATION = "channels_of_a_test.application"

    def test_its_consumers_are_unknown(self) -> None:
        assert {(one.where, one.view) for one in audit_routes().unknown} == {
            ("WEBSOCKET /ws/chat/<str:room>", "Chat"),
            ("LIFESPAN /*", "Chat"),
        }

    def test_strict_fails_on_them(self) -> None:
        call_command("moonkey_routes", stdout=StringIO())
        with pytest.raises(SystemExit) as ended:
            call_command("moonkey_routes", strict=True, stdout=StringIO())
        assert ended.value.code == 1

    def test_an_application_that_cannot_be_imported(self, settings: Any) -> None:
        settings.ASGI_APPLICATION = "no_such_module_here.application"
        (found,) = audit_routes().unknown
        assert "no_such_module_here" in found.view


def test_a_wrong_setting_ends_the_command_with_2(serve: Serve, configure: Configure) -> None:
    serve(path("me", require_auth(view)))
    configure(LEEWAY=600)
    with pytest.raises(CommandError) as ended:
        call_command("moonkey_routes", stdout=StringIO())
    assert ended.value.returncode == 2
    assert "LEEWAY" in str(ended.value)


def test_the_methods_of_a_function_of_rest_framework_have_an_order(serve: Serve) -> None:
    def both(request: Request) -> Response:
        return Response("open")

    serve(path("both", api_view(["PUT", "POST", "GET"])(both)))
    (found,) = audit_routes().endpoints
    assert found.methods == "GET/POST/PUT"


def test_a_partial_has_the_name_of_its_function(serve: Serve) -> None:
    serve(path("partial", partial(view)))
    (found,) = audit_routes().endpoints
    assert found.view.startswith("view (test_audit_django.py")
