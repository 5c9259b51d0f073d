"""docs/emulator.md has every preset and every method, and its example runs."""

from __future__ import annotations

import dataclasses
import re

import pytest

from moonkey_core.emulator import (
    CdpEmulator,
    Emulator,
    OidcEmulator,
    Sent,
    SignedIn,
    StytchB2BEmulator,
    StytchEmulator,
)
from moonkey_core.emulator.oidc.presets import PRESETS
from support.documents import between, run, text

DOCUMENT = "docs/emulator.md"
METHODS: dict[str, type] = {
    "moonkey methods": Emulator,
    "methods": OidcEmulator,
    "stytch methods": StytchEmulator,
    "b2b methods": StytchB2BEmulator,
    "cdp methods": CdpEmulator,
}


@pytest.mark.parametrize(("table", "of"), [("signed in", SignedIn), ("sent", Sent)])
def test_fields(table: str, of: type) -> None:
    cells = [line.split("|")[1] for line in between(DOCUMENT, table).splitlines()[2:]]
    assert re.findall(r"`(\w+)`", "".join(cells)) != []
    assert set(re.findall(r"`(\w+)`", "".join(cells))) == {field.name for field in dataclasses.fields(of)}


def test_attributes_of_the_emulator(emulator: Emulator) -> None:
    own = {name for name in vars(emulator) if not name.startswith("_")}
    assert {name for name in own if f"`{name}`" not in text(DOCUMENT)} == set()


def test_its_examples() -> None:
    assert run(DOCUMENT, "MoonKey of your own")["ada"].user_id.startswith("user_")
    assert run(DOCUMENT, "An OpenID Connect issuer of your own 2")["lookalike"].count(".") == 2
    assert run(DOCUMENT, "A Stytch project of your own 2")["machine"].count(".") == 2
    assert run(DOCUMENT, "A Stytch B2B project of your own 2")["lookalike"].count(".") == 2
    assert run(DOCUMENT, "A CDP project of your own 2")["lookalike"].count(".") == 2


def test_presets_and_their_issuers(oidc: OidcEmulator) -> None:
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", between(DOCUMENT, "presets"), re.MULTILINE)
    named = {preset: issuer.strip("`") for presets, issuer in rows for preset in re.findall(r"`([^`]+)`", presets)}
    assert set(named) == set(PRESETS)
    for preset, issuer in named.items():
        found = oidc.preset(preset).issuer
        shown = oidc.issuer if issuer == "the address of the emulator" else issuer.replace("{base}", oidc.base_url)
        assert re.fullmatch(re.escape(shown).replace(re.escape("{tenant}"), "[0-9a-f-]{36}"), found), preset


@pytest.mark.parametrize("table", list(METHODS))
def test_methods_and_properties(table: str) -> None:
    emulator = METHODS[table]
    properties = {name for name in dir(emulator) if isinstance(getattr(emulator, name), property)}
    methods = {name for name in dir(emulator) if not name.startswith("_")} - properties
    cells = [line.split("|")[1] for line in between(DOCUMENT, table).splitlines()]
    assert set(re.findall(r"`(\w+)\([^`]*\)`", "".join(cells))) == methods
    assert {name for name in properties if f"`{name}`" not in text(DOCUMENT)} == set()
