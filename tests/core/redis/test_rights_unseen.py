"""Where the rights in Redis cannot be looked at, nothing is said to be missing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from moonkey_core.redis.rights import Rights
from support.patience import PATIENCE


def test_rights_that_cannot_be_seen_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def connect() -> Any:
        raise ConnectionRefusedError("secret-of-the-server")

    rights = Rights("moonkey:{x}:feed", PATIENCE, 0)
    with caplog.at_level(logging.DEBUG, "moonkey"):
        asyncio.run(rights.check(connect))
    assert rights.sentence == ""
    assert [getattr(one, "reason", "") for one in caplog.records] == ["redis_rights_unseen"]
    assert "secret-of-the-server" not in caplog.text
