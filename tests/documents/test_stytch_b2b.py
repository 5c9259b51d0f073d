"""The document on Stytch's organizations shows what can be used as it is, and has each argument."""

from __future__ import annotations

import inspect
import re

from moonkey_core import Settings
from moonkey_core.provider import StytchB2B
from support.documents import block, rows, run

DOCUMENT = "docs/stytch-b2b.md"


def test_by_an_object_and_by_the_environment() -> None:
    with run(DOCUMENT, "choose")["client"] as client:
        lines = block(DOCUMENT, "environment").code.split()
        settings = Settings.load({}, dict(line.split("=", 1) for line in lines))
        assert isinstance(settings.provider, StytchB2B)
        assert isinstance(client.settings.provider, StytchB2B)
        assert settings.provider.scopes == client.settings.provider.scopes
        assert "sign_in" not in client.capabilities
        assert {"revoke_user", "list_sessions", "get_user", "extend"} <= client.capabilities


def test_the_word_with_a_dash_is_the_same() -> None:
    lines = dict(line.split("=", 1) for line in block(DOCUMENT, "environment").code.split())
    assert isinstance(Settings.load({}, {**lines, "MOONKEY_PROVIDER": "stytch-b2b"}).provider, StytchB2B)


def test_each_argument_is_in_the_table() -> None:
    shown = {name for cells in rows(DOCUMENT, "argument") for name in re.findall(r"`(\w+)`", cells[0])}
    assert shown == set(inspect.signature(StytchB2B).parameters)
