"""One table of revocations, and one feed, for all clients of an app in a process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from moonkey_core import _threads as _native
from moonkey_core.redis._register import feeds
from moonkey_core.revocations import Revocations, retention
from moonkey_core.settings import Settings

if TYPE_CHECKING:
    from moonkey_core.redis._feed import RedisRevocations

_Key = tuple[object, ...]

_lock = threading.Lock()
_tables: WeakValueDictionary[_Key, Revocations] = WeakValueDictionary()
_feeds: WeakValueDictionary[_Key, RedisRevocations] = WeakValueDictionary()


def shared_revocations(settings: Settings) -> tuple[Revocations, RedisRevocations | None]:
    """The table of the app that these settings speak of and, with ``redis_url``, its feed. Weakly held.

    Whoever uses the feed calls ``acquire`` on it, and ``release`` in the end. Raises
    :class:`~moonkey_core.errors.ConfigurationError` where redis-py is missing, or the URL is wrong.
    """
    kept = retention(settings)
    app = (settings.base_url, settings.secret_key)
    key = (*app, settings.redis_url, settings.cache_secret, settings.max_revocation_lag)
    fresh = Revocations(retention=kept, maxsize=settings.max_revocations, leeway=settings.leeway)
    with _lock:
        table = _tables.setdefault(app, fresh)
        feed = _feeds.get(key)
    table.keep_at_least(kept, settings.leeway)
    if settings.redis_url is None or feed is not None:
        return table, feed
    from moonkey_core.redis._feed import RedisRevocations

    made = RedisRevocations(settings, table)
    with _lock:
        return table, _feeds.setdefault(key, made)


def after_fork() -> None:
    """In the child: new locks, and feeds of its own."""
    global _lock
    _lock = threading.Lock()
    _native.forget_threads()
    for table in list(_tables.values()):
        table.reset_lock()
    for feed in list(feeds):
        feed.reset()
