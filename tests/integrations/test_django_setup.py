"""Django: settings, clients, system checks, and imports."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from integrations.django_programs import problems, python
from integrations.django_visits import Configure, visit_wsgi

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_django import get_async_client, get_client
from support.patience import PATIENCE

OURS = "moonkey_django.MoonKeyMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"


@pytest.mark.rule("S26")
@pytest.mark.parametrize("handler", [WSGIHandler, ASGIHandler])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "MOONKEY_SECRET_KEY"),
        ({"SECRET_KEY": "pk_test_x"}, "holds a public key"),
        ({"SECRET_KEY": "sk_test_x", "BASE_URL": "https://api.moonkey.fun/v1"}, "leave /v1 out"),
        ({"SECRET_KEY": "sk_test_x", "LEEWAI": 3}, "Did you mean 'leeway'"),
        ({"SECRET_KEY": "sk_test_x", 7: 3}, "no setting '7'"),
        ({"SECRET_KEY": "sk_test_x", "secret_key": "sk_test_y"}, "'SECRET_KEY' twice"),
        ({"SECRET_KEY": "sk_test_x", "LAZY": "yes"}, "LAZY"),
    ],
)
def test_a_wrong_setting_stops_the_handler_and_fails_the_check(
    settings: Any, handler: type, value: object, said: str
) -> None:
    settings.MOONKEY = value
    with pytest.raises(ImproperlyConfigured, match=said) as caught:
        handler()
    found = problems()
    assert list(found) == ["moonkey.E001"]
    assert found["moonkey.E001"].msg == str(caught.value)
    assert "sk_test_y" not in str(found)


@pytest.mark.parametrize("value", [None, "sk_test_x", ["SECRET_KEY"]])
def test_a_setting_that_is_no_dict(settings: Any, value: object) -> None:
    settings.MOONKEY = value
    with pytest.raises(ImproperlyConfigured, match="must be a dict"):
        WSGIHandler()
    assert list(problems()) == ["moonkey.E002"]


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([OURS], []),
        ([CORS, OURS], []),
        (["moonkey_django.middleware.MoonKeyMiddleware"], []),
        ([], ["moonkey.W003"]),
        (["no.such.Thing", CORS], ["moonkey.W003"]),
        ([OURS, CORS], ["moonkey.W004"]),
        ([OURS, CORS, OURS], ["moonkey.W004", "moonkey.W005"]),
    ],
)
@pytest.mark.usefixtures("configure")
def test_checks_of_the_middleware(settings: Any, middleware: list[str], expected: list[str]) -> None:
    settings.MIDDLEWARE = middleware
    assert list(problems()) == expected


def test_what_the_dict_lacks_comes_from_the_environment(
    settings: Any, monkeypatch: pytest.MonkeyPatch, emulator: Emulator
) -> None:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_REALM", "from the environment")
    settings.MOONKEY = {"realm": "from the dict", "BASE_URL": emulator.base_url, "TIMEOUT": None}
    assert get_client().settings.realm == "from the dict"
    assert get_client().settings.api_key.reveal() == emulator.secret_key
    settings.MOONKEY = {}
    assert get_client().settings.realm == "from the environment"
    assert problems() == {}


def test_settings_are_live(configure: Configure) -> None:
    def challenge() -> str:
        return str(visit_wsgi("/me").headers["WWW-Authenticate"])

    client, async_client = get_client(), get_async_client()
    assert challenge() == 'Bearer realm="moonkey"'
    with override_settings(MOONKEY={"SECRET_KEY": "sk_test_x", "REALM": "here"}):
        assert challenge() == 'Bearer realm="here"'
        assert get_client() is not client
        assert get_async_client() is not async_client
        assert get_async_client().settings.realm == "here"
    assert challenge() == 'Bearer realm="moonkey"'


def test_one_client_of_each_kind(configure: Configure) -> None:
    barrier = threading.Barrier(8)
    found: list[MoonKey | AsyncMoonKey] = []

    def look() -> None:
        barrier.wait(PATIENCE)
        found.extend([get_client(), get_async_client()])

    looking = [threading.Thread(target=look) for _ in range(8)]
    for thread in looking:
        thread.start()
    for thread in looking:
        thread.join(PATIENCE)
    assert len(found) == 16
    assert set(found) == {get_client(), get_async_client()}


def test_clients_name_a_wrong_setting(settings: Any) -> None:
    settings.MOONKEY = {}
    for get in (get_client, get_async_client):
        with pytest.raises(ConfigurationError, match="MOONKEY_SECRET_KEY"):
            get()


@pytest.mark.long
def test_importing_needs_no_settings_and_no_other_framework() -> None:
    script = """
import sys, moonkey_django
from moonkey_django import *
from django.conf import settings
assert not settings.configured
assert {"MoonKeyMiddleware", "require_auth", "RequireAuthMixin"} <= set(globals())
print(sorted({"flask", "starlette", "fastapi", "werkzeug"} & set(sys.modules)))
"""
    assert python(script).strip() == "[]"


@pytest.mark.long
def test_checks_run_only_where_the_app_is_installed() -> None:
    script = """
import sys, django
from django.conf import settings
from django.core.checks import run_checks
settings.configure(INSTALLED_APPS=sys.argv[1:], MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"], MOONKEY=[])
django.setup()
print([message.id for message in run_checks()])
"""
    assert python(script).strip() == "[]"
    assert python(script, arguments=("moonkey_django",)).strip() == "['moonkey.E002']"
