"""Settings: each wrong one is named, with the mend, when a client is made."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, Options, Settings

KEY = "sk_test_" + "k" * 30


def load(**options: Any) -> Settings:
    return Settings.load({"secret_key": KEY, **options}, {})


def test_the_keyword_options_are_the_settings() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert set(Options.__annotations__) == names
    assert all(field.metadata["help"] for field in dataclasses.fields(Settings))


def test_the_defaults_that_are_promised() -> None:
    settings = load()
    assert settings.base_url == "https://api.moonkey.fun"
    assert (settings.timeout, settings.leeway, settings.jwt_max_age) == (5.0, 5.0, 300.0)
    assert (settings.jwks_max_stale, settings.user_ttl, settings.max_credential_length) == (3600.0, 60.0, 8192)
    assert (settings.min_session_minutes, settings.max_session_minutes) == (5, 527_040)
    assert settings.credential_headers == ("authorization", "session-token")
    assert settings.load_user is None
    assert (settings.trust_env, settings.strict_subject, settings.refresh_jwt) == (False, False, True)
    assert (settings.jwt_issuer, settings.fresh_jwt_header, settings.jwks_auth) == ((), None, "header")


WRONG: list[tuple[str, object, str]] = [
    ("secret_key", "pk_test_abcdefghijkl", "public key"),
    ("secret_key", "sk test", "one word"),
    ("secret_key", "sk_test_x\r\nx: y", "line breaks"),
    ("secret_key", "sk_test_é", "one word"),
    ("secret_key", 7, "sk_test_"),
    ("secret_key", b"sk_test_x", "sk_test_"),
    ("base_url", "https://api.moonkey.fun/v1", "leave /v1 out"),
    ("base_url", "https://api.moonkey.fun/v1/", "leave /v1 out"),
    ("base_url", "HTTPS://api.moonkey.fun/v1//", "leave /v1 out"),
    ("base_url", "http://api.moonkey.fun", "allow_http=True"),
    ("base_url", "HTTP://10.0.0.1", "allow_http=True"),
    ("base_url", "http://localhost.example.com", "allow_http=True"),
    ("base_url", "http://127.0.0.1.nip.io", "allow_http=True"),
    ("base_url", "http://0.0.0.0:80", "allow_http=True"),
    ("base_url", "api.moonkey.fun", "https"),
    ("base_url", "//api.moonkey.fun", "https"),
    ("base_url", "ftp://api.moonkey.fun", "https"),
    ("base_url", "file:///etc/passwd", "https"),
    ("base_url", "https://", "https"),
    ("base_url", "https://user:pass@api.moonkey.fun", "user name"),
    ("base_url", "https://api.moonkey.fun@evil.example", "user name"),
    ("base_url", "https://api.moonkey.fun?x=1", "query"),
    ("base_url", "https://api.moonkey.fun?", "query"),
    ("base_url", "https://api.moonkey.fun/#", "fragment"),
    ("base_url", "https://api.moonkey.fun:notaport", "URL"),
    ("base_url", "https://api.moonkey.fun:70000", "URL"),
    ("base_url", "https://[::1", "URL"),
    ("base_url", "https://a..b", "URL"),
    ("base_url", "https://" + "a" * 64 + ".com", "URL"),
    ("base_url", "https://api.moonkey.fun/ x", "URL"),
    ("base_url", "", "URL"),
    ("base_url", 7, "URL"),
    ("jwks_url", "http://keys.example.com/jwks", "allow_http=True"),
    ("jwks_url", "https://keys.example.com/jwks", "jwks_auth='none'"),
    ("jwks_url", "data:application/json,{}", "https"),
    ("jwks_auth", "query", "header, none"),
    ("jwks_auth", True, "header, none"),
    ("jwt_issuer", " ", "non-empty"),
    ("jwt_issuer", [], "non-empty"),
    ("jwt_issuer", ["a", ""], "non-empty"),
    ("jwt_issuer", ["a", 7], "non-empty"),
    ("jwt_issuer", b"issuer", "list of strings"),
    ("jwt_issuer", {"a": 1}, "list of strings"),
    ("leeway", 60.1, "0 to 60"),
    ("leeway", -1, "0 to 60"),
    ("leeway", math.nan, "0 to 60"),
    ("leeway", "five", "0 to 60"),
    ("leeway", True, "0 to 60"),
    ("jwt_max_age", 0, "1 to 86400"),
    ("jwt_max_age", math.inf, "1 to 86400"),
    ("timeout", 0, "0.05 to 60"),
    ("timeout", "inf", "0.05 to 60"),
    ("timeout", 10**400, "0.05 to 60"),
    ("timeout", timedelta(seconds=5), "0.05 to 60"),
    ("user_ttl", 61, "0 to 60"),
    ("jwks_max_stale", 86_401, "0 to 86400"),
    ("max_credential_length", 16_385, "64 to 16384"),
    ("max_credential_length", 8192.0, "64 to 16384"),
    ("max_credential_length", "1e4", "64 to 16384"),
    ("max_connections", 0, "1 to 1000"),
    ("max_session_minutes", 527_041, "527040"),
    ("min_session_minutes", True, "1 to 527040"),
    ("credential_headers", "cookie", "never Cookie"),
    ("credential_headers", "X-A,x-a", "each header once"),
    ("credential_headers", "session_token", "hyphens"),
    ("credential_headers", "a b:c", "header names"),
    ("fresh_jwt_header", "bad header", "header name"),
    ("fresh_jwt_header", "bad\r\nheader", "header name"),
    ("realm", 'quo"ted', "quotes"),
    ("realm", "line\nbreak", "printable"),
    ("realm", "", "1 to 100"),
    ("load_user", "maybe", "true or false"),
    ("trust_env", 1, "true or false"),
    ("jwks", "{", "JSON"),
    ("jwks", "null", "JWK set"),
    ("jwks", {"keys": {}}, "JWK set"),
]


@pytest.mark.parametrize(("name", "value", "mend"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_wrong_setting_is_named_with_its_mend(name: str, value: object, mend: str) -> None:
    options: dict[str, Any] = {"secret_key": KEY, name: value}
    for make in (MoonKey, AsyncMoonKey):
        with pytest.raises(ConfigurationError) as caught:
            make(**options)
        message = str(caught.value)
        assert f"MOONKEY_{name.upper()} ({name})" in message
        assert mend in message
        assert caught.value.reason == "configuration"
    with pytest.raises(ConfigurationError, match=name):
        Settings(**options)  # a settings object cannot be made around the checks either


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="min_session_minutes"):
        load(min_session_minutes=60, max_session_minutes=30)


def test_a_missing_key_and_an_unknown_name() -> None:
    with pytest.raises(ConfigurationError, match=r"MOONKEY_SECRET_KEY \(secret_key\) is missing.*sk_test_"):
        Settings.load({}, {})
    with pytest.raises(ConfigurationError, match="secret_key"):
        Settings.load({"secret_key": ""}, {})
    with pytest.raises(ConfigurationError, match="Did you mean 'jwt_issuer'"):
        load(jwt_isuer="x")
    with pytest.raises(ConfigurationError, match="table of settings"):
        load(colour="blue")
    with pytest.raises(TypeError, match="not both"):
        MoonKey(load(), timeout=1.0)


class TestEnvironment:
    def test_a_missing_option_comes_from_its_variable(self) -> None:
        environ = {
            "MOONKEY_SECRET_KEY": KEY,
            "MOONKEY_BASE_URL": "http://127.0.0.1:8000",
            "MOONKEY_JWT_ISSUER": "one, two",
            "MOONKEY_TIMEOUT": "2.5",
            "MOONKEY_LOAD_USER": "Yes",
            "MOONKEY_MAX_CONNECTIONS": "4",
            "MOONKEY_REFRESH_JWT": "off",
            "MOONKEY_LEEWAY": "",
        }
        settings = Settings.load({"timeout": 3.0, "jwt_issuer": None}, environ)
        assert settings.api_key.reveal() == KEY
        assert (settings.base_url, settings.jwt_issuer) == ("http://127.0.0.1:8000", ("one", "two"))
        assert (settings.timeout, settings.load_user, settings.max_connections) == (3.0, True, 4)
        assert (settings.refresh_jwt, settings.leeway) == (False, 5.0)

    def test_of_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MOONKEY_SECRET_KEY", KEY)
        with MoonKey() as client:
            assert client.settings.api_key.reveal() == KEY
        monkeypatch.setenv("MOONKEY_SECRET_KEY", "pk_live_public_key")
        with pytest.raises(ConfigurationError, match="public key"):
            MoonKey()

    def test_a_wrong_variable_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="MOONKEY_TIMEOUT"):
            Settings.load({}, {"MOONKEY_SECRET_KEY": KEY, "MOONKEY_TIMEOUT": "soon"})


@pytest.mark.parametrize("url", ["http://127.0.0.1:80", "http://localhost", "http://[::1]:9", "http://127.8.9.10"])
def test_plain_http_on_loopback_is_fine(url: str) -> None:
    assert load(base_url=url).base_url == url


def test_plain_http_elsewhere_warns() -> None:
    with pytest.warns(RuntimeWarning, match=r"MOONKEY_BASE_URL \(base_url\) uses plain http"):
        settings = load(base_url="http://10.0.0.1", allow_http=True)
    assert settings.base_url == "http://10.0.0.1"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(base_url="https://10.0.0.1", allow_http=True)


def test_addresses_in_their_one_form() -> None:
    assert load(base_url="https://api.moonkey.fun/").base_url == "https://api.moonkey.fun"
    assert load(base_url="HTTPS://api.moonkey.fun/auth/").base_url == "https://api.moonkey.fun/auth"
    keys = load(jwks_url="https://api.moonkey.fun/keys").jwks_url
    assert keys == "https://api.moonkey.fun/keys"
    assert load(jwks_url="https://keys.example.com/k", jwks_auth="none").jwks_auth == "none"


class TestDurations:
    @pytest.mark.parametrize("duration", [5, 527_040, timedelta(minutes=5), timedelta(days=366)])
    def test_within(self, duration: Any) -> None:
        minutes = duration if isinstance(duration, int) else duration.total_seconds() / 60
        assert load().session_minutes(duration) == minutes

    @pytest.mark.parametrize(
        "duration",
        [4, 0, -5, 527_041, timedelta(minutes=4, seconds=59), timedelta(days=366, seconds=1), timedelta(0)],
    )
    def test_outside(self, duration: Any) -> None:
        with pytest.raises(ValueError, match="5 to 527040 minutes"):
            load().session_minutes(duration)

    @pytest.mark.parametrize("duration", [True, 60.0, "60", None, math.nan, [60]])
    def test_of_the_wrong_kind(self, duration: Any) -> None:
        with pytest.raises(ValueError, match="timedelta or a whole number"):
            load().session_minutes(duration)

    def test_other_bounds(self) -> None:
        settings = load(min_session_minutes=60, max_session_minutes=90)
        assert settings.session_minutes(timedelta(minutes=60, seconds=59)) == 60
        for duration in (59, 91):
            with pytest.raises(ValueError, match="60 to 90"):
                settings.session_minutes(duration)

    @given(st.timedeltas())
    def test_any_timedelta(self, duration: timedelta) -> None:
        try:
            minutes = load().session_minutes(duration)
        except ValueError:
            assert not timedelta(minutes=5) <= duration <= timedelta(minutes=527_040)
        else:
            assert 5 <= minutes <= 527_040


@given(st.sampled_from([field.name for field in dataclasses.fields(Settings)]), st.data())
def test_any_value_is_a_setting_or_a_configuration_error(name: str, data: st.DataObject) -> None:
    value = data.draw(
        st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.booleans(), st.lists(st.text(max_size=5)))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            problem = "" if load(**{name: value}).timeout else "no timeout"
        except ConfigurationError as error:
            problem = str(error)
    assert problem == "" or name in problem


def test_the_secret_key_may_stand_first() -> None:
    with MoonKey("sk_test_first", base_url="http://127.0.0.1:1") as client:
        assert client.settings.api_key.reveal() == "sk_test_first"
    with pytest.raises(ConfigurationError, match="public key"):
        MoonKey("pk_test_first")
    with pytest.raises(TypeError, match="once"):
        MoonKey("sk_test_first", secret_key="sk_test_second")


def test_a_copy_is_as_good() -> None:
    found = Settings.load({"secret_key": "sk_test_x", "cookies": True}, {})
    with MoonKey(copy.copy(found)) as client:
        assert client.authenticate({}).is_anonymous
