"""What the processes of a fleet agree on in Redis for a while: a lease for work, and who still has some to do.

Both only save work or time. A process that loses a lease, as it was paused for longer than its life, does at most
what another one does as well. Where the server refuses a command, as one for which the rights are missing, each
process goes on as if it were alone.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from moonkey_core._repeated_log import log_repeated
from moonkey_core.redis.client import response_error
from moonkey_core.redis.trouble import explain, is_elsewhere

Call = Callable[[], AbstractAsyncContextManager[None]]
"""Begins a call: what happens in the block has a connection, and a time within which the server has to answer."""


class Lease:
    """A lock with a life, which one process at a time holds.

    Args:
        client: A ``redis.asyncio.Redis``.
        name: The key.
        life: Seconds after which it ends by itself, unless it is renewed.
        call: Begins a call; it raises ``TimeoutError`` when the server takes too long.
    """

    def __init__(self, client: Any, name: str, life: float, call: Call) -> None:
        self._client = client
        self._name = name
        self._life_ms = max(int(life * 1000), 1)
        self._call = call
        self._token = secrets.token_hex(8).encode()
        self._is_refused = False

    async def acquire(self) -> bool:
        """Take it, and return whether no other process holds it."""
        try:
            async with self._call():
                return bool(await self._client.set(self._name, self._token, nx=True, px=self._life_ms))
        except response_error() as error:
            log_refusal(error)
            self._is_refused = True
            return True

    async def renew(self) -> bool:
        """Put off its end, and return whether it is still held."""
        if self._is_refused:
            return True
        try:
            async with self._call():
                # If it ends between the two calls, that of another process lasts a little longer: no harm is done.
                if await self._client.get(self._name) != self._token:
                    return False
                return bool(await self._client.pexpire(self._name, self._life_ms))
        except response_error() as error:
            log_refusal(error)
            return True

    async def release(self) -> None:
        """Let the next process have it. Where Redis does not answer, it ends by itself."""
        with contextlib.suppress(Exception):
            async with self._call():
                if await self._client.get(self._name) == self._token:
                    await self._client.delete(self._name)


class Roll:
    """The processes that have something to do before the others may rely on it. Each is on it for a limited time.

    Args:
        client: A ``redis.asyncio.Redis``.
        name: The key.
        life: Seconds for which an enrolment counts.
        call: Begins a call; it raises ``TimeoutError`` when the server takes too long.
    """

    def __init__(self, client: Any, name: str, life: float, call: Call) -> None:
        self._client = client
        self._name = name
        self._life = life
        self._call = call
        self._token = secrets.token_hex(8).encode()

    async def enroll(self, now: float) -> bool:
        """Put this process on the roll, or keep it there, and return whether another one is on it.

        Args:
            now: The time by the clock of the server, in Unix seconds.
        """
        try:
            async with self._call(), self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command("ZADD", self._name, now + self._life, self._token)
                pipe.pexpire(self._name, max(int(self._life * 1000), 1))
                pipe.execute_command("ZRANGEBYSCORE", self._name, now, "+inf", "LIMIT", 0, 2)
                *_, found = await pipe.execute()
        except response_error() as error:
            log_refusal(error)
            return False
        return any(token != self._token for token in found)

    async def has_others(self, now: float) -> bool:
        """Return whether another process is on the roll."""
        try:
            async with self._call():
                found = await self._client.execute_command("ZRANGEBYSCORE", self._name, now, "+inf", "LIMIT", 0, 2)
        except response_error() as error:
            log_refusal(error)
            return False
        return any(token != self._token for token in found)

    async def leave(self) -> None:
        """Take this process off the roll. Where Redis does not answer, it will not be on it for long."""
        with contextlib.suppress(Exception):
            async with self._call():
                await self._client.zrem(self._name, self._token)


def log_refusal(error: Exception) -> None:
    """Log that the server has refused a command that only saves work.

    Raises:
        Exception: Another server may accept it.
    """
    if is_elsewhere(error):
        raise error
    log_repeated(
        logging.WARNING,
        "feed: a command that saves work has failed (%s); %s",
        type(error).__name__,
        explain(error) or "see the rights that the feed needs",
        extra={"reason": "feed_command_refused"},
    )
