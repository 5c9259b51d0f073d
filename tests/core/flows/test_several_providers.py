"""Signing out with several providers: each session ends at its own one, and nothing of it reaches another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from moonkey_core import CDP, OIDC, CookieSettings, MoonKey, Stytch
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchEmulator
from moonkey_flask import FlaskMoonKey, current_auth, require_auth, session_routes

PROVIDERS = ("moonkey", "cdp", "oidc", "stytch")


@pytest.fixture
def client(emulator: Emulator, cdp: CdpEmulator, oidc: OidcEmulator, stytch: StytchEmulator) -> Iterator[MoonKey]:
    providers: list[Any] = [
        "moonkey",
        CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url),
        OIDC(oidc.issuer, oidc.audience),
        Stytch(stytch.project_id, stytch.secret, base_url=stytch.base_url).at(
            cookies=CookieSettings(), credential_headers=("x-stytch-session",)
        ),
    ]
    with MoonKey(
        emulator.secret_key,
        base_url=emulator.base_url,
        jwt_issuer=emulator.issuer,
        providers=providers,
        cookies=CookieSettings(),
        mfa_lifetime=timedelta(hours=1),
        mfa_single_process=True,
        timeout=30.0,
    ) as found:
        yield found


@pytest.fixture
def browser(client: MoonKey) -> FlaskClient:
    app = Flask(__name__)
    FlaskMoonKey(app, client=client)
    app.register_blueprint(session_routes(mode="cookies"))
    app.register_blueprint(session_routes(mode="header", url_prefix="/header"))

    @app.get("/me")
    @require_auth
    def me() -> Any:
        return {"provider": current_auth.provider}

    return app.test_client(use_cookies=False)


@pytest.fixture
def tokens(
    emulator: Emulator, cdp: CdpEmulator, oidc: OidcEmulator, stytch: StytchEmulator
) -> dict[str, dict[str, str]]:
    """What a client of each provider sends."""
    return {
        "moonkey": {"Authorization": f"Bearer {emulator.sign_in().session_token}"},
        "cdp": {"Authorization": f"Bearer {cdp.sign_in().access_token}"},
        "oidc": {"Authorization": f"Bearer {oidc.token()}"},
        "stytch": {"X-Stytch-Session": stytch.sign_in().session_token},
    }


def who(browser: FlaskClient, headers: dict[str, str]) -> str | None:
    found = browser.get("/me", headers=headers, base_url="https://localhost")
    return str(found.get_json()["provider"]) if found.status_code == 200 else None


@pytest.mark.parametrize("prefix", ["/auth", "/header"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_it_ends_at_its_own(browser: FlaskClient, tokens: dict[str, Any], name: str, prefix: str) -> None:
    assert {one: who(browser, sent) for one, sent in tokens.items()} == {one: one for one in PROVIDERS}
    out = browser.post(f"{prefix}/sign-out", headers=tokens[name], base_url="https://localhost")
    assert out.status_code == 200, out.text
    said = out.get_json()
    assert said["signed_out"] is True
    assert said["complete"] is (name != "cdp")
    assert ("provider_sign_out" in said) is (name == "cdp")
    assert {one: who(browser, sent) for one, sent in tokens.items()} == {
        one: None if one == name else one for one in PROVIDERS
    }


def test_its_cookies_are_removed(browser: FlaskClient, stytch: StytchEmulator) -> None:
    sent = {"Cookie": f"stytch_session={stytch.sign_in().session_token}", "Sec-Fetch-Site": "same-origin"}
    assert who(browser, sent) == "stytch"
    out = browser.post("/auth/sign-out", headers=sent, base_url="https://localhost")
    removed = {line.partition("=")[0] for line in out.headers.getlist("set-cookie") if "Max-Age=0" in line}
    assert {"stytch_session", "stytch_session_jwt", "__Host-moonkey_session"} <= removed
    assert who(browser, sent) is None


def test_what_a_user_of_another_provider_has_recorded_ends(
    browser: FlaskClient, client: MoonKey, tokens: dict[str, Any], cdp: CdpEmulator
) -> None:
    def seen(name: str, handle: str | None = None) -> bool:
        headers = {key.lower(): value for key, value in tokens[name].items()}
        held = {} if handle is None else {"mfa-handle": handle}
        return client.mfa.get(client.authenticate({**headers, **held})) is not None

    handles = {}
    for name, sent in tokens.items():
        auth = client.authenticate({key.lower(): value for key, value in sent.items()})
        handles[name] = client.mfa.record(auth).handle
    assert {name for name, handle in handles.items() if handle is not None} == {"cdp"}
    assert all(seen(name, handles[name]) for name in PROVIDERS)
    assert not seen("cdp")
    assert browser.post("/header/sign-out", headers=tokens["cdp"]).status_code == 200
    tokens["cdp"] = {"Authorization": f"Bearer {cdp.sign_in().access_token}"}
    assert {name for name in PROVIDERS if seen(name, handles[name])} == set(PROVIDERS) - {"cdp"}


def test_its_outage_is_not_that_of_another(
    browser: FlaskClient, client: MoonKey, tokens: dict[str, Any], stytch: StytchEmulator
) -> None:
    assert who(browser, tokens["stytch"]) == "stytch"
    stytch.fault(status=503)
    for _ in range(3):
        sent = {"X-Stytch-Session": stytch.sign_in().session_token}
        assert browser.post("/header/sign-out", headers=sent).status_code == 200
    assert client.providers["moonkey"].health().circuit == "closed"
    assert client.providers["stytch"].health().last_error is not None
    assert client.providers["moonkey"].health().last_error is None
    assert who(browser, tokens["moonkey"]) == "moonkey"
