"""A snapshot of the stream beside it, from which a process that starts learns faster what is revoked.

It is a stream of segments. A segment has the entries of a part of the stream, packed and sealed as one, and stands
under the id of the last one. One process at a time adds a segment when the stream has grown enough. Redis drops
segments at the age at which it drops entries.

Nothing depends on it. A segment counts only if its last entry is in the stream as the segment has it: then the
stream had all others, too, as a server that goes back in time loses the latest first. What no segment covers is
read from the stream itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

from moonkey_core import _clock
from moonkey_core._crypto import Sealer
from moonkey_core._dataclass import dataclass
from moonkey_core._repeated_log import log_repeated
from moonkey_core._strict_json import load_object
from moonkey_core.redis.client import response_error
from moonkey_core.redis.entries import open_entry, read_entry
from moonkey_core.redis.stream import Stream, added_at, id_parts
from moonkey_core.redis.trouble import explain
from moonkey_core.revocations import Revocation

_SEGMENT_ENTRIES = 4096
_SEGMENT_BYTES = 2 * 1024 * 1024  # of entries, before they are packed; one more entry is the last one
_MAX_UNPACKED = 2 * _SEGMENT_BYTES
_MAX_SEALED = 2 * _SEGMENT_BYTES
_SLICE = 500  # entries between two turns of other tasks
_LEASE_SECONDS = 10.0
_LOOK_SECONDS = 1.0  # between two looks at how much the stream has grown
_PAUSE_SECONDS = 300.0  # after a failure
_NO_SEGMENT = "not a segment"
_RANDOM = random.SystemRandom()  # workers that were forked share the state of any other


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of the stream: the entries after one id up to another."""

    after: tuple[int, int]
    last: bytes
    digest: str  # of the last entry
    contents: list[Any]


