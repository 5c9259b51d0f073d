"""Clients of redis-py, made from ``redis_url``. No other module imports redis-py by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

from moonkey_core.errors import ConfigurationError
from moonkey_core.privates import private
from moonkey_core.settings import Secret
from moonkey_core.settings.redis_address import RedisAddress, redis_address

logger: logging.Logger = logging.getLogger("moonkey")

_POOL_OPTIONS = ("max_connections", "timeout")
_FIXED_OPTIONS = (
    "client_name", "decode_responses", "protocol", "retry_on_timeout", "socket_connect_timeout", "socket_timeout",
)  # fmt: skip
"""Options that the query of a URL may name, but that are decided here."""

_NO_NAME = re.compile(r"[^A-Za-z0-9.-]")
_LONGEST_HOST = 40  # characters of it in the name of a connection


def blocking_client(
    url: Secret | RedisAddress,
    timeout: float,
    max_connections: int,
    purpose: str = "client",
    server: tuple[str, int] | None = None,
) -> Any:
    """Make a ``redis.Redis`` for threads.

    Args:
        url: The ``redis_url`` of the settings.
        timeout: Seconds after which each wait for a connection, a handshake or a reply ends.
        max_connections: The size of the connection pool.
        purpose: A word for the name that the connections have at the server.
        server: The host and port, where the URL does not name the server itself.

    Raises:
        ConfigurationError: redis-py is missing or does not understand the URL.
    """
    return _make_client("redis", blocking_options(_address(url), timeout, purpose), max_connections, server)


def async_client(
    url: Secret | RedisAddress,
    timeout: float,
    max_connections: int,
    purpose: str = "client",
    server: tuple[str, int] | None = None,
) -> Any:
    """Make a ``redis.asyncio.Redis`` for the tasks of one event loop; otherwise like :func:`blocking_client`."""
    return _make_client("redis.asyncio", async_options(_address(url), timeout, purpose), max_connections, server)


def blocking_options(address: RedisAddress, timeout: float, purpose: str) -> dict[str, Any]:
    """Return the keyword arguments of a connection for threads; the arguments are those of its client."""
    options = _connection_options(address.url, "redis", timeout)
    return {**options, "redis_connect_func": partial(_name_connection, purpose)}


def async_options(address: RedisAddress, timeout: float, purpose: str) -> dict[str, Any]:
    """Return the keyword arguments of a connection for tasks; the arguments are those of its client."""
    options = _connection_options(address.url, "redis.asyncio", timeout)
    return {**options, "redis_connect_func": partial(_aname_connection, purpose)}


def check_url(url: Secret) -> None:
    """Raise :class:`ConfigurationError` where redis-py is missing or does not understand the URL.

    Makes no network call.
    """
    address = _address(url)
    client = blocking_client(address, 1.0, 1)
    try:
        client.connection_pool.make_connection()  # does not connect yet
    except (TypeError, ValueError):
        client = None
    if client is None:
        raise _url_error(address.url)
    unused = [name for name in _query_names(address.url) if name in (*_FIXED_OPTIONS, *_POOL_OPTIONS)]
    if unused:
        logger.warning(
            "redis_url has a query of which this has no effect: %s",
            ", ".join(unused),
            extra={"reason": "redis_option_unused"},
        )


def _address(url: Secret | RedisAddress) -> RedisAddress:
    return url if isinstance(url, RedisAddress) else redis_address(url.reveal())


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


async def disconnect(client: Any, *, including_used: bool = True) -> None:
    """Close the connections of a client of tasks, of whichever kind, also where the task is cancelled meanwhile.

    redis-py closes each of them in a task of its own. Such a task that is cancelled before it has begun leaves its
    connection open, and where the event loop ends then, nothing closes it any more.

    Args:
        client: The client. It may be used again.
        including_used: Whether connections are closed as well that wait for a reply.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:  # of a cluster
        nodes = (*client.get_nodes(), *client.nodes_manager.startup_nodes.values())
        connections = [one for node in nodes for one in private(node, "_connections")]
        closing = client.aclose()
    else:
        used = private(pool, "_in_use_connections") if including_used else ()
        connections = [*private(pool, "_available_connections"), *used]
        closing = pool.disconnect(inuse_connections=including_used)
    is_done = False
    try:
        await closing
        is_done = pool is not None  # that of a cluster does nothing where its first use has failed
    finally:
        for connection in () if is_done else connections:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)  # which cannot be cancelled, as it does not wait


def response_error() -> type[Exception]:
    """Return the exception of redis-py for an error reply of the server."""
    error: type[Exception] = redis_module("redis.exceptions").ResponseError
    return error


def connection_name(purpose: str) -> str:
    """Return the name that a connection of this process has at the server, as ``CLIENT LIST`` shows it."""
    host = _NO_NAME.sub("-", socket.gethostname())[:_LONGEST_HOST]
    return f"moonkey-{purpose}:{os.getpid()}@{host}"


def _name_connection(purpose: str, connection: Any) -> None:
    """Log in, and name the connection where that is allowed. redis-py itself would give up without that right."""
    connection.on_connect()
    with contextlib.suppress(response_error()):
        connection.send_command("CLIENT", "SETNAME", connection_name(purpose))
        connection.read_response()


async def _aname_connection(purpose: str, connection: Any) -> None:
    await connection.on_connect()
    with contextlib.suppress(response_error()):
        await connection.send_command("CLIENT", "SETNAME", connection_name(purpose))
        await connection.read_response()


def _make_client(
    package: str, options: dict[str, Any], max_connections: int, server: tuple[str, int] | None
) -> Any:
    module = redis_module(package)
    if server is not None:
        options["host"], options["port"] = server
    timeout = options["socket_timeout"]
    pool = module.BlockingConnectionPool(max_connections=max_connections, timeout=timeout, **options)
    return module.Redis(connection_pool=pool)


def _connection_options(url: Secret, package: str, timeout: float) -> dict[str, Any]:
    """Return the keyword arguments of a connection: those in the URL, then those that it cannot change."""
    retry = redis_module(f"{package}.retry").Retry
    try:
        parsed = dict(redis_module(f"{package}.connection").parse_url(url.reveal()))
    except ValueError:
        parsed = None
    if parsed is None:  # not inside the handler: the hidden context would hold the URL, and with it the password
        raise _url_error(url)
    for name in (*_POOL_OPTIONS, "client_name"):
        parsed.pop(name, None)
    return {
        **parsed,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "decode_responses": False,
        "protocol": 2,  # one shape of replies, whichever version of redis-py
        "retry": retry(redis_module("redis.backoff").NoBackoff(), 0),
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


def redis_module(name: str) -> Any:
    """Import a module of redis-py.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "redis":
            raise
    raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) needs redis-py: pip install 'moonkey[redis]'.")
