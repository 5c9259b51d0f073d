"""A fleet's common memory: Redis 6 or newer, or Valkey. Needs the extra ``redis``, which is imported at first use.

:class:`RedisRevocations` tells every process who may no longer pass; :class:`RedisStore` shares verified answers
and the key set. What lies in Redis is sealed and named by keyed digests.
"""

from __future__ import annotations

from moonkey_core.redis._feed import RedisRevocations
from moonkey_core.redis._shared import after_fork, shared_revocations
from moonkey_core.redis._store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisRevocations", "RedisStore", "after_fork", "shared_revocations"]
