"""The views and odd middleware that the Django tests call."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_exempt
from django.views.generic.base import TemplateView, View

from moonkey_core import Auth, ConfigurationError, NotFound, ProviderRejectedKey, ProviderUnavailable
from moonkey_django import MoonKeyRequest, RequireAuthMixin, require_auth

ran: list[str] = []
threads: list[int] = []


def who(request: MoonKeyRequest) -> HttpResponse:
    """What a view knows of its caller."""
    auth = request.moonkey
    assert isinstance(auth, Auth)
    ran.append(request.method or "")
    return JsonResponse({"state": auth.state, "user": auth.user.id if auth.user else None})


def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse("public")


async def apublic(request: HttpRequest) -> HttpResponse:
    threads.append(threading.get_ident())
    return HttpResponse("public")


async def unauthorized(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=401)


def peek(request: MoonKeyRequest) -> HttpResponse:
    return who(request)


async def apeek(request: MoonKeyRequest) -> HttpResponse:
    return who(request)


async def awaits(request: MoonKeyRequest) -> HttpResponse:
    auths = await asyncio.gather(*(request.amoonkey() for _ in range(5)))
    assert all(auth is auths[0] for auth in auths)
    return who(request)


async def cancels(request: MoonKeyRequest) -> HttpResponse:
    """The first of two who ask goes away; the second gets its answer all the same."""
    first = asyncio.create_task(request.amoonkey())
    second = asyncio.create_task(request.amoonkey())
    await asyncio.sleep(0.1)
    first.cancel()
    auth = await second
    return JsonResponse({"first_cancelled": first.cancelled(), "state": auth.state})


async def shows(request: MoonKeyRequest) -> HttpResponse:
    return HttpResponse(str(await request.amoonkey()))


@require_auth
def me(request: MoonKeyRequest) -> HttpResponse:
    return who(request)


@require_auth()
async def ame(request: MoonKeyRequest) -> HttpResponse:
    threads.append(threading.get_ident())
    return who(request)


class Page(RequireAuthMixin, View):
    def setup(self, request: Any, *args: Any, **kwargs: Any) -> None:
        ran.append("setup")
        super().setup(request, *args, **kwargs)

    def get(self, request: MoonKeyRequest) -> HttpResponse:
        return who(request)


class APage(TemplateView, RequireAuthMixin):
    async def get(self, request: MoonKeyRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        return who(request)


@method_decorator(require_auth, name="dispatch")
class Decorated(View):
    async def get(self, request: MoonKeyRequest) -> HttpResponse:
        return who(request)


class MethodDecorated(View):
    @method_decorator(require_auth)
    def get(self, request: MoonKeyRequest) -> HttpResponse:
        return who(request)


class Undecorated(View):
    @require_auth
    def get(self, request: MoonKeyRequest) -> HttpResponse:
        return who(request)


def stream(request: MoonKeyRequest) -> HttpResponseBase:
    def parts() -> Iterator[str]:
        yield request.moonkey.state

    return StreamingHttpResponse(parts())


async def astream(request: MoonKeyRequest) -> HttpResponseBase:
    async def parts() -> AsyncIterator[str]:
        yield request.moonkey.state

    return StreamingHttpResponse(parts())


def download(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(io.BytesIO(b"data"))


@require_auth
def own_cache_control(request: MoonKeyRequest) -> HttpResponse:
    return HttpResponse(headers={"Cache-Control": "max-age=9", "Vary": "Accept-Language, session-token"})


def forgets(request: MoonKeyRequest) -> HttpResponse:
    return None  # type: ignore[return-value]


ERRORS: dict[str, Exception] = {
    "unavailable": ProviderUnavailable(retry_after=7),
    "misconfigured": ConfigurationError("MOONKEY_REALM is odd"),
    "key": ProviderRejectedKey(),
    "missing": NotFound(),
    "foreign": ValueError("not ours"),
}


def raises(request: HttpRequest, name: str) -> HttpResponse:
    raise ERRORS[name]


async def araises(request: HttpRequest, name: str) -> HttpResponse:
    raise ERRORS[name]


def sync_only(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware of the old kind, which forces those above it into a thread under ASGI."""
    return lambda request: get_response(request)


class AsyncOnly:
    """A middleware that forces those above it into a loop under WSGI."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        return await self.get_response(request)


urlpatterns = [
    path("public", public),
    path("apublic", apublic),
    path("unauthorized", unauthorized),
    path("peek", peek),
    path("apeek", apeek),
    path("awaits", awaits),
    path("cancels", cancels),
    path("shows", shows),
    path("me", me),
    path("ame", ame),
    path("page", Page.as_view()),
    path("apage", APage.as_view()),
    path("decorated", Decorated.as_view()),
    path("method-decorated", MethodDecorated.as_view()),
    path("undecorated", Undecorated.as_view()),
    path("cached", cache_page(60)(require_auth(peek))),
    path("cached-peek", cache_page(60)(peek)),
    path("cached-apeek", cache_page(60)(apeek)),
    path("exempt", require_auth(csrf_exempt(peek))),
    path("stream", stream),
    path("astream", astream),
    path("download", download),
    path("own-cache-control", own_cache_control),
    path("forgets", require_auth(forgets)),
    path("raises/<name>", raises),
    path("araises/<name>", araises),
]
