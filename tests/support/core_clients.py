"""How tests of the core make and call clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from moonkey_core import AsyncMoonKey, MoonKey
from support.scripted import Scripted, reply, scripted

MakeClient = Callable[..., MoonKey]
MakeAsyncClient = Callable[..., AbstractAsyncContextManager[AsyncMoonKey]]


class Both:
    """Calls a method by its dotted name on a blocking or an asynchronous client."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self._runner = asyncio.Runner() if kind == "async" else None
        self.client: Any = AsyncMoonKey(**options) if kind == "async" else MoonKey(**options)

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        method = self.client
        for part in name.split("."):
            method = getattr(method, part)
        result = method(*args, **kwargs)
        return self._runner.run(result) if self._runner else result

    def close(self) -> None:
        if self._runner:
            self._runner.run(self.client.aclose())
            self._runner.close()
        else:
            self.client.close()


@contextmanager
def answering(body: object, status: int = 200) -> Iterator[tuple[MoonKey, Scripted]]:
    """A client of a server that gives one and the same reply."""
    with scripted(reply(status, body)) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
        yield client, server
