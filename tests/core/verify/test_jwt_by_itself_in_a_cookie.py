"""A cookie may hold a JWT by itself, where another provider than MoonKey has issued it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import Auth, MoonKey
from moonkey_core.auth import from_cookies, peek_error
from moonkey_core.emulator import Emulator, OidcEmulator
from moonkey_core.provider import OIDC, Introspection
from moonkey_core.web.request import RequestInfo
from support.patience import PATIENT as _PATIENT

GET, POST = RequestInfo("GET", "https", "127.0.0.1"), RequestInfo("POST", "https", "127.0.0.1")
NAME = "__Host-moonkey_session"
SECRET = "s" * 32
PATIENT: dict[str, Any] = dict(_PATIENT)


def introspection(oidc: OidcEmulator) -> Introspection:
    return Introspection(oidc.introspection_url, client_id=oidc.client_id, client_secret=oidc.client_secret)


@pytest.fixture(params=["jwt", "both"])
def client(request: pytest.FixtureRequest, oidc: OidcEmulator) -> Iterator[MoonKey]:
    more: Any = {"introspection": introspection(oidc)} if request.param == "both" else {}
    provider = OIDC(oidc.issuer, oidc.audience, **more)
    with MoonKey(provider=provider, cookies=True, cache_secret=SECRET, **PATIENT) as made:
        yield made


def visit(client: MoonKey, value: str, info: RequestInfo = GET, **headers: str) -> Auth:
    return client.authenticate({"cookie": f"{NAME}={value}", **headers}, None, info)


def test_it_is_verified_here(client: MoonKey, oidc: OidcEmulator) -> None:
    ada = oidc.sign_in()
    for source in ("local", "cache"):
        auth = visit(client, ada.access_token)
        assert auth.user is not None, auth.error
        assert auth.user.id == ada.user_id
        assert auth.source == source
        assert from_cookies(auth)
    assert "POST /introspect" not in oidc.requests()
    client.revocations.add(session_id=ada.session_id)
    assert visit(client, ada.access_token).is_rejected


def test_a_bad_one_is_refused_and_nobody_is_asked(client: MoonKey, oidc: OidcEmulator) -> None:
    visit(client, oidc.sign_in().access_token)
    bad = {
        "jwt_signature": oidc.token(key="imposter"),
        "jwt_issuer": oidc.token(iss="https://evil.example"),
        "jwt_audience": oidc.token(aud="another"),
        "expired_credentials": oidc.token(age=86_000, life=3600),
        "jwt_form": "e30.e30.",
    }
    for reason, token in bad.items():
        auth = visit(client, token)
        error = peek_error(auth)
        assert error is not None
        assert (error.status, error.reason) == (401, reason)
        assert client.cookies_after(auth) == ()
    assert "POST /introspect" not in oidc.requests()


def test_it_counts_for_requests_of_this_site_only(client: MoonKey, oidc: OidcEmulator) -> None:
    token = oidc.sign_in().access_token
    assert visit(client, token, POST, **{"sec-fetch-site": "same-origin"}).is_authenticated
    auth = visit(client, token, POST, **{"sec-fetch-site": "cross-site"})
    assert auth.error is not None
    assert auth.error.status == 403
    assert visit(client, f"{token}; {NAME}={oidc.sign_in().access_token}").error.status == 400  # type: ignore[union-attr]


def test_an_opaque_one_is_asked_about_as_ever(oidc: OidcEmulator) -> None:
    provider = OIDC(oidc.issuer, oidc.audience, introspection=introspection(oidc))
    with MoonKey(provider=provider, cookies=True, cache_secret=SECRET, **PATIENT) as client:
        bob = oidc.sign_in()
        auth = visit(client, bob.opaque_token)
        assert auth.user is not None
        assert auth.user.id == bob.user_id


def test_a_jwt_of_moonkey_is_no_session_token(emulator: Emulator) -> None:
    options: Any = {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "jwt_issuer": emulator.issuer,
    }
    with MoonKey(cookies=True, **options, **PATIENT) as client:
        auth = visit(client, emulator.sign_in().session_jwt)
        assert auth.error is not None
        assert auth.error.reason == "malformed_cookie"


def test_with_several_providers_its_issuer_decides(emulator: Emulator, oidc: OidcEmulator) -> None:
    one = OIDC(oidc.issuer, oidc.audience).at(cookies={"session_name": NAME, "jwt_name": "other"})
    options: Any = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}
    with MoonKey(providers=["moonkey", one], **options, **PATIENT) as client:
        auth = visit(client, oidc.sign_in().access_token)
        assert (auth.is_authenticated, auth.provider) == (True, "oidc")
        auth = visit(client, oidc.token(iss="https://evil.example"))
        assert (auth.is_rejected, auth.provider) == (True, "none")
        assert visit(client, "opaque").is_rejected
