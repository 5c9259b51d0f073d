"""Django's system checks of browser sessions."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from integrations.django_programs import problems
from integrations.django_visits import Configure

from moonkey_core import SignInSettings
from moonkey_django import get_client

PUBLIC = {"BASE_URL": "https://api.moonkey.fun"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"COOKIES": {"SESSION_NAM": "sid"}}, "'SESSION_NAM' is unknown"),
        ({"COOKIES": {"session_name": "a", "SESSION_NAME": "b"}}, "there twice"),
        ({"COOKIES": {"SESSION_NAME": "__Host-sid", "DOMAIN": "example.com"}}, "may have no domain"),
        ({"COOKIES": {"SAME_SITE": "None", "INSECURE_DEVELOPMENT": True}}, "SameSite=None without Secure"),
        ({"COOKIES": {"INSECURE_DEVELOPMENT": True}, **PUBLIC}, "insecure_development"),
        ({"COOKIES": {"TRUSTED_ORIGINS": "https://app.example.com"}}, "trusted_origins"),
        ({"COOKIES": {"TRUSTED_ORIGINS": ["app.example.com"]}}, "trusted_origins"),
        ({"COOKIES": "perhaps"}, "MOONKEY_COOKIES"),
        ({"SIGN_IN": {"PAGES": "/in"}}, "'PAGES' is unknown"),
        ({"SIGN_IN": {"PAGE": "https://evil.example/"}}, "must be a path of this site"),
        ({"SIGN_IN": {"PAGE": "//evil.example/"}}, "must be a path of this site"),
        ({"TRUSTED_PROXIES": ["10.0.0.7", "proxy"]}, "MOONKEY_TRUSTED_PROXIES"),
    ],
)
def test_what_is_wrong_by_itself_is_an_error_and_stops_the_start(
    configure: Configure, options: dict[str, Any], said: str
) -> None:
    configure(**options)
    found = problems()
    assert list(found) == ["moonkey.E001"]
    assert said in found["moonkey.E001"].msg
    with pytest.raises(ImproperlyConfigured) as caught:
        WSGIHandler()
    assert str(caught.value) == found["moonkey.E001"].msg


def test_what_is_right(configure: Configure, settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    configure(
        COOKIES={"ORIGIN": "https://app.example.com", "TRUSTED_ORIGINS": ["https://www.example.com"]},
        SIGN_IN={"AFTER_SIGN_IN": "/home", "MAX_TRIES": 3},
        TRUSTED_PROXIES=["10.0.0.0/8", "unix"],
    )
    assert problems() == {}
    assert get_client().settings.sign_in == SignInSettings(after_sign_in="/home", max_tries=3)
    configure(COOKIES=True, SIGN_IN=SignInSettings(after_sign_in="/home"), TRUSTED_PROXIES="10.0.0.7")
    assert problems() == {}


@pytest.mark.parametrize("name", ["SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME"])
def test_a_cookie_of_djangos_with_the_name_of_ours(configure: Configure, settings: Any, name: str) -> None:
    setattr(settings, name, "sid")
    configure(COOKIES={"SESSION_NAME": "sid"})
    found = problems()
    assert list(found) == ["moonkey.E020"]
    assert found["moonkey.E020"].msg.startswith(f"{name} is the name")
    configure(COOKIES={})
    assert problems() == {}


def test_cookies_for_development(configure: Configure, settings: Any) -> None:
    configure(COOKIES={"INSECURE_DEVELOPMENT": True})
    for debug, expected in ((False, ["moonkey.W021"]), (True, [])):
        settings.DEBUG = debug
        assert list(problems()) == expected


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_trusting_everybody(configure: Configure, network: str) -> None:
    configure(TRUSTED_PROXIES=["10.0.0.0/8", network])
    assert list(problems()) == ["moonkey.W022"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")), ("USE_X_FORWARDED_HOST", True)],
)
def test_a_proxy_that_only_django_knows(configure: Configure, settings: Any, name: str, value: object) -> None:
    setattr(settings, name, value)
    configure(COOKIES={})
    assert list(problems()) == ["moonkey.W023"]
    configure(COOKIES={}, TRUSTED_PROXIES="none")  # one of the two is wrong
    assert list(problems()) == ["moonkey.W023"]
    for mend in ({"TRUSTED_PROXIES": ["10.0.0.7"]}, {"COOKIES": {"ORIGIN": "https://app.example.com"}}):
        configure(**{"COOKIES": {}, **mend})
        assert problems() == {}
    configure()
    assert problems() == {}
