"""Decisions whose key-set fetches are scripted, and replies to a fetch that must not be used."""

from __future__ import annotations

from typing import Any

from moonkey_core import Auth
from moonkey_core._plan import Fetch, Outcome, TransportError
from support.decisions import Decisions, replied, verified_body
from support.odd_jwts import claims, header, key_set, public_jwk, sign

GOOD = replied(200, key_set("old"))


class JwksDecisions(Decisions):
    """Decisions whose key set is fetched; ``published`` is what the fetch brings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(jwks="", **options)
        self.published: Outcome = GOOD
        self.answer = self.usual_or_published

    def usual_or_published(self, fetch: Fetch) -> Outcome:
        return self.published if "jwks" in fetch.url else replied(200, verified_body())

    @property
    def fetched(self) -> int:
        return self.calls("jwks")

    def shown(self, kid: str, made_at: float | None = None) -> Auth:
        """Show a good JWT that the key of this name has signed just now."""
        return self.authenticate(sign(header(kid=kid), claims(self.now if made_at is None else made_at), kid))


BAD: dict[str, Outcome] = {
    "refused connection": TransportError("connect", unsent=True),
    "timeout": TransportError("timeout"),
    "reset": TransportError("broken"),
    "too large": TransportError("too_large"),
    "html": replied(200, b"<html>"),
    "html refusal": replied(403, b"<html>"),
    "html challenge": replied(401, b"<html>"),
    "empty": replied(200, b""),
    "list": replied(200, b"[]"),
    "null": replied(200, b"null"),
    "truncated": replied(200, GOOD.body[:-2]),
    "no keys": replied(200, {"keys": []}),
    "only a private key": replied(200, {"keys": [public_jwk("old", d="AQAB")]}),
    "only a twin": replied(200, {"keys": [public_jwk("old"), public_jwk("twin", kid="old")]}),
    "only for encryption": replied(200, {"keys": [public_jwk("old", use="enc")]}),
    **{
        f"status {status}": replied(status, key_set("evil")) for status in (201, 204, 206, 304, 404, 429, 500, 503)
    },
    "redirect": replied(302, key_set("evil"), location="http://127.0.0.1:1/keys"),
}
