"""What one process of a machine tells its siblings: all entries, in order, and never more than it knows."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core.redis.recent import Recent, Reply, parse_reply, parse_request, reply_line, request_line
from moonkey_core.redis.stream import Row, ServerClock, Stream, StreamEpoch

SIZES = st.lists(st.integers(0, 700), max_size=12)


def rows(first: int, count: int) -> list[Row]:
    return [(b"%d-0" % number, b"value %d" % number) for number in range(first, first + count)]


async def told(recent: Recent, after: bytes) -> tuple[list[Row] | None, int]:
    """All that a sibling is told which asks until it knows all, and how often it asked."""
    found: list[Row] = []
    for asked in range(1, 100):
        reply, _ = await recent.reply(found[-1][0] if found else after, -math.inf, 0.0)
        if reply.rows is None:
            return None, asked
        found.extend(reply.rows)
        if reply.complete_after is not None:
            return found, asked
    raise AssertionError("it is never told that this is all")


@given(SIZES, st.integers(0, 5_000))
def test_a_sibling_is_told_all_in_order(sizes: list[int], known: int) -> None:
    async def check() -> None:
        recent, end = Recent("stream", b"0-0"), 1
        for size in sizes:
            recent.add(rows(end, size))
            end += size
        recent.prove(1.0)
        found, _ = await told(recent, b"%d-0" % known)
        if known < end - 5_001:
            assert found is None
        else:
            assert found == rows(known + 1, max(end - known - 1, 0))

    asyncio.run(check())


def test_it_says_nothing_of_how_complete_it_is_before_it_knows() -> None:
    recent = Recent("stream", b"5-0")
    assert asyncio.run(recent.reply(b"5-0", -math.inf, 0.01))[0] == Reply([], None)
    assert asyncio.run(recent.reply(b"4-0", -math.inf, 0.01))[0] == Reply(None, None)


def test_it_waits_until_there_is_something_to_tell() -> None:
    async def check() -> None:
        recent = Recent("stream", b"0-0")
        recent.prove(1.0)
        waiting = asyncio.create_task(recent.reply(b"0-0", 1.0, math.inf))
        await asyncio.sleep(0)
        recent.prove(0.5)  # an older one is none
        await asyncio.sleep(0)
        assert not waiting.done()
        recent.add(rows(1, 1))
        reply, at = await waiting
        assert (reply.rows, at) == (rows(1, 1), 1.0)
        waiting = asyncio.create_task(recent.reply(b"1-0", 1.0, math.inf))
        recent.prove(2.0)
        assert (await waiting)[1] == 2.0

    asyncio.run(check())


def test_memory_is_bounded_by_bytes_too() -> None:
    recent = Recent("stream", b"0-0")
    recent.add((b"%d-0" % number, b"x" * 4000) for number in range(1, 2_000))
    assert recent._bytes <= 2 * 1024 * 1024
    recent.add([(b"3000-0", b"x" * 1_000_000), (b"3001-0", object())])  # foreign: passed on as empty
    assert recent._after(b"1999-0") == [(b"3000-0", b""), (b"3001-0", b"")]


@given(st.lists(st.tuples(st.integers(0, 2**63), st.integers(0, 2**63), st.binary(max_size=50))), st.floats())
def test_lines_say_what_they_were_given(given_rows: list[tuple[int, int, bytes]], at: float) -> None:
    sent = Reply([(b"%d-%d" % (one, two), value) for one, two, value in given_rows], at)
    if math.isfinite(at):
        assert parse_reply(reply_line(sent)) == sent
    else:
        with pytest.raises(ValueError, match="not a reply"):
            parse_reply(reply_line(sent))
    assert parse_reply(reply_line(Reply(None, None))) == Reply(None, None)
    assert parse_request(request_line("moonkey:{a}:feed:b", b"12-3")) == ("moonkey:{a}:feed:b", b"12-3")


@given(st.binary(max_size=60))
def test_other_lines_are_refused(line: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with pytest.raises(ValueError):  # noqa: PT011
            parse(line + b"\n")


def test_entries_that_are_known_change_nothing_in_the_stream() -> None:
    stream = Stream(None, "root", StreamEpoch(b"0" * 32 + b".1", 0.0, False), 1.0, 60.0, ServerClock(5.0))
    stream.start_after(b"100-0")
    for _ in range(30):  # more often than an entry may pass before the place is moved from which it is read again
        assert stream.take_over(rows(1, 2)) == []
    assert (stream.last_id, stream._anchor) == (b"100-0", None)
    assert stream.take_over(rows(99, 3)) == [(0.101, b"value 101")]
