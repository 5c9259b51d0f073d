"""The contract site in Django: views, and the URL configuration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from contract.behaviour import HELD, STREAM_PAUSE, TEN_MINUTES, Runs
from contract.kinds import FILE, KINDS
from django.core.handlers.asgi import ASGIRequest
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
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from moonkey_core import Auth, ProviderUnavailable
from moonkey_core.gate import optional_user
from moonkey_django import RequireAuthMixin, optional_auth, require_auth, session_routes
from moonkey_django import public as opened

runs: Runs = []  # the views of a Django project are module-level, so the record of their runs is too


def auth_of(request: HttpRequest) -> Auth:
    auth: Auth = request.moonkey  # type: ignore[attr-defined]
    return auth


def who(request: HttpRequest) -> dict[str, Any]:
    runs.append(request.method or "")
    auth = auth_of(request)
    assert auth.user is not None
    assert auth.session is not None
    return {"user": auth.user.id, "session": auth.session.id}


def public(request: HttpRequest) -> HttpResponse:
    return HttpResponse("public")


@opened
def marked(request: HttpRequest) -> HttpResponse:
    return HttpResponse("opened")


@optional_auth
async def state(request: HttpRequest) -> HttpResponse:
    return HttpResponse(auth_of(request).state)


@csrf_exempt
@require_auth
def protected(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


@require_auth()
async def other_colour(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


@require_auth(max_staleness=0)
def strict(request: HttpRequest) -> HttpResponse:
    return JsonResponse({**who(request), "source": auth_of(request).source})


@require_auth(max_staleness=0)
async def other_strict(request: HttpRequest) -> HttpResponse:
    return JsonResponse({**who(request), "source": auth_of(request).source})


class WithoutGrace(RequireAuthMixin, View):
    grace_seconds = 0

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse(who(request))


@require_auth(factors={"totp"})
def totp(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


@require_auth(factor_max_age=TEN_MINUTES)
async def fresh_factor(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


class TwoFactors(RequireAuthMixin, View):
    factors = {"totp", "webauthn"}
    factor_count = 2
    factor_max_age = TEN_MINUTES

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse(who(request))


class YoungSession(RequireAuthMixin, View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse(who(request))


@require_auth(claims={"plan": "pro"})
def paying(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


@require_auth(scopes={"write"}, factors={"totp"})
def writer(request: HttpRequest) -> HttpResponse:
    return JsonResponse(who(request))


def optional(request: HttpRequest) -> HttpResponse:
    auth = auth_of(request)
    return JsonResponse(
        {
            "state": auth.state,
            "reason": auth.error.reason if auth.error else None,
            "user": auth.user.id if auth.user else None,
        }
    )


@require_auth
def models(request: HttpRequest) -> HttpResponse:
    user, session = auth_of(request).user, auth_of(request).session
    assert user is not None
    assert session is not None
    return JsonResponse({"user": user.to_dict(), "session": session.to_dict()})


@require_auth
def cached(request: HttpRequest) -> HttpResponse:
    headers = {"Cache-Control": "public, max-age=60", "Vary": "Accept-Language"}
    return JsonResponse(who(request), headers=headers)


@require_auth
def raises(request: HttpRequest) -> HttpResponse:
    raise ProviderUnavailable(retry_after=7)


def foreign(request: HttpRequest) -> HttpResponse:
    user = optional_user(auth_of(request))
    return JsonResponse({"user": user.id}) if user is not None else HttpResponse(status=403)


@require_auth
def stream(request: HttpRequest) -> StreamingHttpResponse:
    def line() -> str:
        user = auth_of(request).user
        return f"{user.id if user else None}\n"

    def parts() -> Iterator[str]:
        for _ in range(3):
            time.sleep(STREAM_PAUSE)
            yield line()

    async def aparts() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(STREAM_PAUSE)
            yield line()

    content = aparts() if isinstance(request, ASGIRequest) else parts()
    return StreamingHttpResponse(content, content_type="text/plain")


def late_stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield auth_of(request).state

    async def aparts() -> AsyncIterator[str]:
        yield auth_of(request).state

    content = aparts() if isinstance(request, ASGIRequest) else parts()
    return StreamingHttpResponse(content, content_type="text/plain")


def kinds(request: HttpRequest, name: str) -> HttpResponseBase:
    if "read" in request.GET:
        _ = auth_of(request).state
    kind = KINDS[name]

    async def parts() -> AsyncIterator[str]:
        for one in kind.text:
            yield one

    response: HttpResponseBase
    if kind.body == "file":
        response = FileResponse(Path(FILE).open("rb"))  # noqa: SIM115 - Django closes it
    elif kind.body == "generated file":
        response = FileResponse(one.encode() for one in kind.text)
    elif kind.body == "whole":
        response = HttpResponse(kind.text, status=kind.status)
    else:
        content = parts() if isinstance(request, ASGIRequest) else iter(kind.text)
        response = StreamingHttpResponse(content, status=kind.status)
    for header, value in kind.headers:
        response.headers[header] = value
    for cookie in kind.cookies:
        response.cookies.load(cookie)
    return response


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404(auth_of(request).state)


def moved(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/elsewhere", headers={"X-State": auth_of(request).state})


def failed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(auth_of(request).state, status=500)


@require_auth
def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug of the app")


@require_auth
def held(request: HttpRequest) -> HttpResponse:
    HELD.wait()
    return JsonResponse(who(request))


@csrf_exempt
@require_auth
def upload(request: HttpRequest) -> HttpResponse:
    first = who(request)
    file: Any = request.FILES["file"]
    content = file.read()
    time.sleep(len(content) % 7 / 1000)
    user = auth_of(request).user
    return JsonResponse({**first, "again": user.id if user else None})


urlpatterns = [
    path("header/", include(session_routes(mode="header"))),
    path("public", public),
    path("opened", marked),
    path("opened/to-state", state),
    path("models", models),
    path("protected", protected),
    path("other-colour", other_colour),
    path("strict", strict),
    path("other-strict", other_strict),
    path("without-grace", WithoutGrace.as_view()),
    path("totp", totp),
    path("fresh-factor", fresh_factor),
    path("two-factors", TwoFactors.as_view()),
    path("young-session", YoungSession.as_view(session_max_age=TEN_MINUTES)),
    path("paying", paying),
    path("writer", writer),
    path("optional", optional),
    path("cached", cached),
    path("raises", raises),
    path("foreign", foreign),
    path("stream", stream),
    path("late-stream", late_stream),
    path("kinds/<name>", kinds),
    path("missing", missing),
    path("moved", moved),
    path("failed", failed),
    path("broken", broken),
    path("held", held),
    path("upload", upload),
]
