"""Several redis-servers that belong together: a primary and a replica behind Sentinels, and a cluster."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from redis.exceptions import ResponseError

from support.ports import quiet_port
from support.redis_server import RedisServer
from support.scripted import wait_until

SERVICE = "mymaster"
SLOTS = 16384
_BUS_OFFSET = 10_000  # from the port of a node to that at which the other nodes reach it
_DOWN_MS = 2000


class SentinelServer(RedisServer):
    """A Sentinel that watches a primary."""

    def __init__(self, primary_port: int, quorum: int) -> None:
        super().__init__(quiet_port())
        self._configuration = Path(self._directory.name, "sentinel.conf")
        self._configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._directory.name}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_MS}\n"
            f"sentinel failover-timeout {SERVICE} 10000\n"
        )

    def arguments(self) -> list[str]:
        """Return the arguments that it is started with."""
        return [str(self._configuration), "--sentinel"]

    def primary_port(self) -> int:
        """Return the port of the server that it takes for the primary."""
        _, port = self.client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    def pretend_primary(self, port: int) -> None:
        """Have it take another server for the primary, as after a fail-over that the former one missed."""
        self.client.execute_command("SENTINEL", "REMOVE", SERVICE)
        self.client.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", port, 2)

    def knows(self, replicas: int, sentinels: int) -> bool:
        """Whether it has found so many replicas and other Sentinels."""
        state = self.client.sentinel_master(SERVICE)
        return int(state["num-slaves"]) >= replicas and int(state["num-other-sentinels"]) >= sentinels


class SentinelGroup:
    """A primary, a replica and three Sentinels. ``options``: of the first two."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.servers = [stack.enter_context(_Stopped(quiet_port())) for _ in range(2)]
            first, second = self.servers
            first.start(*self._options)
            second.start(*self._options, "--replicaof", "127.0.0.1", str(first.port))
            self.sentinels = [stack.enter_context(SentinelServer(first.port, 2)) for _ in range(3)]
            assert wait_until(lambda: all(one.knows(replicas=1, sentinels=2) for one in self.sentinels))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The URL with all Sentinels."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> RedisServer:
        """The server that the Sentinels take for the primary."""
        port = self.sentinels[0].primary_port()
        return next(one for one in self.servers if one.port == port)

    def fail_over(self) -> bool:
        """Have the Sentinels replace the primary, and return whether they have begun: they may not be ready."""
        try:
            return bool(self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", SERVICE))
        except ResponseError:
            return False

    def follows(self, former: RedisServer) -> bool:
        """Wait until all Sentinels know another primary, and return whether they do in time."""
        return wait_until(lambda: all(one.primary_port() != former.port for one in self.sentinels))


class Cluster:
    """Three primaries, each with its third of the slots."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.nodes = [stack.enter_context(_Stopped(_port_with_bus())) for _ in range(3)]
            for place, node in enumerate(self.nodes):
                self.start(node)
                slots = range(place * SLOTS // 3, (place + 1) * SLOTS // 3)
                node.client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            for node in self.nodes[1:]:
                node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
            assert wait_until(lambda: all(self.is_whole(node) for node in self.nodes))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, node: RedisServer, *options: str) -> None:
        """Start a node."""
        node.start("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", *self._options, *options)

    def add_replica(self, primary: RedisServer) -> RedisServer:
        """Start a replica of a node, and return it once it has the data."""
        made = self._stack.enter_context(_Stopped(_port_with_bus()))
        self.start(made)
        made.client.execute_command("CLUSTER", "MEET", "127.0.0.1", primary.port)
        primary_id = self.id_of(primary)
        assert wait_until(lambda: primary_id in self.seen_by(made) and self.id_of(made) in self.seen_by(primary))
        made.client.execute_command("CLUSTER", "REPLICATE", primary_id)
        assert wait_until(lambda: made.client.info("replication").get("master_link_status") == "up")
        return made

    def is_whole(self, node: RedisServer) -> bool:
        """Whether a node knows all others, and that every slot is served."""
        state = _text(node.client.execute_command("CLUSTER", "INFO"))
        return "cluster_state:ok" in state and f"cluster_known_nodes:{len(self.nodes)}" in state

    def id_of(self, node: RedisServer) -> str:
        """Return the id that a node has in the cluster."""
        return _text(node.client.execute_command("CLUSTER", "MYID"))

    def seen_by(self, node: RedisServer) -> str:
        """Return what a node says of the others."""
        return _text(node.client.execute_command("CLUSTER", "NODES"))

    @property
    def url(self) -> str:
        """The URL with all nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.nodes)

    def slot_of(self, key: bytes) -> int:
        """Return the slot of a key."""
        return int(self.nodes[-1].client.execute_command("CLUSTER", "KEYSLOT", key))

    def move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move a slot with its keys to another node."""
        source_id, target_id = self.id_of(source), self.id_of(target)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


class _Stopped(RedisServer):
    """A server that is started later."""

    def __enter__(self) -> Self:
        return self


def _port_with_bus() -> int:
    """A free port whose neighbour for the other nodes of a cluster is free as well."""
    for _ in range(100):
        port = quiet_port()
        try:
            with socket.create_server(("127.0.0.1", port + _BUS_OFFSET)):
                return port
        except OSError:
            continue
    raise RuntimeError("no free pair of ports was found")


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)
