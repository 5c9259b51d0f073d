"""From ``redis_url`` to connections of redis-py. Nothing else imports it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Secret

logger = logging.getLogger("moonkey")

_POOLED = ("max_connections", "timeout")
_FIXED = ("decode_responses", "protocol", "retry_on_timeout", "socket_connect_timeout", "socket_timeout")
"""What the query of a URL may name, and does not decide."""


def blocking_client(url: Secret, seconds: float, connections: int) -> Any:
    """A ``redis.Redis`` for threads; each wait for a connection, a handshake or a reply ends after ``seconds``."""
    options = _options(url, "redis", seconds)
    pool = _module("redis").BlockingConnectionPool(max_connections=connections, timeout=seconds, **options)
    return _module("redis").Redis(connection_pool=pool)


def async_client(url: Secret, seconds: float, connections: int) -> Any:
    """The same for the tasks of one event loop, a ``redis.asyncio.Redis``."""
    options = _options(url, "redis.asyncio", seconds)
    module = _module("redis.asyncio")
    pool = module.BlockingConnectionPool(max_connections=connections, timeout=seconds, **options)
    return module.Redis(connection_pool=pool)


def check(url: Secret) -> None:
    """Raise :class:`ConfigurationError` where redis-py is missing or does not understand the URL."""
    client = blocking_client(url, 1.0, 1)
    try:
        client.connection_pool.make_connection()  # it does not connect yet
    except (TypeError, ValueError):
        client = None
    if client is None:
        raise _not_understood(url)
    unused = [name for name in _query_of(url) if name in (*_FIXED, *_POOLED)]
    if unused:
        logger.warning(
            "redis_url has a query of which this has no effect: %s",
            ", ".join(unused),
            extra={"reason": "redis_option_unused"},
        )


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Talk to Redis for so many seconds at most; ``TimeoutError`` after that.

    redis-py swallows a cancellation that comes at the wrong moment; it is raised here again.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            yield
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def response_error() -> type[Exception]:
    """What redis-py raises where the server says no."""
    error: type[Exception] = _module("redis.exceptions").ResponseError
    return error


def read_only_error() -> type[Exception]:
    """What it raises where the server is a mere copy of another."""
    error: type[Exception] = _module("redis.exceptions").ReadOnlyError
    return error


def _options(url: Secret, kind: str, seconds: float) -> dict[str, Any]:
    """Keyword arguments for a pool: what the URL says, and what it may not change."""
    retry = _module(f"{kind}.retry").Retry
    try:
        parsed = dict(_module(f"{kind}.connection").parse_url(url.reveal()))
    except ValueError:
        parsed = None
    if parsed is None:  # not inside the handler: the hidden context would hold the URL, and with it the password
        raise _not_understood(url)
    for name in _POOLED:
        parsed.pop(name, None)
    return {
        **parsed,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "decode_responses": False,
        "protocol": 2,  # one shape of replies, whichever version of redis-py
        "retry": retry(_module("redis.backoff").NoBackoff(), 0),
        "retry_on_timeout": False,
    }


def _query_of(url: Secret) -> list[str]:
    """The names in the query of a URL, as far as they are plain words."""
    names = parse_qs(urlsplit(url.reveal()).query, keep_blank_values=True)
    return sorted(name for name in names if re.fullmatch("[a-z_]{1,40}", name))


def _not_understood(url: Secret) -> ConfigurationError:
    names = _query_of(url)
    where = f"; look at {', '.join(names)} in its query" if names else ""
    return ConfigurationError(
        f"MOONKEY_REDIS_URL (redis_url) is not understood by redis-py{where}. "
        "Use the form redis://[user:password@]host[:port][/database]."
    )


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "redis":
            raise
    raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) needs redis-py: pip install 'moonkey[redis]'.")
