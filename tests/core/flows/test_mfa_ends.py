"""What was recorded ends with a sign-in and a sign-out, whichever of its handles and credentials are presented."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from moonkey_core import CookieSettings, MoonKey
from moonkey_core.emulator import Emulator, OidcEmulator
from moonkey_core.provider import OIDC
from moonkey_flask import FlaskMoonKey, current_auth, require_auth, session_routes

HOUR = timedelta(hours=1)


def app_of(oidc: OidcEmulator, **options: Any) -> tuple[FlaskClient, MoonKey]:
    client = MoonKey(
        provider=OIDC(oidc.issuer, oidc.audience), cache_secret="c" * 32, mfa_lifetime=HOUR, **options
    )
    app = Flask(__name__)
    FlaskMoonKey(app, client=client)
    app.register_blueprint(session_routes(mode="header"))

    @app.get("/vault")
    @require_auth(mfa_max_age=HOUR)
    def vault() -> Any:
        return {}

    @app.post("/verified")
    @require_auth
    def verified() -> Any:
        return {"handle": client.mfa.record(current_auth).handle}

    @app.post("/end")
    @require_auth
    def end() -> Any:
        client.mfa.end(current_auth)
        return {}

    return app.test_client(), client


@pytest.fixture
def browser(oidc: OidcEmulator) -> Iterator[FlaskClient]:
    browser, client = app_of(oidc, mfa_scope="credential", cookies=CookieSettings(insecure_development=True))
    with client:
        yield browser


def bearer(oidc: OidcEmulator, handle: str | None = None, **more: Any) -> dict[str, str]:
    held = {} if handle is None else {"MFA-Handle": handle}
    return {"Authorization": f"Bearer {oidc.token(email='ada@example.com', **more)}", **held}


def record(browser: FlaskClient, oidc: OidcEmulator, handle: str | None = None) -> str:
    found = browser.post("/verified", headers=bearer(oidc, handle)).get_json()["handle"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("path", ["/auth/sign-out", "/end"])
def test_older_handles_of_the_client_end_with_the_newest(
    browser: FlaskClient, oidc: OidcEmulator, path: str
) -> None:
    first = record(browser, oidc)
    second = record(browser, oidc, first)
    for handle in (first, second):
        assert browser.get("/vault", headers=bearer(oidc, handle)).status_code == 200
    assert browser.post(path, headers=bearer(oidc, second)).status_code == 200
    for handle in (first, second):
        assert browser.get("/vault", headers=bearer(oidc, handle)).status_code == 401
    again = record(browser, oidc, second)
    assert browser.get("/vault", headers=bearer(oidc, again)).status_code == 200


@pytest.mark.parametrize("credential", ["old", "none"])
def test_a_sign_out_without_a_good_credential_ends_the_handle(
    browser: FlaskClient, oidc: OidcEmulator, credential: str
) -> None:
    handle = record(browser, oidc)
    presented = bearer(oidc, handle, age=7200, life=3600) if credential == "old" else {"MFA-Handle": handle}
    assert browser.post("/auth/sign-out", headers=presented).status_code == 200
    assert browser.get("/vault", headers=bearer(oidc, handle)).status_code == 401


def test_a_sign_out_with_an_old_token_ends_the_record_of_the_user(oidc: OidcEmulator) -> None:
    browser, client = app_of(oidc, mfa_scope="user", mfa_single_process=True)
    with client:
        assert browser.post("/verified", headers=bearer(oidc)).status_code == 200
        forged = {"Authorization": bearer(oidc, age=7200, life=3600)["Authorization"][:-8] + "AAAAAAAA"}
        browser.post("/auth/sign-out", headers=forged)
        assert browser.get("/vault", headers=bearer(oidc)).status_code == 200
        assert browser.post("/auth/sign-out", headers=bearer(oidc, age=7200, life=3600)).status_code == 200
        assert browser.get("/vault", headers=bearer(oidc)).status_code == 401


def test_a_sign_in_ends_the_handle_that_it_is_sent_with(emulator: Emulator) -> None:
    app = Flask(__name__)
    client = MoonKey(
        secret_key=emulator.secret_key,
        base_url=emulator.base_url,
        jwt_issuer=emulator.issuer,
        mfa_lifetime=HOUR,
        mfa_scope="credential",
    )
    FlaskMoonKey(app, client=client)
    app.register_blueprint(session_routes(mode="header"))
    with client:
        ada = client.authenticate(
            {"authorization": f"Bearer {emulator.sign_in(email='ada@example.com').session_jwt}"}
        )
        held = {"MFA-Handle": str(client.mfa.record(ada).handle)}
        browser = app.test_client()
        sent = browser.post(
            "/auth/sign-in/otp", json={"address": "ada@example.com"}, headers=held, base_url="https://localhost"
        )
        fields = {**sent.get_json(), "code": emulator.outbox()[0].code}
        done = browser.post("/auth/sign-in/otp/verify", json=fields, headers=held, base_url="https://localhost")
        assert done.status_code == 200, done.text
        again = {"authorization": f"Bearer {done.get_json()['session_token']}", "mfa-handle": held["MFA-Handle"]}
        assert client.mfa.get(client.authenticate(again)) is None
