"""What is wrong with Redis, in one sentence: the cause, and what to do. No text of the server is repeated."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

_COMMAND = re.compile(r"'([a-z]{2,20}(?:\|[a-z]{2,20})?)' command")
_REFUSALS = ("ACL failure in script", "executing the script can't run this command", "no permissions to run the")
_SENTINEL = (
    "the server at redis_url does not know the commands of Redis, as a Sentinel does not: for Sentinels, write "
    "redis+sentinel://host:26379/service"
)
_NO_CLUSTER = "no node of the cluster at redis_url answers: look at its hosts and ports"
_HANDED_OVER = "the server has handed over to another one, which is looked for: nothing is to be done"


class _Case(NamedTuple):
    """One kind of trouble: the class of redis-py's error, words of its text, and the sentence."""

    error: str
    words: str
    sentence: str


_CASES = (
    _Case(
        "ReadOnlyError",
        "",
        "the server at redis_url is a replica, which only reads: name the primary, or the Sentinels that know"
        " it (redis+sentinel://host:26379/service)",
    ),
    _Case(
        "ClusterDownError",
        "",
        "the cluster does not serve all of its slots: look at CLUSTER INFO. Once it does, nothing is to be done",
    ),
    _Case(
        "AskError",
        "",
        "the server at redis_url is one node of a cluster, and the keys are on another one: write "
        "redis+cluster://host:port",
    ),
    _Case(
        "ResponseError",
        "cluster support disabled",
        "redis_url begins with redis+cluster://, and the server is no cluster: write redis://",
    ),
    _Case(
        "ResponseError",
        "select is not allowed in cluster",
        "the server at redis_url is a node of a cluster, which has database 0 only: write "
        "redis+cluster://host:port, without a database",
    ),
    _Case(
        "ResponseError",
        "db index is out of range",
        "the server has no database of the number in redis_url: correct the number, or raise databases in "
        "redis.conf",
    ),
    _Case(
        "ResponseError",
        "unknown command 'time'",
        _SENTINEL,
    ),
    _Case(
        "ResponseError",
        "unknown command 'select'",
        _SENTINEL,
    ),
    _Case(
        "ResponseError",
        "unknown command 'sentinel'",
        "redis_url names Sentinels, and the server is a Redis server and no Sentinel: write redis:// in place of "
        "redis+sentinel://, without the service",
    ),
    _Case(
        "ResponseError",
        "unknown command",
        "the server does not know a command that is needed: if it is a Sentinel, write "
        "redis+sentinel://host:26379/service; else use Redis 6.2 or newer, or Valkey",
    ),
    _Case(
        "AuthenticationError",
        "authentication required",
        "the server wants a password, and redis_url has none: write redis://user:password@host:port",
    ),
    _Case(
        "AuthenticationError",
        "without any password",
        "redis_url has a password, and the server has none for that user: leave it out, or set one there",
    ),
    _Case(
        "AuthenticationError",
        "",
        "the server refuses the user name or password of redis_url: correct them, and write special "
        "characters percent-encoded",
    ),
    _Case(
        "ConnectionError",
        "protected mode",
        "the server is in protected mode and accepts clients of its own machine only: give it a password",
    ),
    _Case(
        "ResponseError",
        "denied redis is running in protected mode",
        "the server is in protected mode and accepts clients of its own machine only: give it a password",
    ),
    _Case(
        "ConnectionError",
        "max number of clients",
        "the server has as many clients as it may have: raise maxclients, or start fewer processes",
    ),
    _Case(
        "BusyLoadingError",
        "",
        "the server is loading its data: nothing is to be done",
    ),
    _Case(
        "OutOfMemoryError",
        "",
        "the server is full: raise maxmemory, or look at what fills it",
    ),
    _Case(
        "ResponseError",
        "noreplicas",
        "the server has fewer replicas than min-replicas-to-write: look at its replicas",
    ),
    _Case(
        "ResponseError",
        "misconf",
        "the server cannot save to its disk and takes no writes: look at its log",
    ),
    _Case(
        "MasterNotFoundError",
        "",
        "no Sentinel of redis_url that answers knows a primary of that service: look at the hosts, ports and "
        "the name of the service, and whether sentinel_username and sentinel_password are needed",
    ),
    _Case(
        "InvalidResponse",
        "",
        "the server at redis_url does not speak the protocol of Redis: look at the host and the port",
    ),
)


