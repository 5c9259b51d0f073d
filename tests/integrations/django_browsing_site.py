"""A Django site with cookies and the session routes, and its servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.urls import include, path
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_exempt

from moonkey_core import Auth
from moonkey_django import MoonKeyRequest, require_auth
from support import quick
from support.servers import serve_asgi, serve_wsgi

Handler = Callable[..., Any]

made: list[int] = []
"""An entry for each run of a view that is cached."""


def who(request: MoonKeyRequest) -> dict[str, Any]:
    auth = request.moonkey
    return {"user": auth.user.id if auth.user else None, "state": auth.state, "source": auth.source}


@csrf_exempt
@require_auth
def me(request: MoonKeyRequest) -> HttpResponse:
    return JsonResponse(who(request))


@require_auth
async def ame(request: MoonKeyRequest) -> HttpResponse:
    return JsonResponse(who(request))


@require_auth(max_staleness=0)
async def strict(request: MoonKeyRequest) -> HttpResponse:
    return JsonResponse(who(request))


async def looks(request: MoonKeyRequest) -> Auth:
    return await request.amoonkey()


async def public(request: MoonKeyRequest) -> HttpResponse:
    await looks(request)
    return JsonResponse(who(request), headers={"Cache-Control": "public, max-age=60"})


def unread(request: MoonKeyRequest) -> HttpResponse:
    return HttpResponse("unread")


async def redirects(request: MoonKeyRequest) -> HttpResponse:
    await looks(request)
    return HttpResponseRedirect("/elsewhere")


async def missing(request: MoonKeyRequest) -> HttpResponse:
    await looks(request)
    raise Http404


async def unauthorized(request: MoonKeyRequest) -> HttpResponse:
    await looks(request)
    return HttpResponse("by the app itself", status=401)


async def broken(request: MoonKeyRequest) -> HttpResponse:
    await looks(request)
    raise RuntimeError("broken")


async def own_cookie(request: MoonKeyRequest) -> HttpResponse:
    response = HttpResponse((await looks(request)).state)
    response.set_cookie("__Host-moonkey_jwt", "", max_age=0, secure=True)
    return response


@require_auth
async def ends(request: MoonKeyRequest) -> HttpResponse:
    from moonkey_django import get_client

    session = request.moonkey.session
    assert session is not None
    get_client().revocations.add(session_id=session.id)  # as if somebody signed out meanwhile
    return HttpResponse("over")


@require_auth
def stream(request: MoonKeyRequest) -> HttpResponseBase:
    return StreamingHttpResponse(_parts(request))


@require_auth(factors={"sms", "email"}, factor_count=2)
def payout(request: MoonKeyRequest) -> HttpResponse:
    return HttpResponse("paid")


@require_auth(factors={"sms", "email"}, factor_count=2)
async def apayout(request: MoonKeyRequest) -> HttpResponse:
    return HttpResponse("paid")


def reads_body(get_response: Handler) -> Handler:
    """A middleware that reads each body before anybody else."""

    def middleware(request: HttpRequest) -> HttpResponse:
        assert len(request.body) >= 0
        response: HttpResponse = get_response(request)
        return response

    return middleware


def reads_post(get_response: Handler) -> Handler:
    """A middleware that reads each form before anybody else."""

    def middleware(request: HttpRequest) -> HttpResponse:
        assert len(request.POST) >= 0
        response: HttpResponse = get_response(request)
        return response

    return middleware


def sync_only(get_response: Handler) -> Handler:
    """A middleware that forces those above it into a thread under ASGI."""
    return lambda request: get_response(request)


def lazy_stream(request: MoonKeyRequest) -> HttpResponseBase:
    return StreamingHttpResponse(_parts(request))


def _parts(request: MoonKeyRequest) -> Iterator[str] | AsyncIterator[str]:
    """What looks when the headers have long been sent."""

    def parts() -> Iterator[str]:
        yield request.moonkey.state

    async def aparts() -> AsyncIterator[str]:
        yield (await request.amoonkey()).state

    return aparts() if isinstance(request, ASGIRequest) else parts()


def file(request: MoonKeyRequest) -> HttpResponseBase:
    return FileResponse(open(__file__, "rb"))


@cache_page(60)
def cached(request: MoonKeyRequest) -> HttpResponse:
    made.append(1)
    return HttpResponse("the same for all")


urlpatterns = [
    path("me", me),
    path("ame", ame),
    path("strict", strict),
    path("public", public),
    path("unread", unread),
    path("redirect", redirects),
    path("missing", missing),
    path("unauthorized", unauthorized),
    path("broken", broken),
    path("own-cookie", own_cookie),
    path("ends", ends),
    path("payout", payout),
    path("apayout", apayout),
    path("stream", stream),
    path("lazy-stream", lazy_stream),
    path("file", file),
    path("cached", cached),
    path("auth/", include("moonkey_django.urls")),
]


@contextmanager
def browsing(kind: str, mounted_at: str = "") -> Iterator[httpx.Client]:
    """A browser in front of the site: it follows no redirects and keeps no cookies.

    ``kind`` is ``wsgi`` or ``asgi``; ``mounted_at`` is the path under which the server has the whole site.
    """
    with _serving(kind, mounted_at) as url, quick.Client(base_url=url) as browser:
        yield browser


@contextmanager
def _serving(kind: str, mounted_at: str) -> Iterator[str]:
    if kind == "wsgi":
        handler = WSGIHandler()

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            if mounted_at:
                environ["SCRIPT_NAME"] = mounted_at
                environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(mounted_at)
            return handler(environ, start_response)

        with serve_wsgi(app, threads=12) as url:
            yield url
    else:
        # A proxy in front takes the path away, and uvicorn adds it again.
        with serve_asgi(ASGIHandler(), lifespan="off", root_path=mounted_at) as url:
            yield url
