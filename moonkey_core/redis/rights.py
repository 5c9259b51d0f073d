"""The rights that the user of ``redis_url`` needs, and whether the server grants them.

Each command is tried in a form that changes nothing, on keys that do not exist. So it works with every release and
service, and needs no right to look at rights.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from moonkey_core import _clock
from moonkey_core.redis.client import disconnect, response_error, time_limit
from moonkey_core.redis.trouble import is_refused, lacks_command, lacks_keys, missing_rights

logger: logging.Logger = logging.getLogger("moonkey")

_FEED, _STORE, _RECORD, _ATTEMPTS = "feed", "store", "record", "attempts"  # stand for a key

_TRIALS: tuple[tuple[Any, ...], ...] = (
    ("TIME",),
    ("GET", _FEED),
    ("SET", _FEED, "", "XX", "PX", 1),
    ("DEL", _FEED),
    ("EXISTS", _FEED),
    ("PEXPIRE", _FEED, 1),
    ("XADD", _FEED, "NOMKSTREAM", "*", "entry", ""),  # before Redis 6.2 a wrong id, and so an error, too
    ("XREAD", "COUNT", 1, "STREAMS", _FEED, "0-0"),
    ("XRANGE", _FEED, "-", "+", "COUNT", 1),
    ("XREVRANGE", _FEED, "+", "-", "COUNT", 1),
    ("XLEN", _FEED),
    ("XDEL", _FEED, "0-1"),
    ("XTRIM", _FEED, "MAXLEN", 0),
    ("ZADD", _FEED, "XX", 0, "member"),
    ("ZREM", _FEED, "member"),
    ("ZRANGEBYSCORE", _FEED, 0, 0),
    ("GETRANGE", _STORE, 0, 0),
    ("GETRANGE", _RECORD, 0, 0),
    ("EVAL", "return 1", 0),
    ("ZCARD", _ATTEMPTS),
    ("ZRANGE", _ATTEMPTS, 0, 0),
    ("ZPOPMIN", _ATTEMPTS),
    ("ZREMRANGEBYSCORE", _ATTEMPTS, 0, 0),
)
_TRIALS_OF_TRANSACTIONS: tuple[tuple[Any, ...], ...] = (("WATCH", _FEED), ("UNWATCH",), ("MULTI",), ("EXEC",))
_TRIAL_WITH_REPLICAS: tuple[Any, ...] = ("WAIT", 0, 1)

COMMANDS: frozenset[str] = frozenset(
    one[0].lower() for one in (*_TRIALS, *_TRIALS_OF_TRANSACTIONS, _TRIAL_WITH_REPLICAS)
)
"""Every command that the package sends, those in scripts included; beside them ``AUTH``, ``SELECT`` and
``CLIENT SETNAME`` of a new connection, and what finds a server behind Sentinels or in a cluster."""

_CHECK_SECONDS = 300.0
_SECONDS_WHILE_MISSING = 15.0


class Rights:
    """What the server does not grant. It is looked at when a process connects, and now and then.

    Args:
        root: What the names of the keys of the feed begin with.
        timeout: Seconds that a call may take.
        replicas: How many replicas have to acknowledge what is published.

    Attributes:
        sentence: What is missing and how to grant it; ``""`` where nothing is known to be.
    """

    def __init__(self, root: str, timeout: float, replicas: int) -> None:
        self._keys = {
            _FEED: f"{root}:check",
            _STORE: "moonkey:store:check",
            _RECORD: "moonkey:record:check",
            _ATTEMPTS: "moonkey:{check}:attempts",
        }
        self._timeout = timeout
        self._trials = (*_TRIALS, _TRIAL_WITH_REPLICAS) if replicas else _TRIALS
        self._due_at = 0.0
        self.sentence: str = ""

    def note(self, error: BaseException) -> None:
        """Have the rights looked at soon, where the server has refused something."""
        if is_refused(error):
            self._due_at = 0.0

    async def watch(self, connect: Callable[[], Awaitable[Any]]) -> None:
        """Look at the rights again and again, until the task is cancelled. ``connect`` makes a client."""
        while True:
            await self.check(connect)
            await asyncio.sleep(_SECONDS_WHILE_MISSING if self.sentence else _CHECK_SECONDS)

    async def check(self, connect: Callable[[], Awaitable[Any]]) -> bool:
        """Look at the rights if that is due, and return whether they are known. What is not changes nothing."""
        if _clock.elapsed() < self._due_at:
            return True
        try:
            async with time_limit(self._timeout):
                found = await self._try(connect)
        except Exception as error:
            logger.debug(
                "feed: the rights in Redis cannot be seen (%s)",
                type(error).__name__,
                extra={"reason": "redis_rights_unseen"},
            )
            return False
        self._due_at = _clock.elapsed() + (_SECONDS_WHILE_MISSING if found else _CHECK_SECONDS)
        before, self.sentence = self.sentence, found
        if found and found != before:
            logger.warning("feed: %s", found, extra={"reason": "redis_rights_missing"})
        return True

    async def _try(self, connect: Callable[[], Awaitable[Any]]) -> str:
        client = await connect()
        try:
            async with client.pipeline(transaction=False) as pipe:
                for trial in self._trials:
                    pipe.execute_command(*self._command(trial))
                replies = list(await pipe.execute(raise_on_error=False))
            for trial in _TRIALS_OF_TRANSACTIONS:
                try:
                    replies.append(await client.execute_command(*self._command(trial)))
                except response_error() as error:
                    replies.append(error)
            return _missing(zip((*self._trials, *_TRIALS_OF_TRANSACTIONS), replies, strict=True))
        finally:
            await disconnect(client)  # it may be within a transaction

    def _command(self, trial: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._keys.get(one, one) for one in trial)


def _missing(replies: Iterable[tuple[tuple[Any, ...], Any]]) -> str:
    """Return what is missing as a sentence."""
    refused: dict[str, None] = {}
    unknown: list[str] = []
    keys = False
    for trial, reply in replies:
        if not isinstance(reply, Exception):
            continue
        if lacks_keys(reply):
            keys = True
        elif is_refused(reply):
            refused[trial[0]] = None
        elif lacks_command(reply):
            unknown.append(trial[0])
    sentences = [missing_rights(tuple(refused), keys=keys)] if refused or keys else []
    if unknown:
        sentences.append(f"the server does not know {', '.join(unknown)}: enable them, or use another server")
    return "; ".join(sentences)
