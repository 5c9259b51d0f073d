"""What is called like a setting and is none: nearly its name, or its name in the wrong place."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import logging
import pickle
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    AsyncMoonKey,
    ConfigurationError,
    CookieSettings,
    MoonKey,
    Settings,
    SignInSettings,
)
from moonkey_core.gate import RequirementOptions, Requirements
from moonkey_core.settings import names as _setting_names
from moonkey_django.conf import Configuration
from moonkey_starlette import MoonKeyMiddleware

KEY = "sk_test_" + "k" * 30


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(_setting_names, "_warned", set())
    caplog.set_level(logging.DEBUG)
    return caplog


def load(**variables: str) -> Settings:
    return Settings.load({"secret_key": KEY}, {f"MOONKEY_{name}": value for name, value in variables.items()})


def test_the_places_that_are_named_are_there() -> None:
    parameters = inspect.signature(MoonKeyMiddleware).parameters.values()
    own = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert {*_setting_names.MIDDLEWARE_ARGUMENTS, "lazy"} == own
    settings = {field.name for field in dataclasses.fields(Settings)}
    assert set(_setting_names.REQUIREMENT_ARGUMENTS) == RequirementOptions.__optional_keys__ - settings
    django = {field.name for field in dataclasses.fields(Configuration) if field.init}
    assert set(_setting_names.DJANGO_KEYS) == django - {"settings"}


@pytest.mark.rule("S26")
@pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("jwt_isuer", "Did you mean 'jwt_issuer'"),
        ("JWT_ISSUER", "Did you mean 'jwt_issuer'"),
        ("MOONKEY_JWT_ISSUER", "Did you mean 'jwt_issuer'"),
        ("http_clinet", "Did you mean 'http_client'"),
        ("hooks", "Make the client yourself"),
        ("roles", "@require_auth"),
        ("required", "argument of MoonKeyMiddleware"),
        ("users", "MOONKEY = {'USERS'"),
        ("session_name", "CookieSettings(session_name=…)"),
        ("cookie_session_name", "CookieSettings(session_name=…)"),
        ("step_up_page", "SignInSettings(step_up_page=…)"),
        ("lifetime", "SignInSettings(lifetime=…)"),
        ("nonsense", "table of settings"),
        ("x" * 5000, "table of settings"),
    ],
)
def test_an_unknown_argument(kind: Any, name: str, mend: str) -> None:
    for value in ("hushhush", None):
        with pytest.raises(ConfigurationError) as caught:
            kind(KEY, **{name: value})
        assert mend in str(caught.value)
        assert "hushhush" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("kind", "name", "mend"),
    [
        (Settings, "jwt_isuer", "'jwt_issuer'"),
        (CookieSettings, "session_nam", "'session_name'"),
        (SignInSettings, "max_try", "'max_tries'"),
        (SignInSettings, "nonsense", "Known are: after_sign_in"),
        (Requirements, "role", "'roles'"),
        (Requirements, "max_stalenes", "'max_staleness'"),
        (Requirements, "_rules", "no argument"),
    ],
)
def test_an_unknown_argument_of_a_value(kind: Any, name: str, mend: str) -> None:
    with pytest.raises(TypeError, match=kind.__name__) as caught:
        kind(**{name: 1})
    assert mend in str(caught.value)


@pytest.mark.parametrize("value", [CookieSettings(), SignInSettings(max_tries=3), Requirements(roles={"admin"})])
def test_these_values_are_copied_as_ever(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == dataclasses.replace(value) == value


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("option", "key", "mend"),
    [
        ("cookies", "SESSION_NAM", "Did you mean 'session_name'"),
        ("cookies", "samesite", "Did you mean 'same_site'"),
        ("sign_in", "max_sendz", "Did you mean 'max_sends'"),
        ("sign_in", "jwt_issuer", "Known are: after_sign_in"),
    ],
)
def test_an_unknown_key_of_a_dict(option: str, key: str, mend: str) -> None:
    with pytest.raises(ConfigurationError, match=option) as caught:
        Settings.load({"secret_key": KEY, option: {key: "x"}}, {})
    assert mend in str(caught.value)


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("variable", "mend"),
    [
        ("MOONKEY_JWT_ISUER", "MOONKEY_JWT_ISSUER (jwt_issuer)"),
        ("MOONKEY_SECRETKEY", "MOONKEY_SECRET_KEY"),
        ("MOONKEY_JWKS_URI", "MOONKEY_JWKS_URL"),
        ("MOONKEY__TIMEOUT", "MOONKEY_TIMEOUT"),
        ("moonkey_jwt_issuer", "MOONKEY_JWT_ISSUER"),
        ("Moonkey_Timeout", "MOONKEY_TIMEOUT"),
        ("MOONKEY_COOKIE", "MOONKEY_COOKIES"),
        ("MOONKEY_SAME_SITE", "CookieSettings(same_site=…)"),
        ("MOONKEY_COOKIES_SAME_SITE", "CookieSettings(same_site=…)"),
        ("MOONKEY_COOKIES__DOMAIN", "CookieSettings(domain=…)"),
        ("MOONKEY_SIGN_IN_PAGE", "SignInSettings(page=…)"),
        ("MOONKEY_REQUIRED", "argument of MoonKeyMiddleware"),
        ("MOONKEY_USERS", "MOONKEY = {'USERS'"),
        ("MOONKEY_LAZY", "MOONKEY dict"),
        ("MOONKEY_ROLES", "@require_auth(roles=…)"),
        ("MOONKEY_MAX_STALENESS", "@require_auth(max_staleness=…)"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_or_in_the_wrong_place(variable: str, mend: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({"secret_key": KEY}, {variable: "hushhush"})
    assert variable in str(caught.value)
    assert mend in str(caught.value)
    assert "hushhush" not in str(caught.value)
    assert Settings.load({"secret_key": KEY}, {variable: ""}) is not None  # as one that is not set


def test_the_variables_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_JWT_ISUER", "x")
    for kind in (MoonKey, AsyncMoonKey):
        with pytest.raises(ConfigurationError, match="MOONKEY_JWT_ISSUER"):
            kind(KEY)


def test_any_other_is_one_line_in_the_log(log: pytest.LogCaptureFixture) -> None:
    others = {"CI": "1", "TEST_WHEEL": "1", "PORT": "8000", "SECRET_KEY_FILE": "hushhush", "LOG_LEVEL": "info"}
    for _ in range(3):
        load(**others)
    (record,) = log.records
    assert (record.levelname, record.__dict__["reason"]) == ("WARNING", "setting_unknown")
    assert all(f"MOONKEY_{name}" in record.getMessage() for name in others)
    assert "hushhush" not in record.getMessage()
    load(**others, ANOTHER="1")
    assert len(log.records) == 2
    assert "MOONKEY_CI" not in log.records[1].getMessage()


def test_one_line_is_short_and_plain(log: pytest.LogCaptureFixture) -> None:
    load(**{f"\n{'X' * 500}{number}": "1" for number in range(500)})
    (record,) = log.records
    assert len(record.getMessage()) < 1000
    assert "\n" not in record.getMessage()


def test_what_kubernetes_sets_is_nobodys_mistake(log: pytest.LogCaptureFixture) -> None:
    load(
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="443",
        SERVICE_PORT_HTTP="443",
        SERVICE_PORT_HTTP_ADMIN="443",
        PORT="tcp://10.0.0.1:443",
        PORT_443_TCP="tcp://10.0.0.1:443",
        PORT_443_TCP_PROTO="tcp",
        PORT_443_TCP_PORT="443",
        PORT_443_TCP_ADDR="10.0.0.1",
        PORT_53_UDP="udp://10.0.0.1:53",
        REDIS_SERVICE_HOST="10.0.0.2",
        REDIS_PORT="tcp://10.0.0.2:6379",
        TIMEOUT_S_PORT_1_TCP_ADDR="10.0.0.3",
    )
    assert log.records == []


@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_any_variable_is_set_ignored_or_a_configuration_error(name: str, value: str) -> None:
    with contextlib.suppress(ConfigurationError):
        Settings.load({"secret_key": KEY}, {f"MOONKEY_{name}": value})


@pytest.mark.parametrize("quotes", ['""', "''", "``", "“”"])
@pytest.mark.parametrize(
    "name",
    ["secret_key", "jwt_issuer", "jwt_audience", "base_url", "redis_url", "cache_secret", "fresh_jwt_header"],
)
def test_a_value_in_quotes(name: str, quotes: str) -> None:
    value = "redis://h/0" if name == "redis_url" else "https://hushhush.example" if name == "base_url" else KEY * 2
    quoted = quotes[0] + value + quotes[1]
    key = {} if name == "secret_key" else {"secret_key": KEY}
    for options, environ in (({**key, name: quoted}, {}), (key, {f"MOONKEY_{name.upper()}": quoted})):
        with pytest.raises(ConfigurationError, match=f"{name}.* in quotes") as caught:
            Settings.load(options, environ)
        assert value not in repr((caught.value, caught.value.__context__))


def test_one_of_several_in_quotes() -> None:
    for value in ("one, 'two'", ["one", '"two"']):
        with pytest.raises(ConfigurationError, match=r"jwt_issuer.* in quotes"):
            Settings.load({"secret_key": KEY, "jwt_issuer": value}, {})


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        (f"{KEY}\n", "white space before or after"),
        (f" {KEY}", "white space before or after"),
        (f"Bearer {KEY}", "added by itself"),
        (f"bearer {KEY}", "added by itself"),
        (f'"{KEY}', "what no key has"),
        (f"{KEY};", "what no key has"),
        (f"MOONKEY_SECRET_KEY={KEY}", "what no key has"),
        ("$MOONKEY_SECRET", "what no key has"),
        ("${MOONKEY_SECRET}", "what no key has"),
        ("<your_secret_key>", "what no key has"),
        (f'"pk_{KEY}"', "in quotes"),
        ("sk_test_…", "one word of ASCII"),
    ],
)
def test_a_secret_key_that_is_pasted_wrongly(key: str, mend: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MOONKEY_SECRET_KEY \(secret_key\)") as caught:
        MoonKey(key)
    assert mend in str(caught.value)
    assert KEY not in repr((caught.value, caught.value.__context__))


@pytest.mark.parametrize("key", ["sk_test_x", "sk_live_a-b.c_d~e+f/g==", "another.form"])
def test_a_key_of_any_usual_form(key: str) -> None:
    assert Settings.load({"secret_key": key}, {}).api_key.reveal() == key


def test_what_has_no_effect_beside_a_client_of_the_app() -> None:
    with httpx.Client() as http_client:
        losses: list[dict[str, Any]] = [{"trust_env": True}, {"transport": "aiohttp"}]
        for lost in losses:
            with pytest.raises(TypeError, match="no effect"):
                MoonKey(KEY, http_client=http_client, **lost)
        MoonKey(KEY, http_client=http_client, trust_env=False, transport="httpx").close()


@pytest.mark.rule("S11")
@pytest.mark.parametrize(("name", "value"), [("jwt_audience", "us"), ("strict_subject", True)])
def test_what_has_no_effect_without_an_issuer(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*no effect without jwt_issuer"):
        Settings.load({"secret_key": KEY, name: value}, {})
    assert Settings.load({"secret_key": KEY, "jwt_issuer": "x", name: value}, {}) is not None


def test_an_unknown_name_without_a_value_is_one_all_the_same() -> None:
    with pytest.raises(ConfigurationError, match="no setting 'nonsense'"):
        Settings.load({"secret_key": KEY, "nonsense": None}, {})
