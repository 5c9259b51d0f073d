"""Which server to talk to: behind Sentinels the primary of a service, in a cluster the node that has the keys."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from typing import Any, NamedTuple

from moonkey_core.redis.client import (
    async_client,
    async_options,
    blocking_options,
    disconnect,
    redis_module,
    time_limit,
)
from moonkey_core.redis.tls_probe import tls_mismatch
from moonkey_core.settings import Secret
from moonkey_core.settings.redis_address import RedisAddress, redis_address

Server = tuple[str, int]
"""Host and port."""


class Primary(NamedTuple):
    """What a Sentinel says of the primary.

    Attributes:
        server: Its host and port.
        age: Seconds for which the Sentinel has known it as the primary.
    """

    server: Server
    age: float


_RANDOM = random.SystemRandom()  # workers that were forked share the state of any other
_MOST_NODES = 3  # of those in redis_url that are tried at a time
_CONNECTION_OPTIONS = ("host", "port", "db", "path", "connection_class")  # of the parsed URL, but of no cluster


class ServerChanged(Exception):
    """Another server than the one of this connection is the primary now."""


class FeedServer:
    """The server that has the keys of a feed.

    Args:
        url: The ``redis_url`` of the settings.
        key: A key of the feed: in a cluster it says which node that is.
        timeout: Seconds that a call may take.

    Attributes:
        age: Seconds for which the server had been the primary when it was found, as far as that is known. One that
            has just become it may lack entries, and have all that tells of an older stream.
    """

    def __init__(self, url: Secret, key: str, timeout: float) -> None:
        self.address: RedisAddress = redis_address(url.reveal())
        self._key = key
        self._timeout = timeout
        self.current: Server | None = None
        self.age: float = math.inf

    async def connect(self, timeout: float, max_connections: int, purpose: str) -> Any:
        """Find the server, and make a client of it, which connects when it is used.

        Args:
            timeout: Seconds after which each wait ends.
            max_connections: The size of the connection pool.
            purpose: A word for the name that the connections have at the server.
        """
        self.current = await self._find()
        return async_client(self.address, timeout, max_connections, purpose, self.current)

    async def connect_once(self) -> Any:
        """Make a client for a moment, with one connection to the server that was found last."""
        if self.current is None and self.address.is_followed:
            self.current = await self._find()
        return async_client(self.address, self._timeout, 1, "rights", self.current)

    async def follow(self, seconds: float) -> None:
        """Ask the Sentinels again and again whether the primary is another one, until the task is cancelled.

        A primary that was cut off from its Sentinels goes on answering. Its clients would not notice otherwise.

        Raises:
            ServerChanged: It is.
        """
        while self.address.kind == "sentinel":
            await asyncio.sleep(seconds)
            with contextlib.suppress(Exception):
                found = await self._find()
                if found != self.current:
                    break
        else:
            return
        raise ServerChanged

    async def tls_mismatch(self, timeout: float) -> str:
        """Return what to do where one side of the connection speaks TLS and the other does not; ``""`` if unknown.

        Args:
            timeout: Seconds that finding out may take.
        """
        host, port = self.current or (self.address.nodes or (_place_of(self.address),))[0]
        return await tls_mismatch(host, port, timeout, is_tls=self.address.is_tls)

    async def _find(self) -> Server | None:
        if self.address.kind == "sentinel":
            server, self.age = await find_primary(self.address, self._timeout)
            return server
        return await _find_node(self.address, self._key, self._timeout) if self.address.is_followed else None


async def find_primary(address: RedisAddress, timeout: float) -> Primary:
    """Return the primary that the first Sentinel that answers knows; the others are asked at other times.

    Args:
        address: Of Sentinels.
        timeout: Seconds for all that are asked.
    """
    chosen, ages = _some(address), list[float]()
    options = _sentinel_options(address, async_options(address, timeout / len(chosen), "sentinel"))
    kind = _noting_age(redis_module("redis.asyncio.sentinel").Sentinel, ages)
    sentinel = kind(chosen, sentinel_kwargs=options)
    try:
        async with time_limit(timeout):
            host, port = await sentinel.discover_master(address.service)
        return Primary((host, int(port)), ages[-1])
    finally:
        with contextlib.suppress(Exception):
            async with contextlib.AsyncExitStack() as stack:  # each of them, also where the task is cancelled
                for one in sentinel.sentinels:
                    stack.push_async_callback(disconnect, one)


def _noting_age(kind: Any, ages: list[float]) -> Any:
    """Return a class of Sentinel clients that notes for how long a Sentinel has known the primary."""

    class Noting(kind):  # type: ignore[misc]
        def check_master_state(self, state: Any, service_name: str) -> bool:
            ages.append(float(state.get("role-reported-time", math.inf)) / 1000)
            return bool(super().check_master_state(state, service_name))

    return Noting


def find_primary_blocking(address: RedisAddress, timeout: float) -> Server:
    """Return the same for threads; each Sentinel gets its share of the time."""
    chosen = _some(address)
    sentinel = redis_module("redis.sentinel").Sentinel(
        chosen,
        sentinel_kwargs=_sentinel_options(address, blocking_options(address, timeout / len(chosen), "sentinel")),
    )
    try:
        host, port = sentinel.discover_master(address.service)
        return host, int(port)
    finally:
        for one in sentinel.sentinels:
            one.connection_pool.disconnect()


def cluster_client(address: RedisAddress, timeout: float, max_connections: int, purpose: str) -> Any:
    """Make a client of a cluster for threads. Connects at once.

    Args:
        address: Of a cluster.
        timeout: Seconds after which each wait ends.
        max_connections: How many connections to each node there may be.
        purpose: A word for the name that the connections have at the server.
    """
    module = redis_module("redis.cluster")
    options = _cluster_options(address, blocking_options(address, timeout, purpose))
    nodes = [module.ClusterNode(*one) for one in _some(address)]
    return module.RedisCluster(startup_nodes=nodes, max_connections=max_connections, **options)


def async_cluster_client(address: RedisAddress, timeout: float, max_connections: int, purpose: str) -> Any:
    """Make the same for tasks. Connects at first use."""
    module = redis_module("redis.asyncio.cluster")
    options = _cluster_options(address, async_options(address, timeout, purpose))
    on_connect = options.pop("redis_connect_func")
    nodes = [module.ClusterNode(*one) for one in _some(address)]
    client = module.RedisCluster(startup_nodes=nodes, max_connections=max_connections, **options)
    # The constructor does not take it. A node has a copy of the options.
    for kwargs in (
        client.get_connection_kwargs(),
        *(one.connection_kwargs for one in client.nodes_manager.startup_nodes.values()),
    ):
        kwargs["redis_connect_func"] = on_connect
    return client


async def _find_node(address: RedisAddress, key: str, timeout: float) -> Server:
    """Return the node of a cluster that has a key."""
    client = async_cluster_client(address, timeout, 1, "cluster")
    try:
        async with time_limit(timeout):
            await client.initialize()
            node = client.get_node_from_key(key)
        return node.host, int(node.port)
    finally:
        with contextlib.suppress(Exception):
            await disconnect(client)


def _place_of(address: RedisAddress) -> tuple[str | None, int]:
    """Return the host and port of a plain URL; no host of a unix socket."""
    options = async_options(address, 1.0, "")
    if "path" in options:
        return None, 0
    return options.get("host", "localhost"), int(options.get("port", 6379))


def _some(address: RedisAddress) -> list[Server]:
    """Return some of the hosts in a random order: one that is away is not tried first each time."""
    return _RANDOM.sample(address.nodes, min(len(address.nodes), _MOST_NODES))


def _sentinel_options(address: RedisAddress, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a connection to a Sentinel, which has users of its own."""
    password = address.sentinel_password
    return {
        **_without_place(address, options),
        "username": address.sentinel_user,
        "password": None if password is None else password.reveal(),
    }


def _cluster_options(address: RedisAddress, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a client of a cluster."""
    retry = redis_module("redis.retry").Retry(redis_module("redis.backoff").NoBackoff(), 1)
    return {**_without_place(address, options), "retry": retry}


def _without_place(address: RedisAddress, options: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in _CONNECTION_OPTIONS}
    kept.pop("retry_on_timeout", None)
    return {**kept, "ssl": True} if address.is_tls else kept
