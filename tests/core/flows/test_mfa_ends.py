"""What was recorded ends with a sign-in and a sign-out, whichever of its handles and credentials are presented."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from moonkey_core import CookieSettings, MoonKey, _clock
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


def session(sid: str | None) -> dict[str, Any]:
    """What a token says of its session: a name of it, or none."""
    return {"drop": ["sid"]} if sid is None else {"claims": {"sid": sid}}


@pytest.mark.parametrize("age", ["good", "old"])
def test_a_sign_out_ends_the_handles_that_were_made_in_its_session(
    browser: FlaskClient, oidc: OidcEmulator, age: str
) -> None:
    """Also those that other tabs keep and that are not sent. Those of other sessions go on."""

    def verified(sid: str) -> str:
        found = browser.post("/verified", headers=bearer(oidc, **session(sid))).get_json()["handle"]
        assert isinstance(found, str)
        return found

    tab, other_tab, other_device = verified("sid_1"), verified("sid_1"), verified("sid_2")
    how = {"age": 7200, "life": 3600} if age == "old" else {}
    out = browser.post("/auth/sign-out", headers=bearer(oidc, tab, **session("sid_1"), **how))
    assert out.status_code == 200
    for handle, status in ((tab, 401), (other_tab, 401), (other_device, 200)):
        found = browser.get("/vault", headers=bearer(oidc, handle, **session("sid_3")))
        assert found.status_code == status


@pytest.mark.parametrize("age", ["good", "old"])
@pytest.mark.parametrize("handles", [None, "header", "cookie"])
def test_a_sign_out_whose_token_names_no_session(oidc: OidcEmulator, handles: Any, age: str) -> None:
    """All handles of the user end that may stand in headers: it is not known which ones are of which session."""
    cookies = {"cookies": CookieSettings(insecure_development=True)} if handles == "cookie" else {}
    browser, client = app_of(oidc, mfa_scope="credential", mfa_handles=handles, **cookies)
    browser = browser.application.test_client(use_cookies=False)
    nameless = session(None)
    how: dict[str, Any] = {"age": 7200, "life": 3600} if age == "old" else {}
    with client:
        devices = [oidc.token(email=f"{name}@example.com", **nameless) for name in ("ada", "ada", "ben")]
        held = []
        for token in devices:
            made = str(client.mfa.record(client.authenticate({"authorization": f"Bearer {token}"})).handle)
            lines = {"MFA-Handle": made}
            if client.settings.cookies is not None:
                lines = {"Cookie": f"{client.settings.cookies.mfa_name}={made}"}
            held.append({"Authorization": f"Bearer {token}", **lines})
            assert browser.get("/vault", headers=held[-1]).status_code == 200
        out = browser.post("/auth/sign-out", headers=bearer(oidc, **nameless, **how))
        assert out.status_code == 200
        expected = 200 if handles == "cookie" else 401  # a cookie would have come with it
        assert [browser.get("/vault", headers=one).status_code for one in held] == [expected, expected, 200]


def test_a_sign_in_leaves_the_handles_of_other_tabs(browser: FlaskClient, oidc: OidcEmulator) -> None:
    """``drop`` ends what the client presents; with ``everywhere`` it is that of a sign-out."""
    client = browser.application.extensions["moonkey"]
    token = {"authorization": bearer(oidc, **session(None))["Authorization"]}
    mine, other = (str(client.mfa.record(client.authenticate(token)).handle) for _ in range(2))
    client.mfa.drop(client.authenticate({**token, "mfa-handle": mine}))
    assert client.mfa.get(client.authenticate({**token, "mfa-handle": mine})) is None
    assert client.mfa.get(client.authenticate({**token, "mfa-handle": other})) is not None
    client.mfa.drop(client.authenticate(token), everywhere=True)
    assert client.mfa.get(client.authenticate({**token, "mfa-handle": other})) is None


@pytest.mark.parametrize("purpose", ["mfa", "start"])
def test_the_end_of_a_record_of_the_user_ends_no_start(oidc: OidcEmulator, purpose: str) -> None:
    more = {"note_starts": True, "longest_session": 7 * 24 * HOUR}
    browser, client = app_of(oidc, mfa_scope="user", mfa_single_process=True, **more)
    with client:
        line = {"authorization": bearer(oidc, drop=["auth_time"])["Authorization"]}
        start = str(client.sessions.note_start(client.authenticate(line)).handle)
        client.mfa.record(client.authenticate(line))
        if purpose == "mfa":
            assert browser.post("/end", headers=bearer(oidc)).status_code == 200
        else:
            assert browser.post("/auth/sign-out", headers=bearer(oidc)).status_code == 200
        assert browser.get("/vault", headers=bearer(oidc)).status_code == 401
        line = {"authorization": bearer(oidc, drop=["auth_time"])["Authorization"], "session-start": start}
        found = client.authenticate(line).session
        assert found is not None
        assert found.started_at is not None


def test_a_sign_out_with_an_old_jwt_that_the_provider_accepts(emulator: Emulator) -> None:
    """It ends the record of the user, as one does that the provider refuses."""
    app = Flask(__name__)
    client = MoonKey(
        secret_key=emulator.secret_key,
        base_url=emulator.base_url,
        jwt_issuer=emulator.issuer,
        refresh_jwt=False,
        mfa_lifetime=HOUR,
        mfa_scope="user",
        mfa_single_process=True,
    )
    FlaskMoonKey(app, client=client)
    app.register_blueprint(session_routes(mode="header"))
    with client:
        ada = emulator.sign_in(email="ada@example.com")
        client.mfa.record(client.authenticate({"authorization": f"Bearer {ada.session_jwt}"}))
        elsewhere = {"authorization": f"Bearer {emulator.sign_in(email='ada@example.com').session_token}"}
        assert client.mfa.get(client.authenticate(elsewhere)) is not None
        with time_machine.travel(_clock.wall() + 600, tick=True):
            old = {"Authorization": f"Bearer {ada.session_jwt}"}
            assert client.authenticate({"authorization": old["Authorization"]}).is_rejected
            out = app.test_client().post("/auth/sign-out", headers=old, base_url="https://localhost")
            assert out.get_json() == {"signed_out": True, "complete": True, "revocation": "local"}
            assert client.mfa.get(client.authenticate(elsewhere)) is None


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
