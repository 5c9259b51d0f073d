"""The adapter that docs/adapters.md shows works against the emulator, and uses public names only."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from moonkey_core import AsyncMoonKey, Requirements
from moonkey_core.emulator import Emulator
from support import quick
from support.documents import block, run
from support.servers import serve_asgi

DOCUMENT = "docs/adapters.md"
PROTECTED = {
    "/me": Requirements(),
    "/fresh": Requirements(max_staleness=0),
    "/admin": Requirements(roles={"admin"}),
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the state of the request's ``Auth`` and the user's id."""
    if scope["type"] == "http":
        auth = scope["state"]["moonkey"]
        body = f"{auth.state} {auth.user.id if auth else None}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def browser(emulator: Emulator) -> Iterator[httpx.Client]:
    """A client of the app behind the adapter."""
    client = AsyncMoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer)
    adapter = run(DOCUMENT, "adapter")["MoonKeyAdapter"](app, client, PROTECTED)
    with serve_asgi(adapter, lifespan="off") as url, quick.Client(base_url=url) as opened:
        yield opened
    asyncio.run(client.aclose())


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def test_both_credentials_are_accepted(browser: httpx.Client, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    for credential in (ada.session_token, ada.session_jwt):
        for path in ("/", "/me", "/fresh", "/me"):
            response = browser.get(path, headers=bearer(credential))
            assert (response.status_code, response.text) == (200, f"authenticated {ada.user_id}")


def test_a_protected_path_is_refused(browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get("/me")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="moonkey"'
    assert response.headers["content-type"] == "application/problem+json"
    assert browser.get("/me", headers=bearer("a b")).status_code == 400
    ada = emulator.sign_in()
    assert browser.get("/admin", headers=bearer(ada.session_token)).status_code == 403
    emulator.revoke(ada.session_id)
    assert browser.get("/me", headers=bearer(ada.session_jwt)).status_code == 200  # verified without a call
    assert browser.get("/fresh", headers=bearer(ada.session_jwt)).status_code == 401
    for credential in (ada.session_jwt, ada.session_token):
        assert browser.get("/me", headers=bearer(credential)).status_code == 401


def test_any_other_path_runs_in_all_states(browser: httpx.Client, emulator: Emulator) -> None:
    assert browser.get("/").text == "anonymous None"
    assert browser.get("/", headers=bearer("a b")).text == "rejected None"
    token = emulator.sign_in().session_token
    emulator.stop()
    assert browser.get("/", headers=bearer(token)).text == "unavailable None"
    response = browser.get("/me", headers=bearer(token))
    assert (response.status_code, "retry-after" in response.headers) == (503, True)


def test_the_adapter_uses_public_names_only() -> None:
    imports = re.findall(r"^from (moonkey_core\S*) import (.+)$", block(DOCUMENT, "adapter").code, re.MULTILINE)
    assert len(imports) >= 5
    for name, imported in imports:
        module = importlib.import_module(name)
        assert {one.strip() for one in imported.split(",")} <= {*module.__all__}
