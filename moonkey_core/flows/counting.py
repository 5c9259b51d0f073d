"""The driver of the plans of the ready-made routes: calls, pauses, and the counts in the fleet's Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from moonkey_core._plan import AwaitPublished, CountAttempt, Fetch, Pause, RecordStep
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange

if TYPE_CHECKING:
    from moonkey_core.redis.store import AsyncRedisStore, RedisStore

Action = Fetch | AwaitPublished | CountAttempt | Pause | RecordStep


def blocking_driver(
    exchange: SyncExchange, store: RedisStore | None, deadline: float
) -> Callable[[Action], object]:
    """Return the function that carries out the steps of a plan, for threads."""
    call = partial(exchange.carry_out, deadline=deadline)

    def carry_out(action: Action) -> object:
        if isinstance(action, Fetch | AwaitPublished):
            return call(action)
        if isinstance(action, CountAttempt):
            return store.count(action) if store is not None else None
        if isinstance(action, RecordStep):
            return store.record(action) if store is not None else None
        time.sleep(action.seconds)
        return None

    return carry_out


def awaiting_driver(
    exchange: AsyncExchange, store: AsyncRedisStore | None, deadline: float
) -> Callable[[Action], Awaitable[object]]:
    """Return the function that carries out the steps of a plan, for tasks."""
    call = partial(exchange.carry_out, deadline=deadline)

    async def carry_out(action: Action) -> object:
        if isinstance(action, Fetch | AwaitPublished):
            return await call(action)
        if isinstance(action, CountAttempt):
            return await store.count(action) if store is not None else None
        if isinstance(action, RecordStep):
            return await store.record(action) if store is not None else None
        await asyncio.sleep(action.seconds)
        return None

    return carry_out
