"""The shared store, of either kind."""

from __future__ import annotations

import asyncio
from typing import Any

from moonkey_core import Settings
from moonkey_core._plan import ClaimState, CountAttempt, Counts, RecordReply, RecordStep, Reply, StorePolicy
from moonkey_core.redis import AsyncRedisStore, RedisStore
from support.feeds import PLACE, good
from support.scripted import wait_until


class Store:
    """Either kind, asked in the same way; the asynchronous one on a loop of its own."""

    def __init__(self, kind: str, settings: Settings) -> None:
        self.runner = asyncio.Runner() if kind == "async" else None
        self.store: Any = AsyncRedisStore(settings) if self.runner else RedisStore(settings)

    def _done(self, result: Any) -> Any:
        async def awaited() -> Any:
            return await result

        return self.runner.run(awaited()) if self.runner else result

    def get(self, policy: StorePolicy = PLACE) -> Reply | None:
        found: Reply | None = self._done(self.store.get(policy))
        return found

    def put(self, reply: Reply, policy: StorePolicy = PLACE) -> None:
        self._done(self.store.put(policy, reply))

    def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
        found: ClaimState = self._done(self.store.claim(policy, token))
        return found

    def release(self, policy: StorePolicy, token: bytes) -> None:
        self._done(self.store.release(policy, token))

    def count(self, action: CountAttempt) -> Counts | None:
        found: Counts | None = self._done(self.store.count(action))
        return found

    def record(self, action: RecordStep) -> RecordReply:
        found: RecordReply = self._done(self.store.record(action))
        return found

    def close(self) -> None:
        self._done(self.store.aclose() if self.runner else self.store.close())
        if self.runner:
            self.runner.close()


def keeps(store: Store, policy: StorePolicy = PLACE) -> bool:
    """Whether a store keeps what it is given: in the end, as it pauses for a second after a failure."""

    def does() -> bool:
        store.put(good(), policy)
        return store.get(policy) is not None

    return wait_until(does)
