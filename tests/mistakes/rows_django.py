"""Mistakes of Django projects."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.generic import View
from mistakes.lab import Lab, Row

from moonkey_django.checks import check_middleware
from moonkey_django.gates import check_sign_in_of_django
from moonkey_django.user_checks import check_users
from moonkey_django.users import finding

BACKEND = ["moonkey_django.backend.MoonKeyBackend"]


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


class Account(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("open")


def _moonkey(lab: Lab, **more: Any) -> dict[str, Any]:
    return {**{name.upper(): value for name, value in lab.base.items()}, **more}


def checked(check: Any, *patterns: Any, users: Any = None, **more: Any) -> Any:
    """A mistake that a system check finds, when the project starts."""

    def provoke(lab: Lab, _: str) -> None:
        with lab.urls(*patterns, MOONKEY=_moonkey(lab, USERS=users), **more), lab.at("start"):
            for found in check():
                raise AssertionError(f"{found.id}: {found.msg} {found.hint}")

    return provoke


def handler(users: Any = None, **more: Any) -> Any:
    """A mistake that stops the handler."""

    def provoke(lab: Lab, _: str) -> None:
        with lab.urls(MOONKEY=_moonkey(lab, USERS=users), **more), lab.at("start"):
            lab.django_handler()

    return provoke


def nobody(lab: Lab, _: str) -> None:
    headers = {"session-token": lab.emulator.sign_in().session_token}
    asked = _moonkey(lab, USERS=lambda person: None)
    with lab.urls(path("", view), MOONKEY=asked, AUTHENTICATION_BACKENDS=BACKEND), lab.at("first request"):
        lab.visit_django(headers)


def wrong_user(lab: Lab, _: str) -> None:
    headers = {"session-token": lab.emulator.sign_in().session_token}
    asked = _moonkey(lab, USERS=lambda person: person)
    with lab.urls(path("", view), MOONKEY=asked, AUTHENTICATION_BACKENDS=BACKEND), lab.at("first request"):
        lab.visit_django(headers)


def no_tables(lab: Lab, _: str) -> None:
    def mapped(person: object) -> None:
        raise OperationalError("no such table: moonkey_django_users_moonkeyuser")

    lab.monkeypatch.setattr(finding, "mapped_user", mapped)
    headers = {"session-token": lab.emulator.sign_in().session_token}
    asked = _moonkey(lab, USERS="match")
    with lab.urls(path("", view), MOONKEY=asked, AUTHENTICATION_BACKENDS=BACKEND), lab.at("first request"):
        lab.visit_django(headers)


def _apps() -> list[str]:
    return [app for app in settings.INSTALLED_APPS if app != "moonkey_django.users"]


_LOGIN_REQUIRED = (
    'is behind login_required of Django, which does not know the users of MoonKey: MOONKEY["USERS"] is not set, so a user '
    'who is signed in at MoonKey is sent to sign in. Use @require_auth there, or set MOONKEY["USERS"].'
)

ROWS = (
    Row(
        "the middleware is missing",
        ("django",),
        "start",
        "moonkey.W003: MoonKey's middleware is not in MIDDLEWARE: no request has a `moonkey`, and gates fail. Add "
        '"moonkey_django.MoonKeyMiddleware" to MIDDLEWARE.',
        "Add it to `MIDDLEWARE`.",
        checked(check_middleware, MIDDLEWARE=[]),
    ),
    Row(
        '`MOONKEY["USERS"]` is set, and the backend is missing',
        ("django",),
        "start",
        'moonkey.E011: MOONKEY["USERS"] is set without its backend. Add "moonkey_django.backend.MoonKeyBackend" to '
        "AUTHENTICATION_BACKENDS.",
        "Add it to `AUTHENTICATION_BACKENDS`.",
        checked(check_users, users="match"),
    ),
    Row(
        '`MOONKEY["USERS"]` is set, and its app is missing',
        ("django",),
        "start",
        'MOONKEY["USERS"] needs "moonkey_django.users" in INSTALLED_APPS.',
        "Add it to `INSTALLED_APPS`, and migrate.",
        lambda lab, framework: handler(users="create", INSTALLED_APPS=_apps())(lab, framework),
    ),
    Row(
        '`MOONKEY["USERS"]` is misspelt',
        ("django",),
        "start",
        'MOONKEY["USERS"] must be None, "match", "create", or a function, or its dotted path.',
        '`"match"` or `"create"`.',
        handler(users="macth"),
    ),
    Row(
        "the migrations of `moonkey_django.users` were not run",
        ("django",),
        "first request",
        'MOONKEY["USERS"] has asked the database. If a table is missing, run: python manage.py migrate',
        "`python manage.py migrate`.",
        no_tables,
    ),
    Row(
        'the function in `MOONKEY["USERS"]` returns `None`',
        ("django",),
        "first request",
        'a user who is signed in at the provider is anonymous for the app: MOONKEY["USERS"] has found no Django user, so '
        "login_required sends this user to sign in again. Let it return a saved user, or use require_auth there",
        "Return a saved user.",
        nobody,
    ),
    Row(
        'the function in `MOONKEY["USERS"]` returns another object',
        ("django",),
        "first request",
        'The function in MOONKEY["USERS"] must return a saved user, or None.',
        "Return a saved user.",
        wrong_user,
    ),
    Row(
        '`login_required` on a view, and `MOONKEY["USERS"]` is not set',
        ("django",),
        "start",
        f"moonkey.W014: /account {_LOGIN_REQUIRED}",
        "Use `@require_auth`.",
        checked(check_sign_in_of_django, path("account", login_required(view))),
    ),
    Row(
        "the same with `LoginRequiredMixin`",
        ("django",),
        "start",
        f"moonkey.W014: /account {_LOGIN_REQUIRED}",
        "Use `RequireAuthMixin`.",
        checked(check_sign_in_of_django, path("account", Account.as_view())),
    ),
)
