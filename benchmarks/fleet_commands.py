"""The commands that a process of the fleet sends while it reads the feed: recorded from the package's own code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

from moonkey_core.redis.stream import _MAX_SINCE_ANCHOR as MAX_SINCE_ANCHOR
from moonkey_core.redis.stream import ServerClock, Stream, StreamEpoch

__all__ = ["MAX_SINCE_ANCHOR", "Commands", "bulk_block", "bulk_id", "record"]

_FIRST = b"1700000000000-7"  # an id that is looked for in what was recorded
_BEFORE_FIRST = b"1700000000000-6"
_SECONDS = 7.654  # of a wait, looked for likewise
_SEALED = b"x" * 200


@dataclass(frozen=True)
class Commands:
    """What is sent, as bytes with places for what differs; and of how many reads one asks for the time.

    Attributes:
        wait: With the places ``%(block)b`` (milliseconds) and ``%(id)b``.
        reads: One after another, and then from the beginning again: each with the place ``%(id)b``, for the id
            before that of the last known entry, and whether the time is asked for.
    """

    wait: bytes
    reads: tuple[tuple[bytes, bool], ...]


class Recorder:
    """Stands in for the client of redis-py: notes what is sent, and answers as Redis would."""

    def __init__(self, name: str, epoch: bytes) -> None:
        self._name = name.encode()
        self._epoch = epoch
        self.sent: list[list[tuple[Any, ...]]] = []

    def pipeline(self, transaction: bool = True) -> PipelineRecorder:
        assert not transaction
        return PipelineRecorder(self)

    async def execute_command(self, *command: Any) -> Any:
        self.sent.append([command])
        return self.answer(command)

    def answer(self, command: tuple[Any, ...]) -> Any:
        if command[0] == "XREAD":
            return [[self._name, [(_FIRST, {b"entry": _SEALED})]]]
        return {"GET": self._epoch, "EXISTS": 1, "TIME": (1_700_000_000, 0)}[command[0]]


class PipelineRecorder:
    """The same for a pipeline."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._queued: list[tuple[Any, ...]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held."""

    def execute_command(self, *command: Any) -> None:
        self._queued.append(command)

    def get(self, key: str) -> None:
        self._queued.append(("GET", key))

    def exists(self, key: str) -> None:
        self._queued.append(("EXISTS", key))

    async def execute(self) -> list[Any]:
        self._recorder.sent.append(self._queued)
        return [self._recorder.answer(one) for one in self._queued]


def record(root: str, epoch: bytes) -> Commands:
    """Let the package read and wait, as it does once it knows an entry, and note what it sends."""

    async def read() -> list[list[tuple[Any, ...]]]:
        name = f"{root}:{epoch.split(b'.')[0].decode()}"
        recorder = Recorder(name, epoch)
        stream = Stream(recorder, root, StreamEpoch(epoch, 0.0, False), 1.0, 60.0, ServerClock(5.0, lambda: 1.7e9))
        await stream.read()
        begun = len(recorder.sent)
        await stream.wait(_SECONDS)
        while len(recorder.sent) - begun < 100:  # until it begins again from the beginning
            await stream.read()
        return recorder.sent[begun:]

    wait, *reads = asyncio.run(read())
    kinds = [(_packed(one), any(command[0] == "TIME" for command in one)) for one in reads]
    period = next(n for n in range(1, 50) if kinds[:50] == kinds[n : n + 50])
    block = b"%d" % int(_SECONDS * 1000)
    return Commands(
        _with_places(_packed(wait), {_bulk(block): b"%(block)b", _bulk(_FIRST): b"%(id)b"}),
        tuple((_with_places(sent, {_bulk(_BEFORE_FIRST): b"%(id)b"}), timed) for sent, timed in kinds[:period]),
    )


def _with_places(sent: bytes, places: dict[bytes, bytes]) -> bytes:
    assert b"%" not in sent
    for found, place in places.items():
        assert sent.count(found) == 1, found
        sent = sent.replace(found, place)
    return sent


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def bulk_id(entry_id: bytes) -> bytes:
    """What stands in the place of an id."""
    return _bulk(entry_id)


def bulk_block(milliseconds: int) -> bytes:
    """What stands in the place of the time of a wait."""
    return _bulk(b"%d" % max(milliseconds, 1))


def _packed(commands: list[tuple[Any, ...]]) -> bytes:
    """Commands as they go over the wire (RESP)."""
    parts = []
    for command in commands:
        words = [one if isinstance(one, bytes) else str(one).encode() for one in command]
        parts.append(b"*%d\r\n" % len(words) + b"".join(map(_bulk, words)))
    return b"".join(parts)
