"""Many simulated readers of the feed in one thread: each has two connections, and sends what a process sends."""

from __future__ import annotations

import heapq
import math
import select
import socket
import struct
import time
from array import array
from dataclasses import dataclass, field

from fleet_commands import MAX_SINCE_ANCHOR, Commands, bulk_block, bulk_id

from moonkey_core.redis.reader import WakeUps

_SO_TIMESTAMPNS = 35  # of Linux; the socket module does not name it
_TIMESTAMP = struct.Struct("qq")
_BUFFER = 262_144
_MAX_PARSED = 20_000
READS_EVERY = 0.4  # of the lag
LOOKS_EVERY = 10.0  # seconds: a process that another one of its machine tells
_MAX_SEQUENCE = 2**64 - 1


@dataclass
class Seen:
    """What all readers have received: of each entry its id and when it arrived, by the clock of this machine.

    The arrival is that in the kernel. So it does not count how long this thread takes to get to it.
    """

    ids: list[bytes] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("I"))
    times: array[float] = field(default_factory=lambda: array("d"))


class Reader:
    """One of them, which knows all entries up to ``last_id``, and reads again those from ``anchor`` on.

    One that ``is_told`` by another process of its machine only looks now and then.
    """

    __slots__ = ("anchor", "full_read_at", "is_told", "known_at", "last_id", "reads", "since_anchor", "wake_ups")

    def __init__(self, last_id: bytes, reads: int, max_lag: float, is_told: bool) -> None:
        self.is_told = is_told
        self.last_id = self.anchor = last_id
        self.since_anchor = 0
        self.reads = reads
        self.known_at = self.full_read_at = -math.inf
        self.wake_ups = WakeUps(max_lag)


