"""An event loop that is not asyncio's, as that of ``hypercorn --worker-class trio``: one clear sentence."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from moonkey_core import AsyncMoonKey, ConfigurationError
from moonkey_starlette import MoonKeyMiddleware


def driven(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it on no event loop that asyncio knows."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the app has been called")


@pytest.fixture
def middleware() -> MoonKeyMiddleware:
    return MoonKeyMiddleware(app, AsyncMoonKey(secret_key="sk_test_x"))


async def receive() -> Message:
    return {"type": "lifespan.startup"}


def test_the_server_is_told_at_its_start(middleware: MoonKeyMiddleware) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(ConfigurationError, match="asyncio only"):  # as Starlette itself does, after it
        driven(middleware({"type": "lifespan"}, receive, send))
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    assert "asyncio only" in message["message"]
    assert "--worker-class asyncio" in message["message"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_lifespan_each_request_says_it(middleware: MoonKeyMiddleware, kind: str) -> None:
    async def send(message: Message) -> None:
        raise AssertionError("something was sent")

    with pytest.raises(ConfigurationError, match="asyncio only"):
        driven(middleware({"type": kind}, receive, send))
