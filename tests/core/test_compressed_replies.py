"""Compressed replies and key sets: whole to the last byte of their checksum, or not taken at all (S15, S22)."""

from __future__ import annotations

import gzip
import json
import time
import zlib

import pytest

from moonkey_core._transport.messages import Body, Unreadable
from support.asking import GOOD, asked, trouble
from support.odd_jwts import ISSUER, good, key_set
from support.scripted import reply, scripted

pytestmark = pytest.mark.usefixtures("quick_retries")


def cut(raw: bytes, missing: int) -> bytes:
    return raw[: len(raw) - missing]


ONE = json.dumps(GOOD).encode()
HALVES = ONE[:20], ONE[20:]
CUT: dict[str, tuple[str, bytes]] = {
    **{f"gzip, {n} bytes short": ("gzip", cut(gzip.compress(ONE), n)) for n in (1, 4, 5, 8, 9, 12)},
    **{f"deflate, {n} bytes short": ("deflate", cut(zlib.compress(ONE), n)) for n in (1, 4, 5)},
    "gzip, a wrong checksum": ("gzip", cut(gzip.compress(ONE), 8) + bytes(8)),
    "deflate, a wrong checksum": ("deflate", cut(zlib.compress(ONE), 4) + bytes(4)),
    "gzip, its header alone": ("gzip", gzip.compress(ONE)[:10]),
    "gzip, a second member begun": ("gzip", gzip.compress(ONE) + gzip.compress(b"")[:12]),
    "gzip, its second half cut": ("gzip", gzip.compress(HALVES[0]) + cut(gzip.compress(HALVES[1]), 8)),
    "gzip, zeros behind": ("gzip", gzip.compress(ONE) + bytes(64)),
    "gzip, no end of members": ("gzip", gzip.compress(ONE) + gzip.compress(b"") * 1000),
    "deflate, two streams": ("deflate", zlib.compress(HALVES[0]) + zlib.compress(HALVES[1])),
    "deflate without its frame": ("deflate", zlib.compress(ONE)[2:-4]),
    "nothing at all": ("gzip", b""),
}


@pytest.mark.parametrize(("encoding", "body"), CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("framing", ["length", "until closed"])
def test_what_is_compressed_has_to_come_to_its_end(how: str, framing: str, encoding: str, body: bytes) -> None:
    head = {"content-encoding": encoding}
    raw = reply(200, body, head)
    if framing == "until closed":
        raw = f"HTTP/1.0 200 OK\r\ncontent-encoding: {encoding}\r\n\r\n".encode() + body
    with scripted(raw) as server:
        assert trouble(asked(server.url, how)).reason in ("api_broken", "api_content")


def test_a_gzip_body_in_several_members_is_whole(how: str) -> None:
    body = gzip.compress(HALVES[0]) + gzip.compress(b"") + gzip.compress(HALVES[1])
    for encoding in ("gzip", "x-gzip", "GZIP"):
        with scripted(reply(200, body, {"content-encoding": encoding})) as server:
            assert asked(server.url, how).is_authenticated


@pytest.mark.parametrize("missing", [1, 8])
def test_a_key_set_without_its_checksum_is_no_key_set(how: str, missing: int) -> None:
    keys = gzip.compress(json.dumps(key_set()).encode())
    token = good(time.time())
    for body, is_good in ((keys, True), (cut(keys, missing), False)):
        with scripted(reply(200, body, {"content-encoding": "gzip"})) as server:
            auth = asked(server.url, how, token, jwt_issuer=ISSUER)
            assert auth.is_authenticated is is_good
            if not is_good:
                assert trouble(auth).reason == "jwks_broken"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_body_in_pieces_of_any_size(size: int) -> None:
    raw = gzip.compress(HALVES[0]) + gzip.compress(HALVES[1])
    body = Body("gzip", 10_000)
    for start in range(0, len(raw), size):
        body.add(raw[start : start + size])
    assert body.reply(200, ()).body == ONE


def test_the_bytes_before_inflating_are_bounded_as_well() -> None:
    """What inflates to nothing, for ever, is not read for ever."""
    nothing = b"\0\0\0\xff\xff" * 100  # empty stored blocks
    body = Body("gzip", 10_000)
    body.add(gzip.compress(b"")[:10])
    for _ in range(10_000 // len(nothing) - 1):
        body.add(nothing)
    with pytest.raises(Unreadable, match="too_large"):
        body.add(nothing)