class Connection:
    """One of the two connections of a reader: that which waits for entries, or that for its reads."""

    __slots__ = ("buffer", "is_reading", "reader", "sent_at", "socket")

    def __init__(self, port: int, reader: Reader, *, is_reading: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.reader = reader
        self.is_reading = is_reading
        self.sent_at = 0.0
        self.buffer = b""


class Readers:
    """All of them.

    Args:
        port: Where Redis listens.
        count: How many there are.
        told: How many there are besides, each of which another process of its machine tells.
        commands: What each sends.
        epoch: The epoch of the stream.
        last_id: The id of the last entry of the stream.
        max_lag: Seconds that a reader may be behind the stream.
    """

    def __init__(
        self,
        port: int,
        count: int,
        commands: Commands,
        epoch: bytes,
        last_id: bytes,
        max_lag: float,
        told: int = 0,
    ) -> None:
        self._commands = commands
        self._epoch = b"$%d\r\n%b\r\n" % (len(epoch), epoch)
        self._interval = READS_EVERY * max_lag
        self._max_wait, self._max_lag = min(5 * max_lag, 5.0), max_lag
        self._block = bulk_block(int(self._max_wait * 1000))
        self._numbers: dict[bytes, int] = {}
        self._parsed: dict[bytes, list[bytes]] = {}
        self.seen = Seen()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._due: list[tuple[float, int]] = []  # when a connection sends next, and which
        now = time.monotonic()
        for place in range(count + told):
            reader = Reader(last_id, place, max_lag, place >= count)
            for is_reading in (False, True):
                made = Connection(port, reader, is_reading=is_reading)
                self._connections[made.socket.fileno()] = made
                self._epoll.register(made.socket.fileno(), select.EPOLLIN)
                if reader.is_told and not is_reading:
                    continue
                spread = LOOKS_EVERY * place / told if reader.is_told else self._interval * place / count
                heapq.heappush(self._due, (now + spread if is_reading else now, made.socket.fileno()))

    def run(self, seconds: float) -> float:
        """Read for so long. Returns how many seconds of CPU this thread took."""
        end, began = time.monotonic() + seconds, time.thread_time()
        while (now := time.monotonic()) < end:
            while self._due and self._due[0][0] <= now:
                self._send(heapq.heappop(self._due)[1])
            next_at = self._due[0][0] if self._due else end
            for number, _ in self._epoll.poll(max(min(next_at, end) - time.monotonic(), 0.0)):
                self._receive(self._connections[number])
        return time.thread_time() - began

    def forget(self) -> None:
        """Begin to count anew."""
        self.seen = Seen()
        self._numbers.clear()
        self._parsed.clear()

    def close(self) -> None:
        """Close all connections."""
        for one in self._connections.values():
            one.socket.close()
        self._epoll.close()

    def _send(self, number: int) -> None:
        one, now = self._connections[number], time.monotonic()
        reader = one.reader
        if one.is_reading:
            due_at = min(reader.known_at + self._interval, reader.full_read_at + self._max_lag)
            if reader.is_told:
                due_at = reader.full_read_at + LOOKS_EVERY
            if due_at > now:
                heapq.heappush(self._due, (due_at, number))
                return
            reader.reads += 1
            sent = self._read(reader)[0] % {b"id": bulk_id(_before(reader.anchor))}
        else:
            sent = self._commands.wait % {b"block": self._block, b"id": bulk_id(reader.last_id)}
        one.sent_at = now
        one.socket.send(sent)

    def _read(self, reader: Reader) -> tuple[bytes, bool]:
        return self._commands.reads[reader.reads % len(self._commands.reads)]

    def _receive(self, one: Connection) -> None:
        try:
            data, ancillary, _, _ = one.socket.recvmsg(_BUFFER, 64)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("Redis has closed a connection")
        if data[0] == 45 and not one.buffer:  # "-"
            raise ValueError(f"Redis has refused a command: {data[:100]!r}")
        one.buffer += data
        rows = self._rows_of(one)
        if rows is None:
            return
        one.buffer = b""
        if rows:
            self._note(one, rows, ancillary[0][2] if ancillary else None)
            one.reader.known_at = max(one.reader.known_at, one.sent_at)
        now, pause = time.monotonic(), 0.0
        if one.is_reading:
            one.reader.full_read_at = one.sent_at
        elif rows:
            delay = time.time() - _parts(one.reader.last_id)[0] / 1000
            pause = one.reader.wake_ups.pause(now, now - one.sent_at, delay)
        if pause:
            heapq.heappush(self._due, (now + pause, one.socket.fileno()))
        else:
            self._send(one.socket.fileno())

    def _rows_of(self, one: Connection) -> bytes | None:
        """Return the reply to ``XREAD`` in a reply that is complete; ``None`` while it is not."""
        rows, epoch, rest = one.buffer.partition(self._epoch)
        has_time = one.is_reading and self._read(one.reader)[1]
        if not epoch or not (rest.count(b"\r\n") == 5 if has_time else not rest):
            return None
        if rows == b"*-1\r\n" and not one.is_reading:
            return b""
        if not self._is_known(rows):
            raise ValueError(f"not a reply: {rows[:100]!r}")
        return rows

    def _is_known(self, rows: bytes) -> bool:
        """Parse the reply to ``XREAD``, which is the same for most readers; return whether it is complete."""
        if rows in self._parsed:
            return True
        ids = _ids_in(rows)
        if ids is None:
            return False
        if len(self._parsed) > _MAX_PARSED:
            self._parsed.clear()
        self._parsed[rows] = ids
        return True

    def _note(self, one: Connection, rows: bytes, stamp: bytes | None) -> None:
        ids, reader = self._parsed[rows], one.reader
        reader.since_anchor += len(ids)
        if one.is_reading or reader.since_anchor > MAX_SINCE_ANCHOR:
            reader.anchor, reader.since_anchor = ids[-1], 0
        last = _parts(reader.last_id)
        new = [entry_id for entry_id in ids if _parts(entry_id) > last]
        if not new:
            return
        reader.last_id = new[-1]
        if reader.is_told:
            return  # it was told of them before
        seconds, nanos = _TIMESTAMP.unpack(stamp) if stamp else (0, 0)
        for entry_id in new:
            number = self._numbers.get(entry_id)
            if number is None:
                number = self._numbers[entry_id] = len(self._numbers)
                self.seen.ids.append(entry_id)
            self.seen.places.append(number)
            self.seen.times.append(seconds + nanos / 1e9 if stamp else time.time())


def _ids_in(reply: bytes) -> list[bytes] | None:
    """Return the ids in a reply to ``XREAD`` of one stream; ``None`` where it is not complete."""
    position = 0

    def header() -> int:
        nonlocal position
        end = reply.index(b"\r\n", position)
        value = int(reply[position + 1 : end])
        position = end + 2
        return value

    def word() -> bytes:
        nonlocal position
        length = header()
        found = reply[position : position + length]
        position += length + 2
        if position > len(reply):
            raise ValueError
        return found

    try:
        header(), header(), word()
        ids = []
        for _ in range(header()):
            header()
            ids.append(word())
            for _ in range(header()):
                word()
    except ValueError:
        return None
    return ids if position == len(reply) else None


def _parts(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def _before(entry_id: bytes) -> bytes:
    milliseconds, sequence = _parts(entry_id)
    return b"%d-%d" % ((milliseconds, sequence - 1) if sequence else (milliseconds - 1, _MAX_SEQUENCE))
