"""Flask: a refusal comes through all layers between a gate and the client."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from contract import flask_layers
from contract.flask_layers import FORBIDDEN, GATED, READING
from contract.refusals import REFUSALS, Refused, assert_whole
from contract.requests import bearer
from contract.stacks import AS_SENT_WSGI, usual_options

from moonkey_core.emulator import Emulator
from support import quick
from support.servers import serve_wsgi


@pytest.fixture(scope="module")
def browser(shared_emulator: Emulator) -> Iterator[httpx.Client]:
    shared_emulator.start()
    site = flask_layers.site(usual_options(shared_emulator))
    with serve_wsgi(site, **AS_SENT_WSGI) as url, quick.Client(base_url=url) as client:
        yield client


def paths(refused: Refused) -> tuple[str, ...]:
    gated = tuple(f"{place}/{refused.asks_for}" for place in GATED)
    return (*gated, *(FORBIDDEN if refused.asks_for == "write" else READING))


@pytest.mark.rule("S27", "S28")
@pytest.mark.parametrize("situation", REFUSALS)
def test_refusals_come_through(browser: httpx.Client, emulator: Emulator, situation: str) -> None:
    refused = REFUSALS[situation]
    sent = refused.arrange(emulator)
    for path in paths(refused):
        assert_whole(browser.get(path, headers=sent), refused, path)


@pytest.mark.long
def test_a_signed_in_user_comes_through(browser: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    for path in paths(REFUSALS["no credential"]):
        response = browser.get(path, headers=bearer(person.session_token))
        assert (response.status_code, response.json()) == (200, {"user": person.user_id}), path
