"""Requests with a body that is cut, malformed or not what it says: byte by byte, as no good client sends them."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit

from support.patience import PATIENCE

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = FORM + b"Transfer-Encoding: chunked\r\n"
END = b"\r\n\r\n"


def _length(length: object, kind: bytes = FORM) -> bytes:
    return kind + f"Content-Length: {length}\r\n".encode("latin-1")


def _whole(body: bytes, kind: bytes = FORM) -> tuple[bytes, bytes]:
    return _length(len(body), kind), body


CUT: dict[str, tuple[bytes, bytes]] = {
    "shorter than it says": (_length(100), b"a=b"),
    "not there at all": (_length(100), b""),
    "no chunk": (CHUNKED, b""),
    "a chunk cut": (CHUNKED, b"5\r\na"),
    "no end of a chunk": (CHUNKED, b"3\r\na=b"),
    "no last chunk": (CHUNKED, b"3\r\na=b\r\n"),
}
"""Nothing may be done for these."""

MALFORMED: dict[str, tuple[bytes, bytes]] = {
    "a chunk of no size": (CHUNKED, b"zz\r\n"),
    "a chunk of a negative size": (CHUNKED, b"-3\r\na=b\r\n0" + END),
    "a chunk of a huge size": (CHUNKED, b"f" * 20 + b"\r\na=b\r\n0" + END),
    "a chunk with a wrong end": (CHUNKED, b"3\r\na=bXX0" + END),
    "a long chunk extension": (CHUNKED, b"3;" + b"a" * 20_000 + b"\r\na=b\r\n0" + END),
    "a second chunk of no size": (CHUNKED, b"3\r\na=b\r\nzz\r\n"),
    "chunks with bare line feeds": (CHUNKED, b"3\na=b\n0\n\n"),
    "a malformed trailer": (CHUNKED, b"3\r\na=b\r\n0\r\nno trailer" + END),
    "chunks and a length": (CHUNKED + b"Content-Length: 3\r\n", b"3\r\na=b\r\n0" + END),
    "an unknown coding": (FORM + b"Transfer-Encoding: xchunked\r\n", b"3\r\na=b\r\n0" + END),
    "a coding before chunked": (FORM + b"Transfer-Encoding: gzip, chunked\r\n", b"3\r\na=b\r\n0" + END),
    "a negative length": (_length(-5), b"a=b"),
    "a length in words": (_length("three"), b"a=b"),
    "a length with a sign": (_length("+3"), b"a=b"),
    "a length of a fraction": (_length("3.0"), b"a=b"),
    "a length in superscript": (_length("\xb3"), b"a=b"),
    "a length of five thousand digits": (_length("9" * 5000), b"a=b"),
    "two lengths": (_length(3) + b"Content-Length: 5\r\n", b"a=b"),
    "longer than it says": (_length(3), b"a=b&next=/a"),
    "an unknown charset": (b"Content-Type: application/json; charset=nonsense\r\nContent-Length: 2\r\n", b"{}"),
    "a wrong charset": _whole(b"a=b", FORM.replace(b"\r\n", b"; charset=utf-16\r\n")),
    "a content type of garbage": _whole(b"a=b", b"Content-Type: \xff\xfe;;=;\r\n"),
    "two content types": _whole(b"a=b", FORM + JSON),
    "no content type": _whole(b"a=b", b""),
    "a content coding": _whole(b"a=b", FORM + b"Content-Encoding: gzip\r\n"),
    "parts without a boundary": _whole(b"a=b", b"Content-Type: multipart/form-data\r\n"),
    "parts that are broken": _whole(
        b"--x\r\nContent-Disposition: form-data; na", b"Content-Type: multipart/form-data; boundary=x\r\n"
    ),
    "broken JSON": _whole(b"{a}", JSON),
    "deep JSON": _whole(b"[" * 15_000, JSON),
    "deep JSON objects": _whole(b'{"a":' * 3000, JSON),
    "not a number": _whole(b'{"a":NaN}', JSON),
    "an endless number": _whole(b'{"a":1e9999999}', JSON),
    "a number of thousands of digits": _whole(b'{"a":' + b"1" * 8000 + b"}", JSON),
    "a lone surrogate": _whole(b'{"address":"\\ud800"}', JSON),
    "JSON in another encoding": _whole("{}".encode("utf-16"), JSON),
    "a NUL": _whole(b"address=%00"),
    "broken escapes": _whole(b"address=%zz%f&x=%%%%"),
    "escapes that are no text": _whole(b"address=%ff%fe"),
    "bytes that are no text": _whole(b"address=\xff\xfe"),
    "a thousand fields": _whole(b"a=b&" * 1000),
    "only joints": _whole(b"&" * 10_000),
    "a field twice": _whole(b"address=a&address=b"),
    "too long": _whole(b"a" * 20_000),
    "too long in chunks": (CHUNKED, b"4e20\r\n" + b"a" * 20_000 + b"\r\n0" + END),
}

BODIES = {**CUT, **MALFORMED}


def answer_to(
    url: str, path: str, body: tuple[bytes, bytes], *, headers: bytes = b"", resets: bool = False
) -> int:
    """The status of the answer to a POST, after which the client says no more; 0 where there is no answer.

    ``resets``: the client does not wait for one.
    """
    parts = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n".encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(head + headers + body[0] + b"\r\n" + body[1])
            if resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return 0
            connection.shutdown(socket.SHUT_WR)
            while b"\r\n" not in answer and (piece := connection.recv(4096)):
                answer += piece
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0
