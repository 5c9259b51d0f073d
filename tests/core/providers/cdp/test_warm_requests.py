"""What an app does not use costs no request anything: a CDP client does as little as that of another provider."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from flask import Flask

import moonkey_core
from moonkey_core import CDP, OIDC, MoonKey
from moonkey_core.emulator import CdpEmulator, OidcEmulator
from moonkey_flask import FlaskMoonKey, require_auth

_ROOT = moonkey_core.__path__[0].removesuffix("moonkey_core")


def steps_of(call: Callable[[], object]) -> Counter[str]:
    """How often each function of this package is called, and how many instructions they take together."""
    found: Counter[str] = Counter()

    def on_call(frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith((f"{_ROOT}moonkey_core", f"{_ROOT}moonkey_flask")):
            return None
        found[f"{code.co_filename.removeprefix(_ROOT)}:{code.co_name}"] += 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_step

    def on_step(frame: FrameType, event: str, arg: Any) -> Any:
        found["instructions"] += event == "opcode"
        return on_step

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        call()
    finally:
        sys.settrace(before)
    return found


def steps_of_a_warm_request(client: MoonKey, token: str) -> Counter[str]:
    app = Flask(__name__)
    FlaskMoonKey(app, client=client)

    @app.get("/")
    @require_auth
    def home() -> Any:
        return {}

    browser, headers = app.test_client(), {"Authorization": f"Bearer {token}"}

    def visit() -> None:
        assert browser.get("/", headers=headers).status_code == 200

    with client:
        for _ in range(5):
            visit()
        return steps_of(visit)


@pytest.mark.parametrize("way", ["remote", "local"])
def test_a_warm_request_does_no_more_than_with_oidc(cdp: CdpEmulator, oidc: OidcEmulator, way: str) -> None:
    """By the steps it takes, in a cache of answers and of JWTs verified here."""
    jwks_url = cdp.jwks_url if way == "local" else None
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url, jwks_url=jwks_url)
    usual: dict[str, Any] = {"timeout": 30.0}
    token = cdp.sign_in("ada@example.com").access_token
    of_cdp = steps_of_a_warm_request(MoonKey(provider=provider, **usual, session_cache_ttl=60), token)
    of_oidc = steps_of_a_warm_request(MoonKey(provider=OIDC(oidc.issuer, oidc.audience), **usual), oidc.token())
    assert of_cdp["moonkey_core/_verify/acceptance.py:accepts"] == 1
    assert not {name for name in of_cdp if "handles.py" in name or "mfa.py" in name}
    common = set(of_cdp) & set(of_oidc)
    assert {name: of_cdp[name] for name in common - {"instructions"}} == {
        name: of_oidc[name] for name in common - {"instructions"}
    }
    assert len(set(of_cdp) - common) <= len(set(of_oidc) - common), set(of_cdp) ^ set(of_oidc)
    assert of_cdp["instructions"] <= of_oidc["instructions"]


def test_what_is_used_is_counted(cdp: CdpEmulator) -> None:
    """The measure sees the records of an app that makes some."""
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    token = cdp.sign_in("ada@example.com").access_token
    noting = MoonKey(
        provider=provider, cache_secret="c" * 32, note_starts=True, timeout=30.0, session_cache_ttl=60
    )
    found = steps_of_a_warm_request(noting, token)
    assert found["moonkey_core/_session_life/mfa.py:attach"] == 1
