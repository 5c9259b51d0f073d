"""Sign-outs with a token that cannot be verified, as CDP is down: the fleet hears of the token itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from moonkey_core import CDP, MoonKey
from moonkey_core.emulator import CdpEmulator
from moonkey_core.redis import shared
from moonkey_flask import FlaskMoonKey, require_auth, session_routes


def me() -> Any:
    return {}


class Process:
    """An app, with a table of revocations that no other shares."""

    def __init__(self, cdp: CdpEmulator, close: ExitStack, **more: Any) -> None:
        shared._tables.clear()
        provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
        self.client = close.enter_context(MoonKey(provider=provider, cache_secret="c" * 32, timeout=30.0, **more))
        app = Flask(__name__)
        FlaskMoonKey(app, client=self.client)
        app.register_blueprint(session_routes(mode="header"))
        app.add_url_rule("/me", "me", require_auth(me))
        self.browser: FlaskClient = app.test_client()

    def me(self, token: str) -> int:
        return self.browser.get("/me", headers={"Authorization": f"Bearer {token}"}).status_code

    def sign_out(self, token: str) -> dict[str, Any]:
        found = self.browser.post("/auth/sign-out", headers={"Authorization": f"Bearer {token}"})
        assert found.status_code == 200
        said: dict[str, Any] = found.get_json()
        return said


@pytest.fixture
def pair(cdp: CdpEmulator) -> Iterator[tuple[Process, Process]]:
    """Two processes. What one publishes, the other receives at once."""
    with ExitStack() as close:
        one, other = (Process(cdp, close) for _ in range(2))
        one.client.revocations.listeners += (other.client.revocations.receive,)
        yield one, other


def test_the_other_process_refuses_the_token(pair: tuple[Process, Process], cdp: CdpEmulator) -> None:
    one, other = pair
    token, kept = (cdp.sign_in("ada@example.com").access_token for _ in range(2))
    cdp.fault(status=503)
    assert one.me(token) == 503
    assert one.sign_out(token) == {
        "signed_out": True,
        "complete": False,
        "revocation": "local",
        "provider_sign_out": True,
    }
    cdp.clear_faults()
    assert one.me(token) == other.me(token) == 401
    assert one.me(kept) == other.me(kept) == 200
    asked = cdp.requests()
    assert other.me(token) == 401
    assert cdp.requests() == asked  # without a call


def test_what_is_refused_in_any_case_is_not_passed_on(pair: tuple[Process, Process], cdp: CdpEmulator) -> None:
    one, other = pair
    cdp.fault(status=503)
    known = len(other.client.revocations)
    for token in (cdp.token(age=2000), cdp.token(project_id="another"), "a.b.c", "x"):
        one.sign_out(token)
    assert len(other.client.revocations) == known
    assert not other.client.revocations.revokes_credentials
    some = cdp.sign_in("ada@example.com").access_token
    for _ in range(3):
        one.sign_out(some)
    assert len(other.client.revocations) == known + 1


def test_strangers_cannot_fill_the_table(cdp: CdpEmulator, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as close:
        process = Process(cdp, close, max_revocations=1000)
        cdp.fault(status=503)
        tokens = [cdp.sign_in("ada@example.com").access_token for _ in range(11)]
        for token in tokens:
            process.sign_out(token)
        assert len(process.client.revocations) == 10
        assert [getattr(line, "reason", "") for line in caplog.records].count("sign_out_limited") == 1
        cdp.clear_faults()
        assert [process.me(token) for token in tokens] == [401] * 11  # here, all of them