class Snapshot:
    """Reads the snapshot of a stream, and adds to it.

    Args:
        sealer: Seals and opens entries and segments.
        limit: How many entries the stream may have.
    """

    def __init__(self, sealer: Sealer, limit: int) -> None:
        self._sealer = sealer
        self._max_segments = limit // _SEGMENT_ENTRIES + 2
        self._due_after = int(_SEGMENT_ENTRIES * _RANDOM.uniform(1.0, 1.25))  # not all processes at once
        self._paused_until = 0.0

    async def read(self, stream: Stream, offset: float) -> AsyncIterator[list[Revocation]]:
        """Yield the entries that it covers, a few at a time; the stream is read on from there afterwards.

        Args:
            stream: The stream, of which nothing was read.
            offset: Seconds that the clock of the server is ahead of that of this machine, by which entries age.
        """
        if _clock.elapsed() < self._paused_until:
            return
        try:
            async for segment in self._segments(stream):
                # What is between two segments, as the one there was lost or the entries before are too old.
                async for rows in _between(stream, segment.after):
                    yield _known_forms(partial(self._opened, stream, offset), rows)
                for start in range(0, len(segment.contents), _SLICE):
                    yield _known_forms(partial(_unpacked, offset), segment.contents[start : start + _SLICE])
                    await asyncio.sleep(0)
                stream.start_after(segment.last)
        except (TimeoutError, ValueError, response_error()) as error:
            self._pause(error)

    async def _segments(self, stream: Stream) -> AsyncIterator[_Segment]:
        """Yield the segments that count, in order."""
        after = b"0-0"
        while found := await stream.read_segments(after):
            after = found[-1][0]
            segments = [self._open(stream, *row) for row in found]
            ends = await stream.find([segment.last for segment in segments])
            for segment in segments:
                is_there = _digest(ends.get(segment.last)) == segment.digest
                if is_there and id_parts(segment.last) > stream.position:
                    yield segment

    def _open(self, stream: Stream, last: bytes, sealed: object) -> _Segment:
        """Open a segment.

        Raises:
            ValueError: It is none of ours, or torn.
        """
        if not isinstance(sealed, bytes) or len(sealed) > _MAX_SEALED:
            raise ValueError(_NO_SEGMENT)
        data = self._sealer.open(_sealed_name(stream, last), sealed)
        try:
            # It was sealed by a process of ours, which has read each entry strictly.
            content: Any = json.loads(zlib.decompressobj().decompress(data, _MAX_UNPACKED))
            milliseconds, sequence = content["after"]
            after = int(milliseconds), int(sequence)
            return _Segment(after, last, str(content["digest"]), list(content["entries"]))
        except (zlib.error, ValueError, TypeError, KeyError):
            raise ValueError(_NO_SEGMENT) from None

    def _opened(self, stream: Stream, offset: float, row: tuple[bytes, object]) -> Revocation:
        return open_entry(self._sealer, stream.name, row[1], added_at(row[0]) - offset)

    async def run(self, stream: Stream) -> None:
        """Add segments as the stream grows, until the task is cancelled."""
        counted = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS * _RANDOM.uniform(0.5, 1.5))
            if stream.rows_read - counted < self._due_after or _clock.elapsed() < self._paused_until:
                continue
            rows_read = stream.rows_read
            try:
                if await self._extend(stream):
                    counted = rows_read
                else:  # the process that does it may have lost Redis, or ended, before it was done
                    await asyncio.sleep(_LEASE_SECONDS / 2)
            except (TimeoutError, response_error()) as error:
                self._pause(error)

    async def _extend(self, stream: Stream) -> bool:
        """Add all segments that are due, unless another process does.

        Returns:
            Whether there is nothing more to add for now.
        """
        lease = stream.lease("snapshot", _LEASE_SECONDS)
        if not await lease.acquire():
            return False
        after = await stream.last_segment()
        while True:
            rows, contents, size, last = 0, list[str](), 0, after
            value: object = None
            while rows < _SEGMENT_ENTRIES and size < _SEGMENT_BYTES:
                found = await stream.scan(last, _SEGMENT_ENTRIES - rows)
                if found and not await lease.renew():
                    return False
                if not found:
                    await lease.release()
                    return True
                last, value = found[-1]
                rows += len(found)
                contents += self._contents(stream, found)
                size = sum(map(len, contents))
            segment = self._sealed(stream, after, last, value, contents)
            await stream.add_segment(last, segment, self._max_segments)
            after = last

    def _contents(self, stream: Stream, rows: Sequence[tuple[bytes, object]]) -> list[str]:
        """Return the entries of a part of the stream as JSON. Those of a later version may be of another form."""
        contents = []
        for entry_id, value in rows:
            try:
                data = self._sealer.open(stream.name, value) if isinstance(value, bytes) else b""
                load_object(data)
            except ValueError:  # the mark at the beginning, or not ours
                continue
            contents.append(f"[{id_parts(entry_id)[0]},{data.decode()}]")
        return contents

    def _sealed(self, stream: Stream, after: bytes, last: bytes, value: object, contents: Sequence[str]) -> bytes:
        head = json.dumps({"after": id_parts(after), "digest": _digest(value)})
        data = f'{head[:-1]},"entries":[{",".join(contents)}]}}'
        return self._sealer.seal(_sealed_name(stream, last), zlib.compress(data.encode(), 3))

    def _pause(self, error: Exception) -> None:
        self._paused_until = _clock.elapsed() + _PAUSE_SECONDS
        log_repeated(
            logging.WARNING,
            "feed: the snapshot for processes that start is not used for now (%s)",
            explain(error) or type(error).__name__,
            extra={"reason": "feed_snapshot_failed"},
        )


async def _between(stream: Stream, until: tuple[int, int]) -> AsyncIterator[list[tuple[bytes, object]]]:
    """Yield the rows of a stream from where it was read to, up to an id."""
    while stream.position < until:
        rows = [row for row in await stream.scan(stream.last_id) if id_parts(row[0]) <= until]
        if not rows:
            return
        yield rows
        stream.start_after(rows[-1][0])


def _known_forms(read: Callable[[Any], Revocation], rows: Iterable[Any]) -> list[Revocation]:
    """Return the entries that are read, without those of a form that is unknown here."""
    entries = []
    for row in rows:
        with contextlib.suppress(ValueError):
            entries.append(read(row))
    return entries


def _unpacked(offset: float, content: object) -> Revocation:
    """Read an entry of a segment.

    Raises:
        ValueError: It is of no form that is known here.
    """
    if not isinstance(content, list) or len(content) != 2 or not isinstance(content[1], dict):
        raise ValueError(_NO_SEGMENT)
    return read_entry(content[1], int(content[0]) / 1000 - offset)


def _sealed_name(stream: Stream, last: bytes) -> str:
    return f"{stream.name}:snapshot:{last.decode()}"


def _digest(value: object) -> str:
    """Return a digest of an entry as it stands in the stream."""
    return blake2b(value if isinstance(value, bytes) else b"", digest_size=16).hexdigest()
