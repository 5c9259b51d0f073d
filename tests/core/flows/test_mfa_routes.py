"""The ready-made routes and what is recorded of a user: also where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from moonkey_core import CookieSettings, MoonKey
from moonkey_core._repeated_log import reset
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import FlaskMoonKey, current_auth, require_auth, session_routes
from support.visitors import with_app

HOUR = timedelta(hours=1)
NOWHERE = "redis://127.0.0.1:1/0"


def browser_of(emulator: Emulator, **options: Any) -> tuple[FlaskClient, MoonKey]:
    app = Flask(__name__)
    client = MoonKey(
        secret_key=emulator.secret_key,
        base_url=emulator.base_url,
        jwt_issuer=emulator.issuer,
        mfa_lifetime=HOUR,
        on_feed_lost="local" if "redis_url" in options else None,
        **options,
    )
    FlaskMoonKey(app, client=client)
    app.register_blueprint(session_routes(mode="cookies" if options.get("cookies") else "header"))

    @app.get("/vault")
    @require_auth(mfa_max_age=HOUR)
    def vault() -> Any:
        return {"method": current_auth.mfa and current_auth.mfa.method}

    @app.post("/verified")
    @require_auth
    def verified() -> Any:
        return client.mfa.record(current_auth).to_dict()

    return app.test_client(), client


def bearer(person: SignedIn, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.session_token}", **more}


@pytest.fixture
def in_memory(emulator: Emulator) -> Iterator[FlaskClient]:
    browser, client = browser_of(emulator, mfa_scope="user", mfa_single_process=True)
    with client:
        yield browser


def step_up(browser: FlaskClient, emulator: Emulator, person: SignedIn, secret: str) -> Any:
    return browser.post("/auth/step-up/totp", headers=bearer(person), json={"code": emulator.totp_code(secret)})


def test_a_step_up_satisfies_all_clients_of_the_user(in_memory: FlaskClient, emulator: Emulator) -> None:
    phone, laptop = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ada@example.com")
    secret = with_app(emulator, phone.user_id)
    assert in_memory.get("/vault", headers=bearer(laptop)).status_code == 401
    assert step_up(in_memory, emulator, phone, secret).status_code == 200
    assert in_memory.get("/vault", headers=bearer(laptop)).get_json() == {"method": "totp"}
    assert in_memory.post("/auth/sign-out", headers=bearer(laptop)).status_code == 200
    tablet = emulator.sign_in(email="ada@example.com")
    assert in_memory.get("/vault", headers=bearer(tablet)).status_code == 401


def test_the_same_mailbox_twice_is_no_second_factor(in_memory: FlaskClient, emulator: Emulator) -> None:
    ada = emulator.sign_in(email="ada@example.com")
    sent = in_memory.post("/auth/step-up/otp", headers=bearer(ada), json={"which": "email"})
    fields = {"code": emulator.outbox()[0].code, "method_id": sent.get_json()["method_id"]}
    done = in_memory.post("/auth/step-up/otp/verify", headers=bearer(ada), json=fields)
    assert done.status_code == 200, done.text
    newer = {"Authorization": f"Bearer {done.get_json()['session_token']}"}
    assert in_memory.get("/vault", headers=newer).status_code == 401


def test_a_new_sign_in_drops_what_the_browser_has(emulator: Emulator) -> None:
    browser, client = browser_of(
        emulator, cookies=CookieSettings(insecure_development=True), mfa_scope="credential"
    )
    with client:
        same = {"Sec-Fetch-Site": "same-origin"}

        def sign_in() -> Any:
            browser.post("/auth/sign-in/otp", json={"address": "ada@example.com"}, headers=same)
            return browser.post("/auth/sign-in/otp/verify", json={"code": emulator.outbox()[0].code}, headers=same)

        sign_in()
        assert browser.post("/verified", headers=same).status_code == 200
        held = browser.get_cookie("moonkey_mfa")
        assert held is not None
        assert browser.get("/vault").status_code == 200
        assert sign_in().status_code == 200
        assert browser.get_cookie("moonkey_mfa") is None
        browser.set_cookie("moonkey_mfa", held.value)
        assert browser.get("/vault").status_code == 401


def test_sign_out_goes_on_while_the_store_is_lost(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    browser, client = browser_of(emulator, mfa_scope="user", redis_url=NOWHERE)
    with client:
        reset()
        ada = emulator.sign_in()
        assert browser.post("/auth/sign-out", headers=bearer(ada)).get_json()["signed_out"] is True
        assert "record_not_ended" in [getattr(one, "reason", "") for one in caplog.records]


def test_step_up_goes_on_while_the_store_is_lost(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    browser, client = browser_of(emulator, mfa_scope="user", redis_url=NOWHERE)
    with client:
        reset()
        ada = emulator.sign_in(email="ada@example.com")
        secret = with_app(emulator, ada.user_id)
        found = browser.get("/vault", headers=bearer(ada))
        assert (found.status_code, found.headers["Retry-After"]) == (503, "5")
        done = step_up(browser, emulator, ada, secret)
        assert done.get_json()["stepped_up"] is True
        assert "step_up_not_recorded" in [getattr(one, "reason", "") for one in caplog.records]
        newer = {"Authorization": f"Bearer {done.get_json()['session_token']}"}
        assert browser.get("/vault", headers=newer).status_code == 200  # by the factors of the session itself
