"""The document on introspection shows what can be used as it is."""

from __future__ import annotations

from moonkey_core import MoonKey
from support.documents import run


def test_alone() -> None:
    provider = run("docs/introspection.md", "Alone")["opaque_tokens"]
    assert provider.capabilities == {"introspect"}
    with MoonKey(provider=provider):
        pass


def test_beside_a_provider() -> None:
    provider = run("docs/introspection.md", "Beside a provider")["keycloak"]
    assert provider.capabilities == {"introspect"}
    with MoonKey(provider=provider):
        pass
