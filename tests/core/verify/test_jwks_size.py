"""A key set has at most 512 KiB, counted after inflating, whatever carries it (rule S15)."""

from __future__ import annotations

import gzip
import json
import time

import pytest

from support.asking import asked, trouble
from support.odd_jwts import ISSUER, good, key_set
from support.scripted import reply, scripted

KIB = 1024
KEYS = json.dumps(key_set()).encode()


@pytest.mark.rule("S15")
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(("size", "fits"), [(512 * KIB, True), (512 * KIB + 1, False)])
def test_the_most_that_is_read(how: str, encoding: str, size: int, fits: bool) -> None:
    body = KEYS + b" " * (size - len(KEYS))
    body = gzip.compress(body) if encoding == "gzip" else body
    with scripted(reply(200, body, {"content-encoding": encoding})) as server:
        auth = asked(server.url, how, good(time.time()), jwt_issuer=ISSUER)
        if fits:
            assert auth.is_authenticated
        else:
            assert trouble(auth).reason == "jwks_too_large"
