"""The state of the issuer, under one lock, with its clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moonkey_core.emulator.conditions import Conditions
from moonkey_core.emulator.oidc.keys import IssuerKeys
from moonkey_core.emulator.oidc.records import Client, Issued, SignIn
from moonkey_core.emulator.records import Json, random_text

MAX_ISSUED = 20_000
MAX_CLIENTS = 100
MAX_REPLAYS = 10_000
CODE_SECONDS = 60
DEMO_CLIENT = "demo-api"


class OidcState(Conditions):
    """The issuer's memory. Hold ``lock`` while using it. The oldest records are dropped when there are too many.

    Args:
        issuer: The ``iss`` of the generic preset; ``None`` for the emulator's own address.
        algorithms: The algorithms whose keys are published from the beginning.
        client_secret: The secret of the client ``demo-api``; made if not given.
    """

    def __init__(self, issuer: str | None, algorithms: Sequence[str], client_secret: str | None) -> None:
        super().__init__()
        self.base_url: str = ""  # known once the server listens
        self.given_issuer: str | None = issuer
        self.keys: IssuerKeys = IssuerKeys(algorithms)
        self._secret: str = client_secret or random_text(40)
        self._begin()

    def _begin(self) -> None:
        self.issued: dict[str, Issued] = {}
        self.codes: dict[str, tuple[SignIn, Mapping[str, str], float]] = {}
        self.used_assertions: dict[tuple[str, str], float] = {}
        methods = frozenset({"client_secret_basic", "client_secret_post"})
        self.clients: dict[str, Client] = {DEMO_CLIENT: Client(DEMO_CLIENT, self._secret, None, methods)}
        self.discovery: Json = {}
        self.introspection: Json = {}
        self.key_members: Json = {}
        self.extra_keys: list[Json] = []

    @property
    def issuer(self) -> str:
        """The ``iss`` of the generic preset."""
        return self.base_url if self.given_issuer is None else self.given_issuer

    def keep(self, token: str, issued: Issued) -> None:
        """Remember a token that was issued, so that introspection knows it."""
        self.issued.pop(token, None)
        self.issued[token] = issued
        if len(self.issued) > MAX_ISSUED:
            del self.issued[next(iter(self.issued))]

    def active(self, token: str) -> Issued | None:
        """Return an issued token that is neither expired nor revoked, else ``None``."""
        found = self.issued.get(token)
        if found is None or found.revoked or found.expires_at <= self.now():
            return None
        return found

    def add_client(self, client: Client) -> None:
        """Add a client, or replace the one with its id.

        Raises:
            ValueError: There are too many.
        """
        if client.client_id not in self.clients and len(self.clients) >= MAX_CLIENTS:
            raise ValueError(f"there may be at most {MAX_CLIENTS} clients")
        self.clients[client.client_id] = client

    def is_replay(self, client_id: str, assertion_id: str, expires_at: float) -> bool:
        """Return whether a client has used this assertion before, and note that it has now."""
        key = (client_id, assertion_id)
        if key in self.used_assertions:
            return True
        self.used_assertions[key] = expires_at
        if len(self.used_assertions) > MAX_REPLAYS:
            del self.used_assertions[next(iter(self.used_assertions))]
        return False

    def key_set(self) -> Json:
        """Return the key set as it is published now. A member that is ``None`` is left out of each key."""
        keys = [{**key.jwk(), **self.key_members} for key in self.keys.published()]
        kept = [{name: value for name, value in key.items() if value is not None} for key in keys]
        return {"keys": [*kept, *self.extra_keys]}

    def reset(self) -> None:
        """Start over: only the settings, the clock of the machine and the current keys remain."""
        super().reset()
        self.keys.drop_old()
        self._begin()
