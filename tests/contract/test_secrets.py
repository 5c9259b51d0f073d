"""S29 to S31. Every log record and every response of every outcome is searched for every secret."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest
from contract.stacks import Site

from moonkey_core.emulator import Emulator


@pytest.mark.rule("S30")
@pytest.mark.long
def test_no_secret_in_logs_or_responses(
    open_site: Callable[..., Site],
    browser: httpx.Client,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    site = open_site(timeout=1.0)
    emulator.set_clock(-400)
    old = emulator.sign_in(email="old@example.com")
    emulator.set_clock(0)
    new, dead = emulator.sign_in(email="new@example.com"), emulator.sign_in(email="dead@example.com")
    emulator.revoke(dead.session_id)
    forged = new.session_jwt[:-8] + "AAAAAAAA"
    credentials = [
        *(getattr(person, kind) for person in (old, new, dead) for kind in ("session_token", "session_jwt")),
        forged,
        "not-a-session-token-but-still-secret",
        emulator.mint(key="foreign"),
        new.session_token + "=malformed=",
    ]
    seen: list[str] = []
    paths = ["/protected", "/other-colour", "/optional", "/public", "/raises", "/foreign", "/nowhere"]

    def visit(paths: list[str], presented: list[str]) -> None:
        for path in paths:
            for credential in presented:
                for headers in ({"authorization": f"Bearer {credential}"}, {"session-token": credential}):
                    response = browser.get(site.url + path, headers=headers)
                    seen.append(f"{response.headers}\n{response.text}")

    visit(paths, credentials)
    emulator.fault("/v1/auth", status=500, body="boom " + emulator.secret_key)
    visit(["/protected", "/optional"], [old.session_jwt, new.session_token])
    emulator.stop()
    visit(["/other-colour", "/foreign"], [old.session_jwt, new.session_token])

    # The log of this test's own browser shows what the browser itself sent: only its URLs, which hold nothing.
    records = [
        f"{record.getMessage()} {record.__dict__} {record.exc_info} {record.exc_text}" for record in caplog.records
    ]
    everything = "\n".join([*seen, *(record for record in records if "receive_response" not in record)])
    for secret in [*credentials, emulator.secret_key]:
        for piece in {secret, secret.split(".")[-1]}:
            assert piece not in everything
    assert len(seen) > 100
