"""Django: gates that protect nothing are found by the system checks, and at the first request."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.utils.decorators import method_decorator
from django.views.generic import TemplateView, View
from integrations.django_visits import Configure, Visit
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

import moonkey_flask
import moonkey_starlette
from moonkey_django import MoonKeyMiddleware, RequireAuthMixin, require_auth

Patterns = list[URLPattern | URLResolver]


@pytest.fixture(autouse=True)
def _project(configure: Configure) -> None:
    configure()


@pytest.fixture
def serve(settings: Any) -> Callable[..., None]:
    def serve(*patterns: URLPattern | URLResolver) -> None:
        urls: Any = types.ModuleType("urls_of_a_test")
        urls.urlpatterns = list(patterns)
        settings.ROOT_URLCONF = urls

    return serve


def found() -> list[str]:
    return [message.msg for message in run_checks() if message.id == "moonkey.E006"]


def view(request: HttpRequest, **_: object) -> HttpResponse:
    return HttpResponse("open")


async def aview(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


def copied(function: Any) -> Any:
    """The same function as one of its own, made by another."""
    made: Any = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    made.__qualname__ = f"copied.<locals>.{function.__name__}"
    return made


def timed(inner: Any) -> Any:
    @wraps(inner)
    def outer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return inner(request, *args, **kwargs)

    return outer


class OwnWay(RequireAuthMixin, TemplateView):
    @classmethod
    def as_view(cls, *_: Any, **initkwargs: Any) -> Any:
        @wraps(view)
        def made(request: HttpRequest) -> HttpResponse:
            return view(request)

        made.view_class = cls  # type: ignore[attr-defined]
        return made


@pytest.mark.long
@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("inner", "outer"),
    [(lambda one: one, lambda one: require_auth(timed(one))), (require_auth, require_auth(roles={"admin"}))],
)
def test_a_gate_above_other_decorators_that_came_after_the_path(
    inner: Any, outer: Any, serve: Callable[..., None], visit: Visit
) -> None:
    me = inner(copied(view))
    pattern = path("me", me)
    me = outer(me)
    serve(pattern)
    assert visit("/me").status_code == 500
    assert "/me is open to everybody" in found()[0]


@pytest.mark.long
@pytest.mark.rule("S26")
@pytest.mark.parametrize("function", [view, aview])
@pytest.mark.parametrize("nest", [lambda one: one, lambda one: path("in/", include([one]))])
def test_s26_a_gate_that_came_after_the_path(
    function: Any, nest: Any, serve: Callable[..., None], visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    me = copied(function)
    pattern = nest(path("me", me))
    me = require_auth(me)
    serve(pattern, path("health", view))
    prefix = "/in" if isinstance(pattern, URLResolver) else ""
    for asked in ("/health", f"{prefix}/me", f"{prefix}/me"):
        assert visit(asked).status_code == 500
    [message] = found()
    assert message in caplog.text
    assert f"{prefix}/me is open to everybody" in message
    assert f"require_auth({function.__name__})" in message
    assert "test_misplaced_django.py, line " in message


LATE = """
def me(request):
    return HttpResponse("open")

class Views:
    def here(request):
        return HttpResponse("open")
    urls = [path("here", here)]
    here = require_auth(here)

urlpatterns = [path("me", me), *Views.urls]
"""


@pytest.mark.long
@pytest.mark.parametrize(("more", "address"), [("me = require_auth(me)", "/me"), ("", "/here")])
def test_a_gate_that_came_after_the_path_in_a_module(more: str, address: str, settings: Any, visit: Visit) -> None:
    urls: Any = types.ModuleType("urls_of_a_test")
    vars(urls).update(HttpResponse=HttpResponse, path=path, require_auth=require_auth)
    exec(LATE + more, vars(urls))
    settings.ROOT_URLCONF = urls
    assert visit("/me").status_code == 500
    assert f"{address} is open to everybody" in found()[0]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (path("me", OwnWay.as_view()), "class OwnWay(RequireAuthMixin, …)"),
        (path("me", require_auth), "calls require_auth itself"),
        (path("me", require_auth(max_staleness=0)), "calls require_auth itself"),
        (path("me", timed(moonkey_flask.require_auth(view))), "from moonkey_django import require_auth"),
        (path("me", moonkey_starlette.require_auth(view)), "from moonkey_django import require_auth"),
    ],
)
def test_a_gate_that_is_none(
    pattern: URLPattern, said: str, serve: Callable[..., None], visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    serve(pattern)
    assert visit("/me").status_code == 500
    [message] = found()
    assert said in message
    assert message in caplog.text


@pytest.mark.long
def test_urls_that_a_request_brings_along(
    serve: Callable[..., None], settings: Any, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    me = copied(view)
    OtherUrls.urls = types.ModuleType("other_urls_of_a_test")
    OtherUrls.urls.urlpatterns = [path("me", me)]
    me = require_auth(me)
    serve(path("me", view))
    assert visit("/me").status_code == 200
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.OtherUrls"]
    assert visit("/me").status_code == 500
    assert "/me is open to everybody" in caplog.text


class OtherUrls:
    urls: Any = None

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.urlconf = self.urls
        return self.get_response(request)


class Counting(MoonKeyMiddleware):
    """A middleware of the project's own."""

    calls = 0

    def process_view(self, *given: Any) -> Any:
        Counting.calls += 1
        return super().process_view(*given)


