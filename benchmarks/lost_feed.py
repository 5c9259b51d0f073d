"""What a lost feed costs the API: ``python benchmarks/lost_feed.py [SECONDS]``.

One process serves known sessions by JWT at a steady rate, with a redis-server and an API of the benchmark's own.
Redis is killed, and comes back empty. For each setting, a line says how many calls the API got for each request
while the feed was lost, the most in any second, and what the requests were answered; another one says the same of
the seconds after the feed was back. At last, strangers flood a process that has a budget of calls.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from bisect import bisect_right
from collections import Counter
from typing import Any

from redis_process import RedisProcess

from moonkey_core import AsyncMoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import Event, UpstreamCall

SECONDS = 20.0  # of each phase
RATE = 80.0  # requests in a second
SESSIONS = 1000
IN_USE = 300  # of them, while the feed is lost
BUDGET = 20.0  # calls in a second
STRANGERS = 10  # bad tokens for each request of a known session
PATIENCE = 60.0

MODES: dict[str, dict[str, Any]] = {
    "remote": {},
    "bounded": {"on_feed_lost": "bounded"},
    f"remote, call_budget={BUDGET:g}": {"call_budget": BUDGET},
    f"bounded, call_budget={BUDGET:g}": {"on_feed_lost": "bounded", "call_budget": BUDGET},
}


class Process:
    """A client whose calls are counted."""

    def __init__(self, emulator: Emulator, **options: Any) -> None:
        self.client = AsyncMoonKey(
            secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer, **options
        )
        self.calls: list[float] = []
        self.client.hooks.add(self._count)

    def _count(self, event: Event) -> None:
        if isinstance(event, UpstreamCall) and event.operation == "sessions.verify":
            self.calls.append(event.started_at)

    def peak(self) -> int:
        """Return the most calls in any second."""
        calls = sorted(self.calls)
        return max((bisect_right(calls, begin + 1) - place for place, begin in enumerate(calls)), default=0)

    async def state(self, credential: str) -> str:
        """Return what a request with a credential is answered."""
        auth = await self.client.authenticate({"authorization": f"Bearer {credential}"})
        return auth.state

    async def becomes(self, feed: str) -> None:
        """Wait for a state of the feed."""
        end = time.monotonic() + PATIENCE
        while self.client.health().feed != feed:
            if time.monotonic() > end:
                raise RuntimeError(f"The feed did not become {feed}.")
            await asyncio.sleep(0.02)

    async def serve(self, credentials: list[str], seconds: float, rate: float = RATE) -> Counter[str]:
        """Serve requests at a steady rate, and return how many got which answer."""
        self.calls.clear()
        states: Counter[str] = Counter()

        async def visit() -> None:
            states[await self.state(random.choice(credentials))] += 1

        began, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (now := time.monotonic() - began) < seconds:
                while number < now * rate:
                    number += 1
                    group.create_task(visit())
                await asyncio.sleep(0.005)
        return states


def shown(name: str, process: Process, states: Counter[str]) -> None:
    """Print a line for a phase."""
    total = states.total()
    answers = ", ".join(f"{count} {state}" for state, count in states.most_common())
    each, peak = len(process.calls) / total, process.peak()
    print(f"{name}: {each:.2f} calls per request, at most {peak} in a second; {total} requests: {answers}")


async def lost_and_back(name: str, options: dict[str, Any], people: list[SignedIn], emulator: Emulator) -> None:
    """Lose the feed, and get it back."""
    jwts = [person.session_jwt for person in people]
    with RedisProcess() as server:
        process = Process(emulator, redis_url=server.url, **options)
        for jwt in jwts:
            await process.state(jwt)
        await process.becomes("live")
        server.__exit__(None, None, None)
        await process.becomes("lost")
        states = await process.serve(jwts[:IN_USE], seconds())
        shown(f"{name}; lost", process, states)
        server.__enter__()
        await process.becomes("live")
        shown(f"{name}; back", process, await process.serve(jwts, seconds() / 2))
        await process.client.aclose()


async def flood(people: list[SignedIn], emulator: Emulator) -> None:
    """Let strangers with bad tokens come among the known sessions."""
    process = Process(emulator, call_budget=BUDGET)
    known = [person.session_token for person in people[: IN_USE // 10]]
    for token in known:
        await process.state(token)
        await asyncio.sleep(2 / BUDGET)
    strangers = [f"session_{number:040d}" for number in range(SESSIONS)]
    rate = BUDGET * 0.9
    other, mine = await asyncio.gather(
        process.serve(strangers, seconds(), rate * STRANGERS), process.serve(known, seconds(), rate)
    )
    print(f"call_budget={BUDGET:g}, known sessions at {rate:g} a second: {dict(mine)}")
    print(
        f"strangers at {rate * STRANGERS:g} a second meanwhile: {dict(other)}; "
        f"at most {process.peak()} calls a second"
    )
    await process.client.aclose()


def seconds() -> float:
    """Return how long a phase lasts."""
    return float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS


def main() -> None:
    """Print the lines."""
    with Emulator() as emulator:
        people = [emulator.sign_in(email=f"person{number}@example.com") for number in range(SESSIONS)]
        for name, options in MODES.items():
            asyncio.run(lost_and_back(name, options, people, emulator))
        asyncio.run(flood(people, emulator))


if __name__ == "__main__":
    main()
