"""The documents on choosing a provider, and several, show what can be used as it is."""

from __future__ import annotations

import re

import pytest

from moonkey_core import MoonKey, Settings
from moonkey_core.settings.provider_choice import MOONKEY, PRESETS
from support.documents import run, text

DOCUMENT = "docs/several-providers.md"


def test_the_choice_in_the_readme() -> None:
    client = run("README.md", "choose")["client"]
    assert isinstance(client, MoonKey)
    with client:
        assert client.settings.provider is not None
        assert client.capabilities == frozenset()


def test_the_words_in_the_readme() -> None:
    (listed,) = re.findall(r"The words are (.*?)\. With", text("README.md"), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == {MOONKEY, *PRESETS}


def test_several() -> None:
    client = run(DOCUMENT, "several")["client"]
    with client:
        assert list(client.providers) == ["moonkey", "auth0", "introspection"]
        routes = client.settings.routes
        assert routes.headers == {
            "authorization": "moonkey", "session-token": "moonkey", "x-partner-token": "introspection",
        }  # fmt: skip
        assert set(routes.issuers) == {
            "https://api.moonkey.fun/app", "https://acme.eu.auth0.com/", "https://id.example.com",
        }  # fmt: skip


@pytest.mark.parametrize("document", ["README.md", DOCUMENT])
def test_the_variables(document: str) -> None:
    found = dict(re.findall(r"export (MOONKEY_(?:PROVIDERS?|AUTH0_\w+))=(\S+)", text(document)))
    assert len(found) == 3
    assert Settings.load({"secret_key": "sk_test_x"}, found).uses_moonkey == ("MOONKEY_PROVIDERS" in found)


def test_each_method_of_the_client_is_in_the_table() -> None:
    table = text(DOCUMENT).partition("## What the client does")[2]
    public = {name for name in dir(MoonKey) if not name.startswith("_")} - {"settings", "providers", "bind"}
    assert [name for name in sorted(public) if f"`{name}" not in table] == []
