"""The data that the processes of a fleet share in Redis 6 or newer, or Valkey. Needs the extra ``redis``.

:class:`RedisRevocations` brings to each process which sessions and users are revoked. :class:`RedisStore` and
:class:`AsyncRedisStore` share replies about verified credentials, and the key set. What is stored in Redis is
sealed, and its keys are keyed digests. redis-py is imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moonkey_core.redis.shared import shared_revocations as shared_revocations

if TYPE_CHECKING:
    from moonkey_core.redis.feed import RedisRevocations
    from moonkey_core.redis.store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisRevocations", "RedisStore"]

_MODULES = {"AsyncRedisStore": "store", "RedisRevocations": "feed", "RedisStore": "store"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
