"""All feeds of this process, so that each can be told of a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from moonkey_core.redis.feed import RedisRevocations

feeds: WeakSet[RedisRevocations] = WeakSet()
