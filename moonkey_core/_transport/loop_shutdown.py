"""Closing what belongs to an event loop together with that loop, even where nobody says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable


class ClosesWithLoop:
    """Calls ``close`` when the running event loop shuts down, once :meth:`watch` was called there.

    A loop that shuts down closes the asynchronous generators it has started: that is how connections are given
    back on the loop they belong to, even where nobody calls ``aclose()``.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._guard = self._until_shutdown()
        self._is_watching = False

    async def watch(self) -> None:
        """From now on it is closed with the loop, if not before."""
        if not self._is_watching:
            self._is_watching = True
            await anext(self._guard)

    async def _until_shutdown(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self._close()
