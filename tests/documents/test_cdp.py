"""The document on Coinbase CDP shows what can be used as it is, and what a sign-out answers."""

from __future__ import annotations

import inspect
import json
import re

import pytest

from moonkey_core import CDP
from moonkey_core.emulator import CdpEmulator
from support.clients import Both
from support.documents import between, block
from support.flow_visits import Visitor

DOCUMENT = "docs/cdp.md"


@pytest.mark.parametrize("name", ["cdp", "custom"])
def test_its_examples(cdp: CdpEmulator, name: str) -> None:
    names = {"api_key_id": cdp.api_key_id, "api_key_secret": cdp.api_key_secret, "project_id": cdp.project_id}
    with block(DOCUMENT, name).run(**names)["client"] as client:
        assert ("get_user" in client.capabilities) is (name == "cdp")


def test_the_arguments_are_those_that_there_are() -> None:
    cells = [line.split("|")[1] for line in between(DOCUMENT, "arguments").splitlines() if "|" in line]
    shown = set(re.findall(r"`(\w+)`", "".join(cells)))
    assert shown == set(inspect.signature(CDP).parameters)


def test_what_a_sign_out_answers(cdp: CdpEmulator) -> None:
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    call = Both("sync", {"provider": provider, "cache_secret": "c" * 32})
    try:
        visitor = Visitor(call, html=False, mode="header")
        answer = visitor.post("sign_out", authorization=f"Bearer {cdp.sign_in().access_token}")
        assert json.loads(answer.body) == json.loads(block(DOCUMENT, "sign-out").code)
    finally:
        call.close()
