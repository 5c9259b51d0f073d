"""The README's table of outcomes, row by row, against each stack."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from contract.stacks import Site

from moonkey_core.emulator import Emulator
from support.documents import rows

ROWS = [tuple(row) for row in rows("README.md", "situation")]
Arrange = Callable[[Emulator], str]


def _good(emulator: Emulator) -> str:
    return emulator.sign_in().session_token


def _dead(emulator: Emulator) -> str:
    signed_in = emulator.sign_in()
    emulator.revoke(signed_in.session_id)
    return signed_in.session_token


def _down(emulator: Emulator) -> str:
    emulator.stop()
    return "a-token"


SITUATIONS: dict[str, Arrange] = {
    "no credential": lambda emulator: "",
    "malformed, or two credentials": lambda emulator: "a b",
    "invalid, expired beyond refresh, or revoked": _dead,
    "the API is down, slow, rate-limits, or answers nonsense": _down,
    "our API key is wrong": _good,
    "good": _good,
}


def test_the_table_and_these_situations_are_the_same() -> None:
    assert [row[0] for row in ROWS] == list(SITUATIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_row(
    open_site: Callable[..., Site],
    site: Site,
    browser: httpx.Client,
    emulator: Emulator,
    row: tuple[str, str, str],
) -> None:
    situation, promised, state = row
    if situation == "our API key is wrong":
        site = open_site(secret_key="sk_test_wrong")
    credential = SITUATIONS[situation](emulator)
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    response = browser.get(site.url + "/protected", headers=headers)
    answer = str(list(response.headers.items())).lower()
    assert promised.startswith(str(response.status_code))
    for header in re.findall(r"`([^`]+)`", promised):
        name, _, value = header.partition(": ")
        found = (
            response.headers.get(name) == value if value else header.lower() in answer.lower().replace('\\"', '"')
        )
        assert found, (header, answer)
    optional = browser.get(site.url + "/optional", headers=headers)
    assert (optional.status_code, optional.json()["state"]) == (200, state)
