"""The state of one emulator, under one lock, with its clock."""

from __future__ import annotations

import json
import secrets
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable

from moonkey_core.emulator.errors import ApiError, Shape, dead_session
from moonkey_core.emulator.faults import FaultBoard
from moonkey_core.emulator.keys import SigningKey, SigningKeys
from moonkey_core.emulator.records import Pending, Sent, random_text
from moonkey_core.emulator.store import StateFileError, Store
from moonkey_core.emulator.traffic import Traffic

SESSION_CLAIM = "https://streambird.io/jwt/session"
MAX_OUTBOX = 200
MAX_PENDING = 1_000


class State:
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
        self.lock: threading.RLock = threading.RLock()
        self.store: Store = Store(path)
        self.app_id: str = self.store.setting("app_id", lambda: str(uuid.uuid4()))
        self.secret_key: str = self._setting("secret_key", secret_key, lambda: f"sk_test_{random_text(40)}")
        self.issuer: str = self._setting("issuer", issuer, lambda: f"api.moonkey.fun/{self.app_id}")
        self.public_token: str = self.store.setting("public_token", lambda: f"pk_test_{random_text(40)}")
        self.wallet_key: str = self.store.setting("wallet_key", lambda: secrets.token_hex(32))
        self.session_claim = session_claim
        self.keys: SigningKeys = SigningKeys(self._stored_keys())
        self.save_keys()
        self.faults: FaultBoard = FaultBoard()
        self.traffic: Traffic = Traffic()
        self.outbox: deque[Sent] = deque(maxlen=MAX_OUTBOX)
        self._on_sent = on_sent
        self._pending: dict[tuple[str, str], Pending] = {}
        self.clock_offset: float = 0.0
        self.dead_session_answer: tuple[int, bool] = (404, True)
        self.error_shape: Shape | None = None
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

    def now(self) -> float:
        """Return the emulator's time in Unix seconds, with its offset."""
        return time.time() + self.clock_offset

    def dead_session(self) -> ApiError:
        """Return the answer that a dead session gets, as it was chosen."""
        return dead_session(*self.dead_session_answer)

    def send(self, message: Sent) -> None:
        """Put a message into the outbox, and pass it to ``on_sent``."""
        self.outbox.appendleft(message)
        if self._on_sent:
            self._on_sent(message)

    def await_proof(self, key: str, pending: Pending) -> None:
        """Keep an issued code or the like. It replaces one of the same kind and key."""
        self._pending.pop((pending.kind, key), None)
        self._pending[pending.kind, key] = pending
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]

    def pending(self, kind: str, key: str) -> Pending | None:
        """Return the issued code of a kind and key; ``None`` where it has expired or its user does not exist."""
        found = self._pending.get((kind, key))
        if found is None or found.expires_at <= self.now():
            return None
        return found if not found.user_id or found.user_id in self.store.users else None

    def forget_pending(self, kind: str, key: str) -> None:
        """Forget the issued code of a kind and key, as it was used or tried too often."""
        self._pending.pop((kind, key), None)

    def reset(self) -> None:
        """Start over: only the settings, the clock of the machine and the current key remain."""
        self.store.clear()
        self.keys.drop_old()
        self.save_keys()
        self.faults.clear()
        self.traffic.clear()
        self.outbox.clear()
        self._pending.clear()
        self.clock_offset = 0.0
        self.dead_session_answer = (404, True)
        self.token_prefix = False
        self.error_shape = None
        self.max_session_minutes = None
