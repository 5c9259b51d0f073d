"""The part of one process in the reader that the processes of a machine share, without a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moonkey_core import Settings
from moonkey_core.redis import RedisRevocations
from moonkey_core.redis.machine import MachineFeed
from moonkey_core.redis.recent import Reply, parse_reply, reply_line, request_line
from moonkey_core.redis.stream import Row, ServerClock, Stream, StreamEpoch
from moonkey_core.revocations import Revocations

LAG = 1.0
NAME = "0" * 16


class Told:
    """What stands for the reader of this process: it notes what it is told, and when it reads by itself."""

    def __init__(self) -> None:
        self.on_proof: Any = None
        self.found: list[str] = []

    def take_over(self, stream: Stream, rows: list[Row], complete_at: float | None) -> None:
        self.found.append("told")

    async def read_new(self, stream: Stream) -> float:
        self.found.append("read")
        return 0.0

    def set_pace(self, *_: float) -> None:
        pass


def a_stream() -> Stream:
    return Stream(None, "root", StreamEpoch(b"0" * 32 + b".1", 0.0, False), 1.0, 60.0, ServerClock(5.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "feed"
    made.mkdir(mode=0o700)
    return made


def machine_feed(folder: Path, reader: Told) -> MachineFeed:
    return MachineFeed(str(folder), NAME, reader, LAG)  # type: ignore[arg-type]


@asynccontextmanager
async def a_reader(folder: Path, *replies: Reply) -> AsyncIterator[list[bytes]]:
    """One that answers each line by the next reply, and ends then. Yields what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            asked.append(await reader.readline())
            writer.write(reply_line(reply))
        writer.close()

    server = await asyncio.start_unix_server(answer, folder / f"{NAME}.sock")
    async with server:
        yield asked


def test_what_is_read_while_it_begins_is_told(folder: Path) -> None:
    """Another task reads the stream meanwhile: a sibling would never learn of what is left out."""

    async def check() -> None:
        stream, feed = a_stream(), machine_feed(folder, Told())
        asyncio.get_running_loop().call_soon(stream.take_over, [(b"1-0", b"entry")])
        async with feed._telling(stream):
            reader, writer = await asyncio.open_unix_connection(str(folder / f"{NAME}.sock"))
            with contextlib.closing(writer):
                writer.write(request_line(stream.name, b"0-0"))
                reply = parse_reply(await reader.readline())
        assert reply.rows == [(b"1-0", b"entry")]
        assert stream.on_new is None

    asyncio.run(check())


@pytest.mark.parametrize(("mode", "is_heard"), [(0o777, False), (0o710, False), (0o700, True)], ids=oct)
def test_nothing_is_believed_in_a_folder_that_others_can_use(mode: int, is_heard: bool, folder: Path) -> None:
    async def check() -> None:
        reader = Told()
        async with a_reader(folder, Reply([], 0.0)) as asked:
            assert await machine_feed(folder, reader)._hear(a_stream()) is is_heard
            assert bool(asked) is bool(reader.found) is is_heard

    folder.chmod(mode)
    asyncio.run(check())


def test_a_process_reads_by_itself_before_it_believes_another_one(folder: Path) -> None:
    """The one before may have ended for a reason that holds for this process as well, such as a fail-over."""

    async def check() -> None:
        reader = Told()
        async with a_reader(folder, Reply([], 0.0), Reply([], 0.0)):
            for _ in range(2):
                assert await machine_feed(folder, reader)._hear(a_stream())
        assert reader.found == 2 * ["read", "told", "told"]

    asyncio.run(check())


def test_a_file_that_was_deleted_does_not_put_two_at_odds(folder: Path) -> None:
    """What cleans up old files may delete them: then another process reads for all, and keeps its socket."""

    async def check() -> None:
        one, other = machine_feed(folder, Told()), machine_feed(folder, Told())
        async with AsyncExitStack() as rest:
            async with AsyncExitStack() as stack:
                assert await one._lead(a_stream(), stack)
                assert one._is_in_place()
                assert not await other._lead(a_stream(), rest)
                (folder / f"{NAME}.lock").unlink()
                assert not one._is_in_place()
                assert await other._lead(a_stream(), rest)
            assert other._is_in_place()
            (folder / f"{NAME}.sock").unlink()
            assert not other._is_in_place()

    asyncio.run(check())


@pytest.mark.parametrize("other", [{"max_revocation_lag": 2.0}, {"redis_url": "redis://127.0.0.1:1/1"}], ids=str)
def test_only_processes_of_the_same_settings_tell_each_other(other: dict[str, Any], folder: Path) -> None:
    usual = {"secret_key": "sk_test_fleet", "redis_url": "redis://127.0.0.1:1/0", "feed_directory": str(folder)}

    def socket_with(**options: Any) -> Path:
        feed = RedisRevocations(Settings.load({**usual, **options}, {}), Revocations(retention=300.0))
        assert feed._worker._machine is not None
        return feed._worker._machine._socket

    assert socket_with() == socket_with()
    assert socket_with(**other) != socket_with()
