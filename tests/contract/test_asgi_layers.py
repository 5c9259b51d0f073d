"""Starlette and FastAPI: a refusal comes through all layers between a gate and the client."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from contract import asgi_layers
from contract.asgi_layers import ARRANGEMENTS, GATED, READING, SOCKETS
from contract.refusals import REFUSALS, Refused, assert_whole
from contract.requests import bearer
from contract.stacks import AS_SENT_ASGI, usual_options
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from moonkey_core.emulator import Emulator
from support import quick
from support.servers import serve_asgi

Served = tuple[str, httpx.Client]


@pytest.fixture(scope="module", params=["starlette", "fastapi"])
def served(request: pytest.FixtureRequest, shared_emulator: Emulator) -> Iterator[Served]:
    shared_emulator.start()
    site = asgi_layers.site(request.param, usual_options(shared_emulator))
    with serve_asgi(site, **AS_SENT_ASGI) as url, quick.Client(base_url=url) as client:
        yield request.param, client


def paths(framework: str, refused: Refused) -> list[str]:
    views = [f"{view}/{refused.asks_for}" for view in GATED[framework]]
    views += [f"{view}/me" for view in READING[framework] if refused.asks_for == "me"]
    return [f"/{arrange.__name__}/{view}" for arrange in ARRANGEMENTS for view in views]


@pytest.mark.long
@pytest.mark.rule("S27", "S28")
@pytest.mark.parametrize("situation", REFUSALS)
def test_refusals_come_through(served: Served, emulator: Emulator, situation: str) -> None:
    framework, browser = served
    refused = REFUSALS[situation]
    sent = refused.arrange(emulator)
    for path in paths(framework, refused):
        assert_whole(browser.get(path, headers=sent), refused, path)


@pytest.mark.long
@pytest.mark.rule("S27", "connection")
@pytest.mark.parametrize("situation", REFUSALS)
def test_websockets_are_refused_alike(served: Served, emulator: Emulator, situation: str) -> None:
    framework, browser = served
    refused = REFUSALS[situation]
    sent = refused.arrange(emulator)
    url = str(browser.base_url).rstrip("/").replace("http", "ws")
    for arrange in ARRANGEMENTS:
        for view in SOCKETS[framework]:
            path = f"/{arrange.__name__}/{view}/{refused.asks_for}"
            with pytest.raises(InvalidStatus) as caught, connect(url + path, additional_headers=sent):
                pass
            response = caught.value.response
            assert response.status_code == refused.status, path
            assert response.headers.get("WWW-Authenticate") == refused.challenge, path
            assert ("Retry-After" in response.headers) == (refused.retry_after is not None), path


@pytest.mark.long
def test_a_signed_in_user_comes_through(served: Served, emulator: Emulator) -> None:
    framework, browser = served
    person = emulator.sign_in()
    sent = bearer(person.session_token)
    for path in paths(framework, REFUSALS["no credential"]):
        response = browser.get(path, headers=sent)
        assert (response.status_code, response.json()) == (200, {"user": person.user_id}), path
    url = str(browser.base_url).rstrip("/").replace("http", "ws")
    for arrange in ARRANGEMENTS:
        for view in SOCKETS[framework]:
            with connect(f"{url}/{arrange.__name__}/{view}/me", additional_headers=sent) as websocket:
                assert websocket.recv(10) == "here"
