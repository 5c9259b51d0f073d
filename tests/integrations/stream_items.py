"""What streams are made of here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

running: set[str] = set()
"""Which kinds of items are being made just now."""


async def silent() -> AsyncIterator[str]:
    """One item, and then nothing for as long as it is waited for; it holds what belongs to its task meanwhile."""
    running.add("silent")
    try:
        async with asyncio.timeout(60):
            yield "data: tick\n\n"
            await asyncio.get_running_loop().create_future()
    finally:
        running.discard("silent")


def ticks() -> Iterator[str]:
    """Items without an end."""
    running.add("ticks")
    try:
        while True:
            yield "data: tick\n\n"
            time.sleep(0.01)
    finally:
        running.discard("ticks")
