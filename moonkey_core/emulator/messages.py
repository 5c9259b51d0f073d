"""What a service has that signs people in by codes and links: what it has sent, and what it waits for."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable

from moonkey_core.emulator.conditions import Conditions
from moonkey_core.emulator.records import Pending, Sent

MAX_OUTBOX = 200
MAX_PENDING = 1_000


class Messages(Conditions):
    """The circumstances of a service, with its outbox and the proofs that it waits for.

    Args:
        on_sent: The function that is called with each message that the service sends.
    """

    def __init__(self, on_sent: Callable[[Sent], None] | None = None) -> None:
        super().__init__()
        self.outbox: deque[Sent] = deque(maxlen=MAX_OUTBOX)
        self._on_sent = on_sent
        self._pending: dict[tuple[str, str], Pending] = {}

    @abstractmethod
    def has_user(self, user_id: str) -> bool:
        """Return whether there is a user with this id."""

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
        return found if not found.user_id or self.has_user(found.user_id) else None

    def forget_pending(self, kind: str, key: str) -> None:
        """Forget the issued code of a kind and key, as it was used or tried too often."""
        self._pending.pop((kind, key), None)

    def reset(self) -> None:
        """Start over, with nothing sent and nothing awaited."""
        super().reset()
        self.outbox.clear()
        self._pending.clear()
