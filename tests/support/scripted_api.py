"""An API that knows some credentials by heart, for decisions without a socket; it may be down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moonkey_core._plan import Fetch, Outcome, TransportError
from support.decisions import Decisions, replied, verified_body
from support.odd_jwts import key_set

DEAD = replied(404, {"error_type": "invalid_session"})
DOWN = TransportError("connect", unsent=True)


class KnownToTheApi(Decisions):
    """Decisions about credentials that the API knows: ``good`` maps each to the changes in its answer."""

    def __init__(self, good: Iterable[str] = (), **options: Any) -> None:
        super().__init__(**options)
        self.good: dict[str, dict[str, Any]] = {credential: {} for credential in good}
        self.down = False
        self.users_down = False
        self.answer = self.by_heart

    def by_heart(self, fetch: Fetch) -> Outcome:
        if self.down or (self.users_down and "/users/" in fetch.url):
            return DOWN
        if "jwks" in fetch.url:
            return replied(200, key_set())
        if "/users/" in fetch.url:
            user = {"id": fetch.url.rsplit("/", 1)[1], "email": "me@example.com"}
            return replied(200, {"user": user})
        sent = fetch.json or {}
        credential = sent.get("session_token") or sent.get("session_jwt")
        if credential not in self.good:
            return DEAD
        return replied(200, verified_body(**self.good[credential]))

    @property
    def asked(self) -> int:
        """How often the API was asked about a credential."""
        return self.calls("sessions/verify")