@pytest.mark.long
def test_a_middleware_of_the_projects_own(serve: Callable[..., None], settings: Any, visit: Visit) -> None:
    me = copied(view)
    serve(path("me", me))
    me = require_auth(me)
    settings.MIDDLEWARE = [f"{__name__}.Counting"]
    before = Counting.calls
    assert visit("/me").status_code == 500
    assert Counting.calls == before + 1


# --- What is right


class First(RequireAuthMixin, ViewSet):  # two ways to say as_view()
    def list(self, request: Request) -> Response:
        return Response("seen")


class Rest(APIView, RequireAuthMixin):  # its `as_view` calls the next one
    def get(self, request: Request) -> Response:
        return Response("seen")


class Page(TemplateView, RequireAuthMixin):
    pass


@method_decorator(require_auth, name="dispatch")
class Dispatched(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("seen")


class Part(View):
    @method_decorator(require_auth)
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("seen")


@require_auth
@api_view(["GET"])
def above(request: HttpRequest) -> Response:
    return Response("seen")


@api_view(["GET"])
@require_auth
def below(request: HttpRequest) -> Response:
    return Response("seen")


@pytest.mark.rule("S26")
def test_views_in_order(serve: Callable[..., None], visit: Visit) -> None:
    router = SimpleRouter()
    router.register("set", First, basename="set")
    closed = {
        "function": require_auth(view),
        "async": require_auth(aview),
        "wrapped": timed(require_auth(timed(view))),
        "rest": Rest.as_view(),
        "page": Page.as_view(template_name="none.html"),
        "dispatched": Dispatched.as_view(),
        "part": Part.as_view(),
        "above": above,
        "below": below,
    }
    patterns = [path(name, one) for name, one in closed.items()]
    serve(*patterns, path("", include(router.urls)), path("public", view), path("apublic", aview))
    assert found() == []
    assert {name: visit(f"/{name}").status_code for name in (*closed, "set/")} == dict.fromkeys(
        (*closed, "set/"), 401
    )
    assert [visit(name).status_code for name in ("/public", "/apublic")] == [200, 200]


# --- What is no view


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("admin",), r"@require_auth\(roles=\{'admin'\}\)"),
        (("admin", "staff"), "by keyword"),
        ((Part,), r"Part is a class: write class V\(RequireAuthMixin, …\)"),
        ((staticmethod(view),), "Write @staticmethod above"),
        ((path("x", view),), "was given a URLPattern"),
        ((HttpRequest(),), "was given a HttpRequest"),
        ((require_auth,), "was given require_auth"),
    ],
)
def test_what_no_gate_can_stand_in_front_of(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        require_auth(*given)


class Bare(View):
    @require_auth
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("seen")


def test_a_method_needs_the_decorator_for_methods(serve: Callable[..., None], visit: Visit) -> None:
    serve(path("me", Bare.as_view()))
    assert found() == []
    with pytest.raises(ImproperlyConfigured, match=r"given Bare .*write @method_decorator\(require_auth\)"):
        Bare().get(HttpRequest())
    assert visit("/me").status_code == 500


def test_our_gate_somewhere_else() -> None:
    with pytest.raises(ImproperlyConfigured, match="from moonkey_flask, or from moonkey_starlette"):
        cast(Any, require_auth(view))(name="ada")
