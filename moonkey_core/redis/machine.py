"""One reader of the stream for all processes of a machine.

Each process that reads the stream costs Redis the same. Where ``feed_directory`` names a folder, one of them
reads it for all: it tells its siblings through a unix socket what was added (entries stay sealed), and up to when
that is all. Which one that is, a lock of the system decides, which ends with its process.

Nothing is relied on that was not proved in time. A sibling that is told nothing for more than half of the lag asks
Redis itself, as it would without a reader; and where the reader has ended, one of them takes its place at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from moonkey_core import _clock, _threads
from moonkey_core._fork import reset_after_fork
from moonkey_core._repeated_log import log_repeated
from moonkey_core.redis.reader import Reader
from moonkey_core.redis.recent import (
    MAX_LINE,
    Recent,
    parse_reply,
    parse_request,
    reply_line,
    request_line,
)
from moonkey_core.redis.stream import Stream

logger: logging.Logger = logging.getLogger("moonkey")

_POLLS_PER_LAG = 5
_MAX_PAUSE = 5.0  # seconds between two attempts to be told, while the reader hangs
_PLACE_SECONDS = 10.0  # between two looks at whether siblings can still find the one that tells them
_MAX_SIBLINGS = 1_000
_OWN_READ_SECONDS = 10.0  # between two looks into the stream of a process that is told
_TOLD_WITHIN = 0.6  # of the lag: a process that is told reads later than the one that tells it, which takes 0.4
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_locks: set[int] = set()  # descriptors of this process, not to be kept by the child of a fork


class MachineFeed:
    """The part of one process in the reader that the processes of a machine share.

    Args:
        directory: A folder that belongs to the user of the app, with a mode of 0700.
        name: Tells the feeds apart whose processes share the folder.
        reader: Takes in what is read or told.
        max_lag: Seconds that the process may be behind the stream.

    Attributes:
        is_telling: Whether this process reads the stream for its siblings.
        is_told: Whether another process does that for this one.
    """

    def __init__(self, directory: str, name: str, reader: Reader, max_lag: float) -> None:
        self._directory = Path(directory)
        self._socket: Final = self._directory / f"{name}.sock"
        self._lock: Final = self._directory / f"{name}.lock"
        self._reader = reader
        self._max_lag = max_lag
        self._first_pause = max_lag / _POLLS_PER_LAG
        self._files: dict[Path, tuple[int, int]] = {}  # of the files by which it tells
        self.is_telling: bool = False
        self.is_told: bool = False

    async def run(self, stream: Stream) -> None:
        """Know all entries of a stream, as the reader alone would, until it is lost or the task is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reader.follow(stream))
            tasks.create_task(self._listen(stream))

    async def _listen(self, stream: Stream) -> None:
        pause = self._first_pause
        while True:
            async with AsyncExitStack() as stack:
                if await self._lead(stream, stack):
                    while self._is_in_place():
                        await self._reader.listen(stream, seconds=_PLACE_SECONDS)
            if await self._hear(stream):
                pause = self._first_pause
            await self._reader.listen(stream, seconds=pause)
            pause = min(2 * pause, _MAX_PAUSE)

    async def _lead(self, stream: Stream, stack: AsyncExitStack) -> bool:
        """Try to be the one that reads for all, until the stack ends, and return whether this process is."""
        try:
            if not stack.enter_context(self._holding_lock()):
                return False
            await stack.enter_async_context(self._telling(stream))
        except OSError as error:
            _log_unusable(error)
            return False
        return True

    @contextmanager
    def _holding_lock(self) -> Iterator[bool]:
        """Try to get the lock, and say whether this process has it.

        Raises:
            OSError: The folder or the lock cannot be used.
        """
        import fcntl  # not on Windows, where the setting is refused

        check_directory(self._directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(self._lock, flags, 0o600)
        _locks.add(lock)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            self._files = {self._lock: _identity(os.fstat(lock))}
            yield self._is_in_place()
        finally:
            _locks.discard(lock)
            os.close(lock)

    def _is_in_place(self) -> bool:
        """Return whether the files of this process, which reads for all, are still those that siblings find.

        Where they were deleted, as by what cleans up old files, another process reads for all as well.
        """
        try:
            return all(_identity(path.stat()) == identity for path, identity in self._files.items())
        except OSError:
            return False

    @asynccontextmanager
    async def _telling(self, stream: Stream) -> AsyncIterator[None]:
        """Tell all siblings that ask what is read meanwhile."""
        recent, tasks = Recent(stream.name, stream.last_id), set[asyncio.Task[None]]()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(tasks) >= _MAX_SIBLINGS:
                writer.close()
                return
            task = asyncio.create_task(self._answer(recent, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        self._socket.unlink(missing_ok=True)  # of one that was killed
        listener = _threads.unix_listener(str(self._socket))
        self._files[self._socket] = bound = _identity(self._socket.stat())
        # Before anything else runs: another task may be about to read what no sibling would ever be told.
        stream.on_new, self._reader.on_proof = recent.add, recent.prove
        server: asyncio.Server | None = None
        try:
            server = await asyncio.start_unix_server(serve, sock=listener, limit=MAX_LINE)
            self.is_telling = True
            logger.info(
                "feed: this process reads for all of this machine (feed_directory)",
                extra={"reason": "feed_reader"},
            )
            yield
        finally:
            self.is_telling = False
            stream.on_new = self._reader.on_proof = None
            if server is None:
                listener.close()
            else:
                server.close()
            for task in tasks:
                task.cancel()
            with contextlib.suppress(OSError):
                if _identity(self._socket.stat()) == bound:  # not that of another process
                    self._socket.unlink()

    async def _answer(self, recent: Recent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one sibling, until it has ended, or asks of another stream."""
        told = -math.inf
        try:
            while line := await reader.readline():
                name, after = parse_request(line)
                if name != recent.stream:
                    return
                reply, told = await recent.reply(after, told, self._max_lag / 2)
                writer.write(reply_line(reply))
                async with asyncio.timeout(self._max_lag):
                    await writer.drain()
        except (OSError, ValueError):  # it has ended, or hangs, or is none of ours
            pass
        finally:
            writer.close()

    async def _hear(self, stream: Stream) -> bool:
        """Be told by the one that reads for all, for as long as it does. Returns whether it did at all."""
        try:
            check_directory(self._directory)
            async with asyncio.timeout(self._max_lag):
                reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=MAX_LINE)
        except (OSError, TimeoutError):  # it is about to begin, has just ended, or hangs
            return False
        try:
            while True:
                asked_at = _clock.elapsed()
                writer.write(request_line(stream.name, stream.last_id))
                try:
                    async with asyncio.timeout(self._max_lag):
                        reply = parse_reply(await reader.readline())
                except (OSError, ValueError, TimeoutError):
                    return self.is_told
                if not self.is_told:
                    # The one that told it before may have ended for what holds here, too: a fail-over, a clock
                    # that was set. This process would notice it when it looks only, seconds later.
                    await self._reader.read_new(stream)
                    self._set_told(True)
                if reply.rows is None:
                    await self._reader.read_new(stream)
                    continue
                complete_at = None if reply.complete_after is None else asked_at + reply.complete_after
                self._reader.take_over(stream, reply.rows, complete_at)
        finally:
            self._set_told(False)
            writer.close()

    def _set_told(self, is_told: bool) -> None:
        if is_told is not self.is_told:
            self.is_told = is_told
            if is_told:
                self._reader.set_pace(_TOLD_WITHIN * self._max_lag, max(_OWN_READ_SECONDS, self._max_lag))
            else:
                self._reader.set_pace()


def check_directory(directory: Path) -> None:
    """Check that no other user than that of this process can use a folder.

    Another user could otherwise tell the processes that nothing is revoked.

    Raises:
        OSError: It does not exist, is no folder, or is open to others.
    """
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "it is no folder")
    if found.st_uid != os.geteuid():
        raise PermissionError(1, "it belongs to another user than the one of this process")
    if found.st_mode & _OTHERS:
        raise PermissionError(1, "other users can use it: chmod 700")


def _log_unusable(error: OSError) -> None:
    log_repeated(
        logging.WARNING,
        "feed: feed_directory cannot be used (%s). This process reads the feed by itself",
        error.strerror or type(error).__name__,
        extra={"reason": "feed_directory"},
    )


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _forget_locks() -> None:
    """Close the locks of the parent in the child of a fork, which would keep them after the end of the parent."""
    for lock in _locks:
        with contextlib.suppress(OSError):
            os.close(lock)
    _locks.clear()


reset_after_fork(_forget_locks)
