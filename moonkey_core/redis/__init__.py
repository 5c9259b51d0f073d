"""A fleet's common memory: Redis 6 or newer, or Valkey. Needs the extra ``redis``, which is imported at first use.

:class:`RedisRevocations` tells every process who may no longer pass; :class:`RedisStore` shares verified answers
and the key set. What lies in Redis is sealed and named by keyed digests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moonkey_core.redis.shared import shared_revocations

if TYPE_CHECKING:
    from moonkey_core.redis.feed import RedisRevocations
    from moonkey_core.redis.store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisRevocations", "RedisStore", "shared_revocations"]

_HOMES = {"AsyncRedisStore": "store", "RedisRevocations": "feed", "RedisStore": "store"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
