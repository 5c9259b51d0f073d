"""The state of one emulator, under one lock, with its clock."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable

from moonkey_core.emulator.errors import ApiError, dead_session
from moonkey_core.emulator.keys import SigningKey, SigningKeys
from moonkey_core.emulator.messages import Messages
from moonkey_core.emulator.records import Sent, random_text
from moonkey_core.emulator.store import StateFileError, Store

SESSION_CLAIM = "https://streambird.io/jwt/session"


class State(Messages):
    """The service's memory. Hold ``lock`` while using it.

    Args:
        path: A SQLite file for users, sessions, keys and settings, or ``None`` for memory alone.
        secret_key: The API key; by default the one in the file, else a new one.
        issuer: The ``iss`` of the JWTs, by the same rule.
        session_claim: The name of the JWT claim that has the session object.
        on_sent: The function that is called with each message that the service sends.

    Raises:
        StateFileError: The file cannot be used.
    """

    def __init__(
        self,
        path: str | None = None,
        secret_key: str | None = None,
        issuer: str | None = None,
        session_claim: str = SESSION_CLAIM,
        on_sent: Callable[[Sent], None] | None = None,
    ) -> None:
        super().__init__(on_sent)
        self.store: Store = Store(path)
        self.app_id: str = self.store.setting("app_id", lambda: str(uuid.uuid4()))
        self.secret_key: str = self._setting("secret_key", secret_key, lambda: f"sk_test_{random_text(40)}")
        self.issuer: str = self._setting("issuer", issuer, lambda: f"api.moonkey.fun/{self.app_id}")
        self.public_token: str = self.store.setting("public_token", lambda: f"pk_test_{random_text(40)}")
        self.wallet_key: str = self.store.setting("wallet_key", lambda: secrets.token_hex(32))
        self.session_claim = session_claim
        self.audience: str = ""
        self.keys: SigningKeys = SigningKeys(self._stored_keys())
        self.save_keys()
        self.dead_session_answer: tuple[int, bool] = (404, True)
        self.max_session_minutes: int | None = None
        self.token_prefix: bool = False

    def spelled(self, token: str) -> str:
        """Return a session token as the service writes it now."""
        return f"session_{token}" if self.token_prefix else token

    def _setting(self, name: str, given: str | None, make: Callable[[], str]) -> str:
        if given is not None:
            self.store.set(name, given)
        return self.store.setting(name, make)

    def _stored_keys(self) -> list[SigningKey]:
        stored = self.store.setting("keys", lambda: "[]")
        try:
            return [SigningKey.load(kid, pem) for kid, pem in json.loads(stored)]
        except (ValueError, TypeError) as error:
            self.store.close()
            raise StateFileError("The keys in the state file are damaged. Name another file.") from error

    def save_keys(self) -> None:
        """Write the signing keys to the state file."""
        self.store.set("keys", json.dumps([(key.kid, key.pem()) for key in self.keys.all()]))

    def dead_session(self) -> ApiError:
        """Return the answer that a dead session gets, as it was chosen."""
        return dead_session(*self.dead_session_answer)

    def has_user(self, user_id: str) -> bool:
        """Return whether there is a user with this id."""
        return user_id in self.store.users

    def reset(self) -> None:
        """Start over: only the settings, the clock of the machine and the current key remain."""
        super().reset()
        self.store.clear()
        self.keys.drop_old()
        self.save_keys()
        self.dead_session_answer = (404, True)
        self.token_prefix = False
        self.max_session_minutes = None
