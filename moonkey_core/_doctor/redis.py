"""Checks of Redis: version, role, eviction, latency, its clock, and how far this process is behind the feed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from moonkey_core import _clock
from moonkey_core._doctor.lines import Line, ok, unseen, wrong
from moonkey_core.client import MoonKey
from moonkey_core.redis.machine import check_directory
from moonkey_core.redis.rights import Rights
from moonkey_core.redis.store_client import BlockingStoreClient
from moonkey_core.redis.topology import FeedServer
from moonkey_core.redis.trouble import explain, may_be_tls
from moonkey_core.settings import Secret, Settings

_TIMEOUT = 2.0  # seconds of one command
_PINGS = 7
_OLDEST, _WANTED = (6, 0), (6, 2)
_POLL = 0.02
_ADDRESS = "Check MOONKEY_REDIS_URL: host, port, scheme (rediss:// for TLS), and that this machine may connect."
_KEY = "moonkey:{doctor}"  # nothing is ever stored under it


def check_redis(client: MoonKey) -> list[Line]:
    """Check the Redis of the settings, and the feed of this process."""
    settings = client.settings
    if settings.redis_url is None:
        return [ok("redis", "None is set: each process knows of its own revocations only.", _several(client))]
    server = BlockingStoreClient(settings.redis_url, _TIMEOUT, 1)
    try:
        try:
            server.execute("TIME")
        except Exception as error:  # of redis-py, of the socket, of TLS
            return [_unreachable(settings.redis_url, error)]
        info = _info(server)
        return [
            *_version(info),
            *_eviction(info),
            *_role(settings, info),
            *_latency(server, settings),
            *_time(server, settings),
            *_rights(settings.redis_url, settings),
            *_feed(client),
        ]
    finally:
        server.close()


def _several(client: MoonKey) -> str:
    lag = client.revocation_lag()
    seconds = max(lag.session_token.fleet, lag.session_jwt.fleet)
    return f"With several processes: a session that one has ended may count in another for {seconds:.0f} s."


def _unreachable(url: Secret, error: Exception) -> Line:
    server = FeedServer(url, _KEY, _TIMEOUT)
    cause = ""
    if may_be_tls(error):
        cause = asyncio.run(server.tls_mismatch(_TIMEOUT))
    cause = cause or explain(error, is_followed=server.address.is_followed)
    return (
        _of_sentence(cause)
        if cause
        else wrong("redis", f"Redis cannot be used: {type(error).__name__}.", _ADDRESS)
    )


def _of_sentence(sentence: str) -> Line:
    """Return the line for a sentence that says what is wrong, and after a colon what to do."""
    what, colon, mend = sentence.partition(": ")
    return wrong(
        "redis", f"{what[:1].upper()}{what[1:]}.", f"{mend[:1].upper()}{mend[1:]}." if colon else _ADDRESS
    )


def _info(server: BlockingStoreClient) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = server.execute("INFO")
    except Exception:
        return {}  # the ACL of the package needs no INFO
    return found


def _version(info: Mapping[str, Any]) -> list[Line]:
    stated = str(info.get("valkey_version") or info.get("redis_version") or "")
    found = re.match(r"(\d+)\.(\d+)", stated)
    if found is None:
        return [
            unseen("redis", "Its version: the user may not run INFO.", "Redis 6.2 or newer, or Valkey, is needed.")
        ]
    version, name = (int(found[1]), int(found[2])), str(info.get("server_name", "Redis"))[:20]
    if version < _OLDEST:
        return [wrong("redis", f"It is {name} {stated}.", "Redis 6.2 or newer, or Valkey, is needed.")]
    if version < _WANTED:
        return [ok("redis", f"{name} {stated} works, but drops expired entries by number only.", "Prefer 6.2.")]
    return [ok("redis", f"It is {name} {stated}.")]


def _eviction(info: Mapping[str, Any]) -> list[Line]:
    policy = info.get("maxmemory_policy")
    if policy is None:
        return [
            unseen(
                "redis", "Whether it evicts keys: the user may not run INFO.", "Set maxmemory-policy noeviction."
            )
        ]
    limit = int(info.get("maxmemory", 0) or 0)
    if policy != "noeviction" and not (limit == 0 and str(policy).startswith("volatile")):
        return [
            wrong(
                "redis",
                f"It evicts keys (maxmemory-policy {policy}): where the feed is evicted, all "
                "processes call the API.",
                "Set maxmemory-policy noeviction, or give MoonKey a Redis of its own.",
            )
        ]
    return [ok("redis", f"It evicts nothing (maxmemory-policy {policy}, maxmemory {limit}).")]


def _role(settings: Settings, info: Mapping[str, Any]) -> list[Line]:
    if info.get("role") == "slave":
        return [
            wrong(
                "redis",
                "It is a read-only replica: no revocation can be published.",
                "Name the primary in MOONKEY_REDIS_URL, or an address that leads to it.",
            )
        ]
    replicas = int(info.get("connected_slaves", 0) or 0)
    if info and replicas < settings.redis_replicas:
        return [
            wrong(
                "redis",
                f"redis_replicas is {settings.redis_replicas}, and it has {replicas}: no revocation "
                "counts as published.",
                "Connect the replicas, or lower MOONKEY_REDIS_REPLICAS.",
            )
        ]
    return []


def _latency(server: BlockingStoreClient, settings: Settings) -> list[Line]:
    took = sorted(_seconds(partial(server.execute, "TIME")) for _ in range(_PINGS))
    usual = median(took)
    said = f"A command takes {usual * 1000:.1f} ms ({took[0] * 1000:.1f} to {took[-1] * 1000:.1f})"
    if usual > settings.max_revocation_lag / 2:
        return [
            wrong(
                "redis",
                f"{said}: too slow for max_revocation_lag ({settings.max_revocation_lag:g} s). "
                "Processes call the API.",
                "Use a Redis that is nearer, or raise MOONKEY_MAX_REVOCATION_LAG.",
            )
        ]
    if 0 < settings.publish_timeout < 2 * usual:
        more = (
            f": publish_timeout ({settings.publish_timeout:g} s) is too short, so sign-outs are mostly 'pending'."
        )
        return [wrong("redis", said + more, "Raise MOONKEY_PUBLISH_TIMEOUT to several times that.")]
    return [ok("redis", f"{said}."), *_folder(settings)]


def _folder(settings: Settings) -> list[Line]:
    """Check the folder in which the processes of this machine share one reader."""
    if settings.feed_directory is None:
        return []
    try:
        check_directory(Path(settings.feed_directory))
    except OSError as error:
        return [
            wrong(
                "redis",
                f"feed_directory cannot be used: {error.strerror or type(error).__name__}. Each process reads the "
                "feed by itself.",
                "Make the folder for the user that runs the app, with mode 700, and run the doctor as that user.",
            )
        ]
    return [ok("redis", "feed_directory: the processes of this machine share one reader of the feed.")]


def _seconds(call: Callable[[], object]) -> float:
    began = _clock.elapsed()
    call()
    return _clock.elapsed() - began


def _time(server: BlockingStoreClient, settings: Settings) -> list[Line]:
    clock = _clock.RemoteClock(settings.leeway)
    try:
        sent_at = _clock.wall()
        seconds, micros = server.execute("TIME")
        read = float(seconds) + float(micros) / 1e6
        clock.observe(read, read, sent_at, _clock.wall())
    except Exception:
        return [unseen("redis", "Its clock: the user may not run TIME.", "Allow +time (docs/operations.md).")]
    if clock.is_wrong:
        return [
            wrong(
                "redis",
                f"The clock of this machine is {clock.describe_difference()} that of Redis.",
                "Synchronize both by NTP: revocations are dated by the clock of Redis.",
            )
        ]
    return [ok("redis", f"The clock of this machine is that of Redis, within {settings.leeway:g} s.")]


def _rights(url: Secret, settings: Settings) -> list[Line]:
    """Check that the user may run each command that the package sends, on its keys."""
    rights = Rights(_KEY, _TIMEOUT, settings.redis_replicas)
    if not asyncio.run(rights.check(FeedServer(url, _KEY, _TIMEOUT).connect_once)):
        return [unseen("redis", "Which commands the user may run: trying them has failed.", "Run this again.")]
    if rights.sentence:
        return [_of_sentence(f"{rights.sentence}. The whole list is in docs/operations.md")]
    return [ok("redis", "The user may run each command that this package sends.")]


def _feed(client: MoonKey) -> list[Line]:
    """Start the feed, and wait until it is live, for as long as a process that starts waits."""
    cores = [one._core for one in client.providers.values()] or [client._core]
    for core in cores:
        if core.feed is not None:
            core.feed.start()
    until = _clock.elapsed() + 2 * client.settings.max_revocation_lag + _TIMEOUT
    while (health := client.health()).feed != "live" and _clock.elapsed() < until:
        time.sleep(_POLL)
    if health.feed != "live":
        return [
            wrong(
                "feed",
                "This process cannot follow the feed of revocations: "
                f"{health.redis_trouble or 'the cause is not known'}.",
                "See docs/operations.md, and the log for feed_lost.",
            )
        ]
    lag = health.feed_lag or 0.0
    return [
        ok(
            "feed",
            f"This process follows it, {lag:.2f} s behind (max_revocation_lag "
            f"{client.settings.max_revocation_lag:g}).",
        )
    ]
