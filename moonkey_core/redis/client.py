"""Clients of redis-py, made from ``redis_url``. No other module imports redis-py."""

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

logger: logging.Logger = logging.getLogger("moonkey")

_POOL_OPTIONS = ("max_connections", "timeout")
_FIXED_OPTIONS = ("decode_responses", "protocol", "retry_on_timeout", "socket_connect_timeout", "socket_timeout")
"""Options that the query of a URL may name, but that are decided here."""


def blocking_client(url: Secret, timeout: float, max_connections: int) -> Any:
    """Make a ``redis.Redis`` for threads.

    Args:
        url: The ``redis_url`` of the settings.
        timeout: Seconds after which each wait for a connection, a handshake or a reply ends.
        max_connections: The size of the connection pool.

    Raises:
        ConfigurationError: redis-py is missing or does not understand the URL.
    """
    return _make_client(url, "redis", timeout, max_connections)


def async_client(url: Secret, timeout: float, max_connections: int) -> Any:
    """Make a ``redis.asyncio.Redis`` for the tasks of one event loop; otherwise like :func:`blocking_client`."""
    return _make_client(url, "redis.asyncio", timeout, max_connections)


def check_url(url: Secret) -> None:
    """Raise :class:`ConfigurationError` where redis-py is missing or does not understand the URL.

    Makes no network call.
    """
    client = blocking_client(url, 1.0, 1)
    try:
        client.connection_pool.make_connection()  # does not connect yet
    except (TypeError, ValueError):
        client = None
    if client is None:
        raise _url_error(url)
    unused = [name for name in _query_names(url) if name in (*_FIXED_OPTIONS, *_POOL_OPTIONS)]
    if unused:
        logger.warning(
            "redis_url has a query of which this has no effect: %s",
            ", ".join(unused),
            extra={"reason": "redis_option_unused"},
        )


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raise ``TimeoutError`` when the calls of redis-py in this block take longer than so many seconds.

    redis-py swallows a cancellation that comes at the wrong moment; it is raised again here.
    """
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            yield
    finally:
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError


def response_error() -> type[Exception]:
    """Return the exception of redis-py for an error reply of the server."""
    error: type[Exception] = _redis_module("redis.exceptions").ResponseError
    return error


def read_only_error() -> type[Exception]:
    """Return the exception of redis-py for a write to a server that is a read-only replica."""
    error: type[Exception] = _redis_module("redis.exceptions").ReadOnlyError
    return error


def _make_client(url: Secret, package: str, timeout: float, max_connections: int) -> Any:
    module = _redis_module(package)
    options = _connection_options(url, package, timeout)
    pool = module.BlockingConnectionPool(max_connections=max_connections, timeout=timeout, **options)
    return module.Redis(connection_pool=pool)


def _connection_options(url: Secret, package: str, timeout: float) -> dict[str, Any]:
    """Return the keyword arguments of a connection: those in the URL, then those that it cannot change."""
    retry = _redis_module(f"{package}.retry").Retry
    try:
        parsed = dict(_redis_module(f"{package}.connection").parse_url(url.reveal()))
    except ValueError:
        parsed = None
    if parsed is None:  # not inside the handler: the hidden context would hold the URL, and with it the password
        raise _url_error(url)
    for name in _POOL_OPTIONS:
        parsed.pop(name, None)
    return {
        **parsed,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "decode_responses": False,
        "protocol": 2,  # one shape of replies, whichever version of redis-py
        "retry": retry(_redis_module("redis.backoff").NoBackoff(), 0),
        "retry_on_timeout": False,
    }


def _query_names(url: Secret) -> list[str]:
    """Return the names in the query of a URL, as far as they are plain words and so no secrets."""
    names = parse_qs(urlsplit(url.reveal()).query, keep_blank_values=True)
    return sorted(name for name in names if re.fullmatch("[a-z_]{1,40}", name))


def _url_error(url: Secret) -> ConfigurationError:
    names = _query_names(url)
    hint = f"; look at {', '.join(names)} in its query" if names else ""
    return ConfigurationError(
        f"MOONKEY_REDIS_URL (redis_url) is not understood by redis-py{hint}. "
        "Use the form redis://[user:password@]host[:port][/database]."
    )


def _redis_module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "redis":
            raise
    raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) needs redis-py: pip install 'moonkey[redis]'.")
