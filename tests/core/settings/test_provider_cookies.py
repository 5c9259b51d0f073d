"""Cookies whose names and owner a provider decides, unless the settings say otherwise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import ConfigurationError, CookieSettings, Settings
from moonkey_core._provider import CookieDefaults
from moonkey_core.errors import NotSupported
from moonkey_core.provider import OIDC
from moonkey_core.settings import has_value
from moonkey_core.web.cookies import check_settable, cleared_cookies, set_cookie

SECRET = "c" * 32


def acme(issuer: str = "https://id.example", **defaults: Any) -> OIDC:
    """A provider with cookies of its own."""
    made = OIDC(issuer, "api", name="acme" if issuer == "https://id.example" else "other")
    made.cookie_defaults = CookieDefaults(
        session_name="acme_session", jwt_name="acme_jwt", no_sessions=frozenset({"acme_step"}), **defaults
    )
    return made


def settings(cookies: object, **defaults: Any) -> Settings:
    return Settings(provider=acme(**defaults), cookies=cookies, cache_secret=SECRET)  # type: ignore[arg-type]


def cookies_of(found: Settings) -> CookieSettings:
    assert found.cookies is not None
    return found.cookies


def test_the_provider_names_them() -> None:
    cookies = cookies_of(settings(True))
    assert (cookies.names, cookies.set_by) == (("acme_session", "acme_jwt"), "server")
    assert cookies.all_names == ("acme_session", "acme_jwt", "acme_jwt_binding")


def test_given_names_stay() -> None:
    cookies = cookies_of(settings({"jwt_name": "__Host-moonkey_jwt"}))
    assert cookies.names == ("acme_session", "__Host-moonkey_jwt")


def test_moonkey_s_own_are_as_before() -> None:
    cookies = cookies_of(Settings(secret_key="sk_test_" + "k" * 30, cookies=True))  # type: ignore[arg-type]
    assert (cookies, cookies.set_by) == (CookieSettings(), "server")


def test_the_same_setting_given_twice_is_the_same() -> None:
    assert has_value(settings(True), "cookies", True)
    assert has_value(settings(True), "cookies", CookieSettings())
    assert not has_value(settings(True), "cookies", {"path": "/app"})


def test_at_the_provider_and_among_several() -> None:
    placed = acme().at(cookies=CookieSettings(path="/app"))
    assert cookies_of(Settings(provider=placed, cache_secret=SECRET)).names == ("acme_session", "acme_jwt")  # type: ignore[arg-type]
    several = Settings(providers=(placed, acme("https://two.example")), cache_secret=SECRET)  # type: ignore[arg-type]
    cookies = cookies_of(several.of_provider("acme"))
    assert (cookies.names, cookies.path) == (("acme_session", "acme_jwt"), "/app")


@pytest.mark.parametrize(
    ("cookies", "said"),
    [
        ({"session_name": "acme_step"}, "no session"),
        ({"jwt_name": "acme_step"}, "no session"),
        ({"session_name": "acme_jwt"}, "differ"),
        ({"session_name": "__Host-acme", "path": "/app"}, "another path"),
        ({"path": "app"}, "path"),
        ({"path": "/a;Secure"}, "path"),
        ({"path": "/a\n"}, "path"),
        ({"path": None}, "path"),
        ({"set_by": "browser"}, "set_by"),  # the provider's word
    ],
)
def test_what_is_refused(cookies: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        settings(cookies)


def test_a_header_with_the_name_of_what_is_no_session() -> None:
    with pytest.raises(ConfigurationError, match="holds no session"):
        Settings(provider=acme(), credential_headers="Acme-Step")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="holds no session"):
        Settings(providers=(acme().at(credential_headers="Acme-Step"), acme("https://two.example")))


def test_attributes() -> None:
    own = settings({"domain": "example.com", "path": "/app"})
    assert cleared_cookies(own) == tuple(
        f"{name}=; Path=/app; Max-Age=0; Domain=example.com; Secure; HttpOnly; SameSite=Lax"
        for name in ("acme_session", "acme_jwt", "acme_jwt_binding")
    )
    # Of a script in the browser: it has to see that they are gone, and ours beside them stay hidden from it.
    theirs = settings({"domain": "example.com", "path": "/app"}, set_by="browser")
    assert cleared_cookies(theirs) == tuple(
        f"{name}=; Path=/app; Max-Age=0; Domain=example.com; Secure; SameSite=Lax"
        for name in ("acme_session", "acme_jwt")
    )
    assert "Path=/; " in set_cookie(theirs, "__Host-moonkey_otp", "x", 60)
    assert "; HttpOnly" in set_cookie(theirs, "__Host-moonkey_otp", "x", 60)


def test_a_lifetime_that_has_no_effect() -> None:
    own = {"lifetime": timedelta(hours=1)}
    assert cookies_of(settings(own)).lifetime == timedelta(hours=1)
    with pytest.raises(ConfigurationError, match="no effect"):
        settings(own, set_by="browser")


def test_who_may_set_them() -> None:
    check_settable(settings(True), "anything")
    with pytest.raises(NotSupported, match='cookies_by="server"'):
        check_settable(settings(True, set_by="browser"), "sign anybody in")
