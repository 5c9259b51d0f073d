"""One provider of each kind, by the word for it: a table for what has to hold for all of them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moonkey_core import CDP, Introspection, Stytch, StytchB2B
from moonkey_core.provider import Provider
from moonkey_core.settings.provider_choice import PRESETS as WORDS
from support.oidc_tokens import PRESETS


def cdp() -> Provider:
    key = Ed25519PrivateKey.generate()
    pair = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return CDP("key-1", base64.b64encode(pair).decode(), "project-1")


def introspection() -> Provider:
    return Introspection(
        "https://id.example.com/introspect",
        issuer="https://id.example.com",
        audience="https://api.example.com",
        client_id="orders",
        client_secret="a secret of the client",
    )


EVERY_PROVIDER: dict[str, Callable[[], Provider | None]] = {
    "moonkey": lambda: None,
    **{name: preset.make for name, preset in PRESETS.items() if name in WORDS},
    "introspection": introspection,
    "stytch": lambda: Stytch("project-test-1", "secret-test-1"),
    "stytch_b2b": lambda: StytchB2B("project-test-1", "secret-test-1"),
    "cdp": cdp,
}
"""``None`` is MoonKey, which is made of the other settings."""


def options_with(word: str) -> dict[str, Any]:
    """The options of a client with this provider, which has a secret key in any case."""
    made = EVERY_PROVIDER[word]()
    return {"secret_key": "sk_test_x"} | ({} if made is None else {"provider": made})
