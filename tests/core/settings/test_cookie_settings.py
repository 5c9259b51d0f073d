"""Names and attributes of the cookies, what browsers would refuse, and which origins are spelled out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import ConfigurationError, CookieSettings, Settings, SignInSettings
from moonkey_core.settings.cookie_settings import parse_origin
from moonkey_core.settings.sign_in_settings import safe_target

KEY = "sk_test_" + "k" * 30


def test_as_they_stand() -> None:
    cookies = CookieSettings()
    assert cookies.names == ("__Host-moonkey_session", "__Host-moonkey_jwt")
    assert (cookies.same_site, cookies.domain, cookies.trusted_origins) == ("Lax", None, ())


def test_a_domain_makes_other_names() -> None:
    assert CookieSettings(domain=".Example.com").names == ("__Secure-moonkey_session", "__Secure-moonkey_jwt")
    assert CookieSettings(domain=".Example.com").domain == "example.com"


def test_plain_names_in_development_only() -> None:
    assert CookieSettings(insecure_development=True).names == ("moonkey_session", "moonkey_jwt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"session_name": "__Host-s", "domain": "example.com"}, "no domain"),
        ({"session_name": "__HOST-s", "domain": "example.com"}, "no domain"),
        ({"session_name": "__Secure-s", "insecure_development": True}, "without Secure"),
        ({"jwt_name": "__host-s", "insecure_development": True}, "without Secure"),
        ({"same_site": "None", "insecure_development": True}, "SameSite=None"),
        ({"same_site": "sometimes"}, "same_site"),
        ({"same_site": None}, "same_site"),
        ({"session_name": "a", "jwt_name": "a"}, "differ"),
        ({"session_name": "a b"}, "session_name"),
        ({"session_name": "a;b"}, "session_name"),
        ({"jwt_name": "a=b"}, "jwt_name"),
        ({"jwt_name": 7}, "jwt_name"),
        ({"session_name": "Path"}, "session_name"),
        ({"session_name": "$session"}, "session_name"),
        ({"domain": "a b"}, "domain"),
        ({"domain": "a;Secure"}, "domain"),
        ({"domain": 7}, "domain"),
        ({"lifetime": 60}, "lifetime"),
        ({"lifetime": timedelta(0)}, "lifetime"),
        ({"lifetime": timedelta(days=401)}, "lifetime"),
        ({"origin": "app.example.com"}, "origin"),
        ({"origin": "https://app.example.com/path"}, "origin"),
        ({"trusted_origins": "https://a.example"}, "list"),
        ({"trusted_origins": ["null"]}, "trusted_origins"),
        ({"trusted_origins": ["*"]}, "trusted_origins"),
        ({"trusted_origins": ["https://*.example"]}, "trusted_origins"),
        ({"trusted_origins": [7]}, "trusted_origins"),
        ({"insecure_development": "yes"}, "insecure_development"),
    ],
)
def test_wrong_values_and_what_browsers_refuse(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        CookieSettings(**arguments)


def test_origins_have_one_spelling() -> None:
    cookies = CookieSettings(trusted_origins=["HTTPS://A.Example:443/", "http://[::1]:8000"])  # type: ignore[arg-type]
    assert cookies.trusted_origins == ("https://a.example", "http://[::1]:8000")


@given(st.text(max_size=40) | st.text("https:/.ab@[]*?#\\ 0123456789", max_size=30))
def test_whatever_spells_an_origin_spells_it_again(text: str) -> None:
    found = parse_origin(text)
    if found is not None:
        assert parse_origin(found) == found
        assert not set(found) & set(" ,*@?#\\\r\n\t")


class TestInSettings:
    @pytest.mark.parametrize("given", [True, "true", {}, CookieSettings()])
    def test_on(self, given: Any) -> None:
        assert Settings.load({"secret_key": KEY, "cookies": given}).cookies == CookieSettings()

    @pytest.mark.parametrize("given", [False, "no", None])
    def test_off(self, given: Any) -> None:
        settings = Settings.load({"secret_key": KEY, "cookies": given})
        assert settings.cookies is None
        assert settings.identity_headers == settings.credential_headers

    def test_from_the_environment(self) -> None:
        settings = Settings.load({}, {"MOONKEY_SECRET_KEY": KEY, "MOONKEY_COOKIES": "true"})
        assert settings.cookies == CookieSettings()
        assert settings.identity_headers[-1] == "cookie"

    def test_from_a_mapping_in_either_case(self) -> None:
        options = {"secret_key": KEY, "cookies": {"SAME_SITE": "strict"}, "sign_in": {"max_tries": 3}}
        settings = Settings.load(options)
        assert settings.cookies == CookieSettings(same_site="Strict")
        assert settings.sign_in == SignInSettings(max_tries=3)

    def test_the_page_alone_as_a_variable_has_it(self) -> None:
        settings = Settings.load({"secret_key": KEY, "cookies": True}, {"MOONKEY_SIGN_IN": " /login"})
        assert settings.sign_in == SignInSettings(page="/login")

    @pytest.mark.parametrize("options", [{"cookies": {"names": 1}}, {"cookies": {"DOMAIN": None, "domain": None}}])
    def test_an_unknown_argument_is_named(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="unknown or there twice"):
            Settings.load({"secret_key": KEY, **options})

    def test_insecure_ones_never_with_a_public_api(self) -> None:
        insecure = CookieSettings(insecure_development=True)
        with pytest.raises(ConfigurationError, match="public https"):
            Settings.load({"secret_key": KEY, "cookies": insecure})
        local = {"secret_key": KEY, "cookies": insecure, "base_url": "http://127.0.0.1:4000"}
        assert Settings.load(local).cookies == insecure

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"cookies": True, "sign_in": {"lifetime": timedelta(minutes=4)}}, "session lifetime"),
            ({"cookies": True, "sign_in": {"remember_me": timedelta(days=400)}}, "session lifetime"),
            ({"extend_on_activity": timedelta(days=400)}, "34560000|session lifetime"),
            ({"extend_on_activity": timedelta(days=7), "extend_every": timedelta(days=7)}, "shorter"),
            ({"extend_every": timedelta(days=7)}, "no effect"),
            ({"trusted_proxies": "10.0.0.0/33"}, "networks"),
            ({"trusted_proxies": "everybody"}, "networks"),
            ({"sign_in": {"page": "https://evil.example/"}}, "path of this site"),
            ({"sign_in": {"after_sign_in": "//evil.example"}}, "path of this site"),
            ({"sign_in": {"max_tries": 0}}, "max_tries"),
            ({"sign_in": {"limiter": 5}}, "limiter"),
            ({"sign_in": 5}, "SignInSettings"),
            ({"sign_in": "true"}, "path of this site"),
        ],
    )
    def test_wrong_together(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            Settings.load({"secret_key": KEY, **options})

    def test_seconds_or_a_timedelta(self) -> None:
        settings = Settings.load({"secret_key": KEY, "extend_on_activity": "604800"})
        assert settings.extend_on_activity == timedelta(days=7)


OUTWARD = ["//evil", "/\\evil", "\\evil", "https://evil", "javascript:x", "/a\tb", "/\t/evil", "/a\r\nb"]


@pytest.mark.rule("S47")
@pytest.mark.parametrize("target", [*OUTWARD, "", " /a", "/é", "a", "/" + "a" * 2048])
def test_no_way_out_of_the_site(target: str) -> None:
    assert safe_target(target, "/home") == "/home"


@pytest.mark.rule("S47")
@given(st.text("/\\\t\r\n :.a?#%@", max_size=12))
def test_a_safe_target_stays_on_the_site(target: str) -> None:
    from httpx import URL

    found = safe_target(target)
    if found:
        assert URL("https://app.example/x").join(found).host == "app.example"
