"""A site whose MoonKey users are users of Django's, and what its tests need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin, auth
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import (
    login_not_required,
    login_required,
    permission_required,
    user_passes_test,
)
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.generic.base import View
from integrations.django_visits import Visit, visit_wsgi

from moonkey_core.emulator import SignedIn
from moonkey_django.users.models import MoonKeyUser

BACKENDS = ["moonkey_django.backend.MoonKeyBackend", "django.contrib.auth.backends.ModelBackend"]
SESSIONS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
OURS = "moonkey_django.MoonKeyMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
PAGES = {
    "plain": "<p>hello</p>",
    "user": "{{ user }}",
    "and": "{% if user.is_authenticated and 1 == 1 %}in{% else %}out{% endif %}",
    "not": "{% if not user.is_authenticated %}out{% else %}in{% endif %}",
    "moonkey": "{{ moonkey.user.id }} {{ moonkey.session.user_id }} {{ moonkey.state }}",
    "if-moonkey": "{% if moonkey.is_authenticated %}in{% else %}out{% endif %}",
    "not-moonkey": "{% if not moonkey.is_authenticated %}out{% else %}in{% endif %}",
}


def set_up(settings: Any, *middleware: str) -> None:
    """The settings of a usual project, with this after Django's own middleware; ours alone by default."""
    settings.ROOT_URLCONF = "integrations.django_people"
    settings.AUTHENTICATION_BACKENDS = BACKENDS
    settings.MIDDLEWARE = [*SESSIONS, *(middleware or (OURS,)), MESSAGES]
    settings.LOGIN_URL = "/sign-in"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    processors = [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
        "moonkey_django.context_processors.moonkey",
    ]
    loaders = [
        ("django.template.loaders.locmem.Loader", PAGES),
        "django.template.loaders.app_directories.Loader",
    ]
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"context_processors": processors, "loaders": loaders},
        }
    ]


def mapped(person: SignedIn, username: str = "ada", **fields: Any) -> Any:
    """A Django user who is this MoonKey user."""
    user = get_user_model().objects.create(username=username, **fields)
    MoonKeyUser.objects.create(user=user, moonkey_id=person.user_id)
    return user


def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that fills with the first word of all SQL, whichever thread it runs in."""
    found: list[str] = []
    execute = CursorWrapper.execute

    def noted(self: Any, sql: str, params: Any = None) -> Any:
        found.append(sql.split()[0])
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", noted)
    return found


def by_password(username: str = "bob") -> str:
    """The session of somebody new, who has signed in by password, as in the admin."""
    client = Client()
    client.force_login(get_user_model().objects.create(username=username), backend=BACKENDS[1])
    return client.cookies["sessionid"].value


def visit_with_session(visit: Visit, path: str, session: str, credential: str | None = None) -> Any:
    """The same as ``visit(path, credential)``, in a browser that has this session of Django's."""
    headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
    if visit is visit_wsgi:
        client = Client(raise_request_exception=False)
        client.cookies["sessionid"] = session
        return client.get(path, headers=headers)

    async def call() -> Any:
        client = AsyncClient(raise_request_exception=False)
        client.cookies["sessionid"] = session
        return await client.get(path, headers=headers)

    return asyncio.run(call())


def told(user: Any) -> HttpResponse:
    return JsonResponse({"user": user.get_username(), "in": user.is_authenticated})


def who(request: HttpRequest) -> HttpResponse:
    return told(request.user)


async def awho(request: HttpRequest) -> HttpResponse:
    return told(await request.auser())


async def both(request: HttpRequest) -> HttpResponse:
    """Who has awaited the user may read it, from the event loop too."""
    user = await request.auser()
    assert await request.auser() is user
    return told(request.user)


def sync_then_async(request: HttpRequest) -> HttpResponse:
    assert request.user.get_username() == async_to_sync(request.auser)().get_username()
    return told(request.user)


def catches(request: HttpRequest) -> HttpResponse:
    """A view that treats every trouble as nobody."""
    try:
        name = request.user.get_username()
    except Exception:
        name = "nobody"
    return HttpResponse(name)


def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse([request.user.get_username()])


class Staff(PermissionRequiredMixin, View):
    permission_required = "auth.view_user"

    def get(self, request: HttpRequest) -> HttpResponse:
        return told(request.user)


def ends(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return told(request.user)


async def aends(request: HttpRequest) -> HttpResponse:
    await auth.alogout(request)
    return told(await request.auser())


def begins(request: HttpRequest) -> HttpResponse:
    user = get_user_model().objects.get(username="bob")
    auth.login(request, user, backend=BACKENDS[1])
    return told(request.user)


def page(request: HttpRequest, name: str) -> HttpResponse:
    return render(request, name)


def deferred(request: HttpRequest, name: str) -> HttpResponse:
    return TemplateResponse(request, name)


async def apage(request: HttpRequest, name: str) -> HttpResponse:
    """Rendered on the event loop."""
    return HttpResponse(engines["django"].get_template(name).render({}, request))


async def awaited_page(request: HttpRequest, name: str) -> HttpResponse:
    await request.auser()
    return HttpResponse(engines["django"].get_template(name).render({}, request))


class Asks:
    """A middleware that looks at the user before every view, in the way of older ones."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_args: Any) -> HttpResponse | None:
        return None if request.user.is_authenticated else HttpResponse("asks", status=418)


class AsksFirst(Asks):
    """The same, before the request goes on."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.process_view(request) or self.get_response(request)


def _passes(user: Any) -> bool:
    return bool(user.is_authenticated)


@login_required
async def alogin_required(request: HttpRequest) -> HttpResponse:
    return told(await request.auser())


@permission_required("auth.view_user")
async def apermission(request: HttpRequest) -> HttpResponse:
    return told(await request.auser())


urlpatterns = [
    path("admin/", admin.site.urls),
    path("who", who),
    path("awho", awho),
    path("both", both),
    path("sync-then-async", sync_then_async),
    path("catches", catches),
    path("stream", stream),
    path("plain", lambda request: HttpResponse("plain")),
    path("cached", cache_page(60)(who)),
    path("login-required", login_required(who)),
    path("alogin-required", alogin_required),
    path("passes-test", user_passes_test(_passes)(who)),
    path("permission", permission_required("auth.view_user")(who)),
    path("apermission", apermission),
    path("permission-raises", permission_required("auth.view_user", raise_exception=True)(who)),
    path("staff", Staff.as_view()),
    path("ends", ends),
    path("aends", aends),
    path("begins", begins),
    path("sign-in", login_not_required(lambda request: HttpResponse("sign in"))),
    path("page/<name>", page),
    path("deferred/<name>", deferred),
    path("apage/<name>", apage),
    path("awaited-page/<name>", awaited_page),
]
