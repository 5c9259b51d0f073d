"""Cookies that a provider's script in the browser sets: which credential a request with them presents."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import ConfigurationError, Settings, SignInSettings
from moonkey_core.provider import OIDC, Stytch, StytchB2B
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import (
    PresentedCredentials,
    pair_text,
    presents_any,
    read_credentials,
    renewed_headers,
)
from moonkey_core.web.pages import check_sign_in_page
from moonkey_core.web.request import RequestInfo, mapped_headers

TOKEN, OTHER = "t" * 44, "u" * 44
INFO = RequestInfo("GET", "https")
PROJECT = "project-test-1"
INTERMEDIATE = "stytch_intermediate_session_token"


def jwt(issuer: str = f"stytch.com/{PROJECT}") -> str:
    """Text in the form of a JWT."""
    parts = ({"alg": "RS256", "kid": "k"}, {"iss": issuer})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.c2ln"


def settings(cookies_by: Any = "browser", cookies: Any = True, **more: Any) -> Settings:
    provider = Stytch(PROJECT, "secret-test-1", cookies_by=cookies_by)
    return Settings(provider=provider, cookies=cookies, cache_secret="c" * 32, **more)  # type: ignore[arg-type]


BROWSER, SERVER = settings(), settings("server")


def read(line: str, app: Settings = BROWSER, info: RequestInfo = INFO, **headers: str) -> PresentedCredentials:
    return read_credentials(mapped_headers({"cookie": line, **headers}), info, app)


def both(token: str = TOKEN, beside: str | None = None) -> str:
    return f"stytch_session={token}; stytch_session_jwt={jwt() if beside is None else beside}"


def test_both() -> None:
    found = read(both())
    assert (found.value, found.cached_jwt, found.is_loose, found.source) == (TOKEN, jwt(), True, "cookie")
    bound = read(both(), SERVER)
    assert (bound.value, bound.cached_jwt, bound.is_loose) == (TOKEN, None, False)  # no binding


def test_one_alone() -> None:
    token, alone = read(f"stytch_session={TOKEN}"), read(f"stytch_session_jwt={jwt()}")
    assert (token.value, token.kind, token.cached_jwt) == (TOKEN, "session_token", None)
    assert (alone.value, alone.kind, alone.from_cookies) == (jwt(), "session_jwt", True)
    assert read(f"stytch_session_jwt={jwt()}", SERVER).source == ""
    assert read(f"stytch_session=; stytch_session_jwt={jwt()}").value == jwt()
    assert read(f"stytch_session={TOKEN}; stytch_session_jwt=").value == TOKEN
    assert read("stytch_session=; stytch_session_jwt=").source == ""


def test_two_values_of_one_cookie() -> None:
    for name, one, other in (("stytch_session", TOKEN, OTHER), ("stytch_session_jwt", jwt(), jwt("other"))):
        found = read(f"{name}={one}; {name}={other}")
        assert found.error is not None
        assert found.error.reason == "repeated_cookie"
        assert read(f"{name}={one}; {name}={one}").error is None
        assert read(both() + f"; {name}={other}").error is not None


def test_a_header_wins() -> None:
    found = read(both(), authorization=f"Bearer {OTHER}")
    assert (found.value, found.source) == (OTHER, "authorization")
    assert read(both(), authorization="Bearer a b").error is not None


@pytest.mark.parametrize("line", [both(), f"stytch_session={TOKEN}", f"stytch_session_jwt={jwt()}"])
def test_another_site(line: str) -> None:
    for method, headers in (
        ("POST", {"sec-fetch-site": "cross-site"}),
        ("POST", {"origin": "https://evil.example"}),
    ):
        found = read(line, BROWSER, RequestInfo(method, "https"), host="app.example.com", **headers)
        assert found.error is not None
        assert found.error.status == 403
    socket = RequestInfo("GET", "wss", is_websocket=True)
    assert read(line, BROWSER, socket, host="app.example.com", origin="https://evil.example").error is not None
    assert read(line, BROWSER, socket, host="app.example.com", origin="https://app.example.com").error is None


def test_whether_there_is_any() -> None:
    own = settings(cookies={"session_name": "one", "jwt_name": "two"})
    assert presents_any(mapped_headers({"cookie": "two=x"}), own)
    assert presents_any(mapped_headers({"cookie": "one=x"}), own)
    assert not presents_any(mapped_headers({"cookie": "stytch_session=x"}), own)
    assert not presents_any(mapped_headers({"cookie": "two=x"}), settings("server", own.cookies))


def test_a_renewed_connection() -> None:
    for line in (both(), f"stytch_session_jwt={jwt()}"):
        view = renewed_headers(mapped_headers({"cookie": line}), OTHER, BROWSER)
        assert read_credentials(view, INFO, BROWSER).value == OTHER


def test_a_token_has_one_spelling() -> None:
    """So a JWT that is bound to one is not bound to the other. A token of MoonKey has two."""
    moonkey = Settings(secret_key="sk_test_" + "k" * 30)  # type: ignore[arg-type]
    assert pair_text(f"session_{TOKEN}", jwt(), SERVER) != pair_text(TOKEN, jwt(), SERVER)
    assert pair_text(f"session_{TOKEN}", jwt(), moonkey) == pair_text(TOKEN, jwt(), moonkey)
    binding = make_binding(pair_text(TOKEN, jwt(), SERVER), SERVER)
    for token, found in ((TOKEN, jwt()), (f"session_{TOKEN}", None)):
        assert read(f"{both(token)}; stytch_session_jwt_binding={binding}", SERVER).cached_jwt == found


@pytest.mark.parametrize("kind", [Stytch, StytchB2B])
def test_both_kinds_of_project(kind: type[Stytch] | type[StytchB2B]) -> None:
    """Their cookies have the same names, and what stands for half a sign-in is a session of neither."""
    for cookies_by in ("browser", "server"):
        provider: Any = kind(PROJECT, "secret-test-1", cookies_by=cookies_by, hydrate="tokens")
        assert "hydrate" in provider.capabilities
        assert "hydrate" not in kind(PROJECT, "secret-test-1").capabilities
        app = Settings(provider=provider, cookies=True, cache_secret="c" * 32)  # type: ignore[arg-type]
        assert app.cookies is not None
        assert (app.cookies.names, app.cookies.set_by) == (("stytch_session", "stytch_session_jwt"), cookies_by)
        assert read(f"stytch_intermediate_session_token={TOKEN}", app).source == ""
        assert read(both(), app).value == TOKEN
        for wrong in ({"session_name": INTERMEDIATE}, {"jwt_name": INTERMEDIATE}):
            with pytest.raises(ConfigurationError, match="no session"):
                Settings(provider=provider, cookies=wrong, cache_secret="c" * 32)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="no session"):
            Settings(provider=provider, credential_headers=INTERMEDIATE.replace("_", "-"))  # type: ignore[arg-type]
    for argument in ("cookies_by", "hydrate"):
        with pytest.raises(ConfigurationError, match=argument):
            kind(PROJECT, "secret-test-1", **{argument: "nobody"})  # type: ignore[arg-type]


def test_among_several_providers() -> None:
    """A JWT goes to the provider of its issuer, and to nobody where there is none."""
    stytch = Stytch(PROJECT, "secret-test-1", cookies_by="browser").at(cookies=True)
    several = Settings(providers=(stytch, OIDC("https://id.example", "api")), cache_secret="c" * 32)  # type: ignore[arg-type]
    found = read(both(), several)
    assert (found.provider, found.value, found.cached_jwt) == ("stytch", TOKEN, jwt())
    found = read(f"stytch_session_jwt={jwt()}", several)
    assert (found.provider, found.kind) == ("stytch", "session_jwt")
    found = read(f"stytch_session_jwt={jwt('https://id.example')}", several)
    assert (found.provider, found.kind) == ("oidc", "session_jwt")
    assert read(f"stytch_session_jwt={jwt('https://evil.example')}", several).provider == ""
    assert read(both(beside=jwt("https://id.example")), several).provider == "stytch"  # the token is Stytch's


@given(st.text(st.characters(codec="latin-1"), max_size=60), st.text(st.characters(codec="latin-1"), max_size=60))
def test_any_text_is_read(token: str, beside: str) -> None:
    """Nothing but a credential is presented, and nothing raises."""
    found = read(both(token, beside))
    assert found.error is not None or all(one.isascii() for one in (found.value, found.cached_jwt or ""))


def test_pages_cannot_sign_in_by_cookies_that_a_script_sets() -> None:
    with pytest.raises(ConfigurationError, match=r'\(sign_in\) has no page.*SignInSettings\(page="/login"\)'):
        check_sign_in_page(BROWSER)
    check_sign_in_page(settings(sign_in=SignInSettings(page="/login")))
    check_sign_in_page(SERVER)
    beside = Settings.load(
        {
            "providers": [
                "moonkey",
                Stytch(PROJECT, "secret-test-1", cookies_by="browser").at(
                    credential_headers="x-stytch", cookies={}
                ),
            ],
            "secret_key": "sk_test_x",
            "cookies": {},
        },
        {},
    )
    check_sign_in_page(beside)  # MoonKey signs in
