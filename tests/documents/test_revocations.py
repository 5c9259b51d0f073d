"""The document on revocations names every state, and shows how to wait."""

from __future__ import annotations

import re
from typing import get_args

from moonkey_core import MoonKey, RevocationHandle, RevocationState
from support.documents import block, text
from support.feeds import is_published
from support.redis_server import RedisServer, need_redis

DOCUMENT = "docs/revocations.md"


def test_its_states_are_those_that_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", text(DOCUMENT), re.MULTILINE)
    assert set(rows) == set(get_args(RevocationState))


def test_its_example() -> None:
    need_redis()
    with RedisServer() as server, MoonKey("sk_test_docs", redis_url=server.url) as client:
        handle = block(DOCUMENT, "handle").run(client=client, session_id="sess_1")["handle"]
        assert isinstance(handle, RevocationHandle)
        assert is_published(handle)
