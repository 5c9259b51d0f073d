"""Django: what the setup of users asks of a project, its checks, and imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from hypothesis import given
from integrations.django_people import OURS, SESSIONS, set_up
from integrations.django_programs import python
from integrations.django_visits import Configure

from moonkey_core import User
from moonkey_django.conf import UsersError, _users
from moonkey_django.user_checks import check_users
from support.any_json import JSON

DJANGOS = "django.contrib.auth.middleware.LoginRequiredMiddleware"
LOGIN_REQUIRED = "moonkey_django.login_required.LoginRequiredMiddleware"
NO_FUNCTION = 7


async def asynchronous(person: User) -> None:
    return None


def problems() -> dict[str, CheckMessage]:
    found = [message for message in run_checks() if str(message.id).startswith("moonkey.")]
    assert all(message.hint for message in found)
    return {str(message.id): message for message in found}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)


@pytest.mark.parametrize("users", ["match", "create", None, "integrations.django_people.mapped"])
def test_a_sound_project_has_no_problems(configure: Configure, users: object) -> None:
    configure(USERS=users)
    WSGIHandler().load_middleware()
    assert problems() == {}


@pytest.mark.parametrize(
    ("users", "said"),
    [
        ("Match", 'must be None, "match", "create"'),
        ("", 'must be None, "match", "create"'),
        ("a.b c", 'must be None, "match", "create"'),
        (True, 'must be None, "match", "create"'),
        (["match"], 'must be None, "match", "create"'),
        (asynchronous, "A coroutine function will not do"),
        ("no.such.thing", "cannot be imported"),
        ("integrations.django_people.no_such_thing", "cannot be imported"),
        (f"{__name__}.NO_FUNCTION", "is no plain function"),
        (f"{__name__}.asynchronous", "is no plain function"),
    ],
)
def test_a_wrong_setting_stops_the_handler_and_fails_a_check_of_its_own(
    configure: Configure, users: object, said: str
) -> None:
    configure(USERS=users)
    with pytest.raises(ImproperlyConfigured, match=said) as caught:
        WSGIHandler()
    found = problems()
    assert list(found) == ["moonkey.E010"]
    assert found["moonkey.E010"].msg == str(caught.value)


@pytest.mark.parametrize(
    ("users", "missing"),
    [
        ("match", "moonkey_django.users"),
        ("create", "django.contrib.auth"),
        (lambda person: None, "django.contrib.auth"),
    ],
)
def test_missing_apps(configure: Configure, settings: Any, users: object, missing: str) -> None:
    configure(USERS=users)
    settings.INSTALLED_APPS = ["moonkey_django"] if missing == "django.contrib.auth" else [
        app for app in settings.INSTALLED_APPS if app != missing
    ]  # fmt: skip
    with pytest.raises(ImproperlyConfigured, match=f'needs "{missing}" in INSTALLED_APPS'):
        WSGIHandler()
    assert [message.id for message in check_users()] == ["moonkey.E010"]


def test_a_function_needs_no_table_of_ours(configure: Configure, settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "moonkey_django.users"]
    configure(USERS="integrations.django_people.mapped")
    WSGIHandler()
    assert problems() == {}


def test_a_missing_backend(configure: Configure, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "no.such.Backend"]
    assert problems() == {}
    configure(USERS="match")
    assert list(problems()) == ["moonkey.E011"]


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([OURS], []),
        ([*SESSIONS, OURS], []),
        ([OURS, *SESSIONS], ["moonkey.E012"]),
        ([*SESSIONS, OURS, LOGIN_REQUIRED], []),
        ([*SESSIONS, OURS, DJANGOS], ["moonkey.W013"]),
        ([], ["moonkey.W003"]),
    ],
)
def test_places_in_the_middleware(
    configure: Configure, settings: Any, middleware: list[str], expected: list[str]
) -> None:
    configure(USERS="match")
    settings.MIDDLEWARE = middleware
    # Those of Django's admin, which wants more of it, are not ours.
    assert list(problems()) == expected
    configure()
    assert set(problems()) <= {"moonkey.W003"}


@pytest.mark.long
@given(JSON)
def test_no_value_is_too_odd(value: Any) -> None:
    try:
        found = _users(value)
    except UsersError:
        return
    assert found is None or found in ("match", "create") or "." in str(found)


def test_another_wrong_setting_is_told_once(settings: Any) -> None:
    settings.MOONKEY = {"USERS": "match"}
    assert list(problems()) == ["moonkey.E001"]
    settings.MOONKEY = []
    assert list(problems()) == ["moonkey.E002"]


@pytest.mark.django_db
def test_the_migration_is_that_of_the_model() -> None:
    call_command("makemigrations", "moonkey_users", check=True, dry_run=True, verbosity=0)


OWN_USERS = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

class Person(AbstractBaseUser):
    {fields}
    objects = BaseUserManager()
"""
BY_EMAIL = 'email = models.EmailField(unique=True)\n    USERNAME_FIELD = "email"'
SIMPLE = 'name = models.TextField(unique=True)\n    USERNAME_FIELD = "name"'
WITH_MORE = SIMPLE + '\n    REQUIRED_FIELDS = ["shoe_size"]'
ON_THEIR_OWN = """
import sys, django
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command

sys.path.insert(0, sys.argv[1])
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes", "django.contrib.auth", "people", "moonkey_django", "moonkey_django.users",
    ],
    AUTH_USER_MODEL="people.Person",
    AUTHENTICATION_BACKENDS=["moonkey_django.backend.MoonKeyBackend"],
    MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
    MOONKEY={"SECRET_KEY": "sk_test_x", "USERS": "create"},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
found = [message.id for message in run_checks()]
if not found:
    call_command("makemigrations", "people", verbosity=0)
    call_command("makemigrations", "moonkey_users", check=True, verbosity=0)
    call_command("migrate", verbosity=0)
    from moonkey_core import User
    from moonkey_django.users.finding import find_user
    assert find_user(User("user_x")) == find_user(User("x"))
    found = [find_user(User("x")).get_username()]
print(found)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("fields", "expected"),
    [(BY_EMAIL, ["moonkey.E010"]), (WITH_MORE, ["moonkey.E010"]), (SIMPLE, ["x"])],
    ids=["by e-mail", "with more", "simple"],
)
def test_a_user_model_of_the_projects_own(tmp_path: Path, fields: str, expected: list[str]) -> None:
    app = tmp_path / "people"
    (app / "migrations").mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "migrations" / "__init__.py").touch()
    (app / "models.py").write_text(OWN_USERS.format(fields=fields))
    assert python(ON_THEIR_OWN, arguments=(str(tmp_path),)).strip() == str(expected)


PLAIN = """
import sys, django
from django.conf import settings
import moonkey_django, moonkey_django.users, moonkey_django.context_processors
from moonkey_django import *
assert not settings.configured
settings.configure(
    INSTALLED_APPS=["moonkey_django"],
    MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
    MOONKEY={"SECRET_KEY": "sk_test_x"},
    ROOT_URLCONF="urls_of_the_test",
    ALLOWED_HOSTS=["*"],
)
django.setup()
from types import ModuleType
from django.http import HttpResponse
from django.urls import path
urls = ModuleType("urls_of_the_test")
urls.urlpatterns = [path("", lambda request: HttpResponse(request.moonkey.state))]
sys.modules["urls_of_the_test"] = urls
from django.core.checks import run_checks
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory
ASGIHandler()
assert run_checks() == []
response = WSGIHandler().get_response(RequestFactory().get("/"))
assert response.content == b"anonymous"
print(sorted(name for name in sys.modules if name.startswith(("django.contrib.auth", "rest_framework"))))
"""


@pytest.mark.long
def test_without_users_nothing_of_djangos_own_is_imported() -> None:
    assert python(PLAIN).strip() == "[]"
