"""What counts as a request of HTTP/1, and what of it is held back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core._transport.httpx_unread import _Turn, _would_return


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", b"DELETE /x HTTP/1.1", b"CONNECT a:443 HTTP/1.1"])
def test_a_request_of_http_1(first: bytes) -> None:
    turn = _Turn()
    assert turn.begins(first)
    assert not turn.begins(b"its body")
    assert turn.is_busy


@pytest.mark.parametrize(
    "first", [b"PRI * HTTP/2.0\r\n\r\n", b"\x05\x01\x00", b"\x00\x00\x04\x08", b"\x81\x05hello"]
)
def test_what_is_none_passes_unchanged(first: bytes) -> None:
    """HTTP/2, the handshake of SOCKS, a WebSocket."""
    turn = _Turn()
    assert not turn.begins(first)
    assert turn.release() == b""
    assert turn.hand_out(b"abc") == b"abc"
    assert not turn.is_busy


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8), st.integers(0, 80))
def test_a_reader_gets_all_bytes_and_what_it_does_not_want_is_noticed(pieces: list[bytes], wanted: int) -> None:
    """Whoever reads until so many bytes are there never waits for more, and leaves something if there is more."""
    everything = b"".join(pieces)
    wanted = min(max(wanted, 1), len(everything))
    turn, waiting, got = _Turn(), list(pieces), b""
    assert turn.begins(b"GET / HTTP/1.1")
    while len(got) < wanted:
        got += turn.release() or turn.hand_out(waiting.pop(0))
    arrived = len(everything) - sum(map(len, waiting))
    assert got + turn.held == everything[:arrived]
    assert (turn.held != b"" or len(got) > wanted) == (arrived > wanted)


async def _later(count: int, result: bytes) -> bytes:
    for _ in range(count):
        await asyncio.sleep(0)
    return result


async def _never() -> bytes:
    await asyncio.get_running_loop().create_future()
    return b""


def test_a_read_that_would_end_at_once() -> None:
    async def work() -> list[bool]:
        return [_would_return(one) for one in (_later(0, b"x"), _later(3, b"x"), _later(0, b""), _never())]

    assert asyncio.run(work()) == [True, True, True, False]
