"""The document on revocations names every state, and shows how to wait."""

from __future__ import annotations

import re
from typing import get_args

import pytest

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


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", DOCUMENT, "docs/mfa.md", "docs/operations.md"])
def test_nothing_is_promised_for_a_process_that_has_lost_the_feed(document: str) -> None:
    said = " ".join(text(document).split())
    assert not re.findall(r"(?:every|all|each) (?:process|worker)\w*(?: of the app)? refuses?\b", said)


@pytest.mark.parametrize("document", ["README.md", DOCUMENT])
def test_published_is_for_processes_whose_feed_is_live(document: str) -> None:
    said = " ".join(text(document).split())
    assert re.search(r"`published`(?:: | \| )every process whose feed is live", said)
