"""What one process of a machine tells its siblings of the stream: the entries that it read last, still sealed.

It is asked by a line of JSON, and answers by one. A reply takes as long as there is nothing new to tell. It says
up to when it is complete by a number of seconds since the request came. So no clock needs to be shared, and
however late a sibling looks at a reply, it takes nothing for newer than it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from moonkey_core import _clock
from moonkey_core.redis.stream import Row, id_parts

MAX_LINE = 4 * 1024 * 1024
"""Bytes of a line, at most: some times those of the entries of one reply."""

_MAX_ROWS = 5_000
_MAX_BYTES = 2 * 1024 * 1024
_MAX_ENTRY = 4096  # bytes; ours are shorter. What is longer is told of as empty, and skipped
_ROWS_OF_REPLY = 500
_DIGITS = 20  # of each half of an id


class Reply(NamedTuple):
    """What a sibling is told.

    Attributes:
        rows: New entries in their order, or ``None`` where not all are kept any more that it lacks.
        complete_after: Seconds from the request to the time up to which these are all; negative for an earlier
            time, ``None`` where that is not known.
    """

    rows: Sequence[Row] | None
    complete_after: float | None


class Recent:
    """The entries that were read last, bounded by number and bytes.

    Args:
        stream: The name of the stream.
        last_id: The id of the last entry that was read before.
    """

    def __init__(self, stream: str, last_id: bytes) -> None:
        self.stream = stream
        self._rows: deque[Row] = deque()
        self._bytes = 0
        self._before = id_parts(last_id)
        self._complete_at: float | None = None
        self._changed = asyncio.Event()

    def add(self, rows: Iterable[Row]) -> None:
        """Take in entries that were read, in their order."""
        for entry_id, value in rows:
            kept = value if isinstance(value, bytes) and len(value) <= _MAX_ENTRY else b""
            self._rows.append((entry_id, kept))
            self._bytes += len(kept)
        while len(self._rows) > _MAX_ROWS or self._bytes > _MAX_BYTES:
            entry_id, dropped = self._rows.popleft()
            self._before = id_parts(entry_id)
            self._bytes -= len(dropped) if isinstance(dropped, bytes) else 0
        self._tell()

    def prove(self, complete_at: float) -> None:
        """Note up to when everything was read, in monotonic seconds."""
        if self._complete_at is None or complete_at > self._complete_at:
            self._complete_at = complete_at
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _after(self, entry_id: bytes) -> list[Row] | None:
        """Return all entries after an id, or ``None`` where some of them are not kept any more."""
        known = id_parts(entry_id)
        if known < self._before:
            return None
        found: list[Row] = []
        for row in reversed(self._rows):
            if id_parts(row[0]) <= known:
                break
            found.append(row)
        found.reverse()
        return found

    async def reply(self, after: bytes, told: float, seconds: float) -> tuple[Reply, float]:
        """Wait until there is something to tell.

        Args:
            after: The id of the last entry that the sibling knows.
            told: Up to when it was told that it knows everything, in monotonic seconds.
            seconds: How long to wait at most.

        Returns:
            The reply, and what counts as told after it.
        """
        asked_at = _clock.elapsed()
        while True:
            rows, complete_at, changed = self._after(after), self._complete_at, self._changed
            left = asked_at + seconds - _clock.elapsed()
            if rows is None:
                return Reply(None, None), told
            if rows or left <= 0 or (complete_at is not None and complete_at > told):
                break
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                continue
        if complete_at is None or len(rows) > _ROWS_OF_REPLY:
            return Reply(rows[:_ROWS_OF_REPLY], None), told
        return Reply(rows, complete_at - asked_at), complete_at


def request_line(stream: str, after: bytes) -> bytes:
    """Return a request as a line.

    Args:
        stream: The name of the stream.
        after: The id of the last entry that is known.
    """
    return json.dumps({"stream": stream, "after": after.decode()}).encode() + b"\n"


def parse_request(line: bytes) -> tuple[str, bytes]:
    """Return the name of the stream, and the id of the last entry that the sibling knows.

    Raises:
        ValueError: The line is no request.
    """
    match _parsed(line):
        case {"stream": str(stream), "after": str(after)}:
            return stream, _entry_id(after)
    raise ValueError("not a request")


def reply_line(reply: Reply) -> bytes:
    """Return a reply as a line."""
    rows = None if reply.rows is None else [[entry_id.decode(), _text(value)] for entry_id, value in reply.rows]
    return json.dumps({"rows": rows, "complete_after": reply.complete_after}).encode() + b"\n"


def parse_reply(line: bytes) -> Reply:
    """Return a reply.

    Raises:
        ValueError: The line is none.
    """
    match _parsed(line):
        case {"rows": None}:
            return Reply(None, None)
        case {"rows": list(rows), "complete_after": None}:
            return Reply([_row(one) for one in rows], None)
        case {"rows": list(rows), "complete_after": float(complete_after)} if math.isfinite(complete_after):
            return Reply([_row(one) for one in rows], complete_after)
    raise ValueError("not a reply")


def _parsed(line: bytes) -> object:
    if not line.endswith(b"\n"):
        raise ValueError("the other process has ended the connection")
    try:
        found: object = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def _row(one: object) -> Row:
    match one:
        case [str(entry_id), str(value)]:
            try:
                return _entry_id(entry_id), base64.b64decode(value, validate=True)
            except binascii.Error:
                pass
    raise ValueError("not an entry")


def _entry_id(text: str) -> bytes:
    milliseconds, _, sequence = text.partition("-")
    for half in (milliseconds, sequence):
        if not (half.isascii() and half.isdigit() and len(half) <= _DIGITS):
            raise ValueError("not the id of an entry")
    return text.encode()


def _text(value: object) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else b"").decode()