def explain(error: BaseException | None, *, is_followed: bool = False) -> str:
    """Return the cause of an error of redis-py or the network, and what to do; ``""`` where it is unknown.

    Args:
        error: The error.
        is_followed: Whether the server is looked for anew after an error, behind Sentinels or in a cluster.
    """
    if error is None:
        return ""
    if is_followed and is_elsewhere(error):
        return _HANDED_OVER
    if "RedisClusterException" in _kinds(error):  # says nothing by itself
        return explain(error.__cause__ or error.__context__) or _NO_CLUSTER
    if is_refused(error):
        found = _COMMAND.search(str(error).lower())
        return missing_rights((found[1],) if found and found[1] else (), keys=lacks_keys(error))
    kinds, text = _kinds(error), str(error).lower().replace("`", "'")
    for case in _CASES:
        if case.error in kinds and case.words in text:
            return case.sentence
    return _of_network(error)


def missing_rights(commands: tuple[str, ...], *, keys: bool) -> str:
    """Return which commands, and whether the keys of this package, are refused, and how to grant that."""
    refused = [*(one.upper() for one in commands), *(["keys that begin with moonkey:"] if keys else [])]
    if not refused:
        return (
            "Redis refuses a command to the user of redis_url: compare its rights with those of the documentation"
        )
    needed = [*(f"+{one.lower()}" for one in commands), *(["~moonkey:*"] if keys else [])]
    return (
        f"Redis refuses {', '.join(refused)} to the user of redis_url: grant it by ACL SETUSER, with "
        f"{' '.join(needed)}"
    )


def is_refused(error: BaseException) -> bool:
    """Return whether an error says that the user may not do this, in a script or outside of one."""
    text = str(error)
    return "NoPermissionError" in _kinds(error) or any(words in text for words in _REFUSALS)


def lacks_keys(error: BaseException) -> bool:
    """Return whether that is for a key, and not for the command."""
    text = str(error).lower()
    return is_refused(error) and "key" in text and "command" not in text


def lacks_command(error: BaseException) -> bool:
    """Return whether an error says that the server does not know a command."""
    return "ResponseError" in _kinds(error) and "unknown command" in str(error).lower()


def is_elsewhere(error: BaseException) -> bool:
    """Return whether an error says that this is not the server to talk to: another one may accept the command."""
    names = {"ReadOnlyError", "AskError", "ClusterDownError", "MasterDownError", "TryAgainError"}
    return not names.isdisjoint(_kinds(error))


def may_be_tls(error: BaseException) -> bool:
    """Return whether an error may come from TLS on one side of the connection only."""
    others = ssl.SSLCertVerificationError | ConnectionRefusedError | socket.gaierror
    kinds = _kinds(error)
    if "AuthenticationError" in kinds or any(isinstance(one, others) for one in _chain(error)):
        return False
    return isinstance(error, OSError) or not kinds.isdisjoint(
        {"ConnectionError", "TimeoutError", "InvalidResponse"}
    )


def _of_network(error: BaseException) -> str:
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return (
                "the certificate of the server is not trusted: it names another host, has expired, or is of an "
                "authority of your own, which ssl_ca_certs in the query of redis_url has to name"
            )
        if isinstance(one, ssl.SSLError):
            return "TLS with the server fails: look at whether that is its port of TLS, and at ssl_certfile"
        if isinstance(one, socket.gaierror):
            return "the host of redis_url is not found: correct the name, or look at DNS"
        if isinstance(one, ConnectionRefusedError):
            return "nothing listens at the host and port of redis_url: correct them, or start the server"
        if isinstance(one, FileNotFoundError):
            return "there is no socket of that name: correct the path in redis_url, or start the server"
        if isinstance(one, PermissionError):
            return "this process may not open the socket of redis_url: look at its permissions (unixsocketperm)"
    if any(isinstance(one, TimeoutError) or "TimeoutError" in _kinds(one) for one in chain):
        return (
            "the server does not answer in time: look at the network, a firewall, and whether the server is busy"
        )
    if "ConnectionError" in _kinds(error):
        return "the connection was closed: look at whether the server has ended, or what stands in between"
    return ""


def _kinds(error: BaseException) -> set[str]:
    """Return the names of redis-py's classes that an error is of: some exist twice, for threads and for tasks."""
    return {one.__name__ for one in type(error).__mro__ if one.__module__.startswith("redis.")}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__
