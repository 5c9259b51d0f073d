"""One table of revocations, and one feed, for all clients of an app in a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from moonkey_core._crypto import fleet_secrets
from moonkey_core._fork import reset_after_fork
from moonkey_core._provider import Provider
from moonkey_core.lag import lost_feed_bound
from moonkey_core.revocations import DEFAULT_SCOPE, Revocations, new_table
from moonkey_core.settings import Settings

if TYPE_CHECKING:
    from moonkey_core.redis.feed import RedisRevocations

_Key = tuple[object, ...]

_lock = threading.Lock()
_tables: WeakValueDictionary[_Key, Revocations] = WeakValueDictionary()
_feeds: WeakValueDictionary[_Key, RedisRevocations] = WeakValueDictionary()


def shared_revocations(
    settings: Settings, provider: Provider | None = None
) -> tuple[Revocations, RedisRevocations | None]:
    """Return the table of revocations of the app with these settings and, with ``redis_url``, its feed.

    Each provider has its own; ``None`` stands for MoonKey. Both are held weakly. A caller that uses the feed calls
    ``acquire`` on it, and ``release`` in the end.

    Raises:
        ConfigurationError: redis-py is missing, or ``redis_url`` is wrong.
    """
    app = (settings.base_url, settings.secret_key, *_identity(provider))
    server = (settings.redis_url, settings.redis_replicas, settings.feed_directory)
    key = (*app, *server, fleet_secrets(settings), settings.max_revocation_lag)
    new = new_table(settings, provider)
    with _lock:
        table = _tables.setdefault(app, new)
        feed = _feeds.get(key)
    table.raise_retention(new.retention, settings.leeway)
    if settings.redis_url is None:
        return table, None
    if feed is not None:
        feed.raise_lost_bound(lost_feed_bound(settings))
        return table, feed
    from moonkey_core.redis.feed import RedisRevocations  # takes long to import, and is needed with redis_url only

    made = RedisRevocations(settings, table)
    with _lock:
        return table, _feeds.setdefault(key, made)


def _identity(provider: Provider | None) -> _Key:
    """Return what tells the sessions of one provider from those of another; nothing for MoonKey."""
    if provider is None or provider.name == DEFAULT_SCOPE:
        return ()
    return (provider.name, provider.jwt_rules, *provider.scopes.items())


@contextmanager
def shared_among(tables: WeakValueDictionary[_Key, Revocations]) -> Iterator[None]:
    """Have the clients that are made meanwhile share their revocations with those of these tables only.

    For tests: what one has revoked is not revoked in the next one.

    Args:
        tables: The tables; an empty mapping at first.
    """
    global _tables
    with _lock:
        kept, _tables = _tables, tables
    try:
        yield
    finally:
        with _lock:
            _tables = kept


def _reset_lock() -> None:
    global _lock
    _lock = threading.Lock()


reset_after_fork(_reset_lock)
