"""One clock, looked up when it is used: who freezes or moves the time does so for all of the core at once."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import time_machine
from freezegun import freeze_time

import moonkey_core
from moonkey_core import MoonKey, _clock
from moonkey_core._operations.core import Core
from moonkey_core._plan import run
from moonkey_core.redis.store import StoreSerializer
from support.decisions import Decisions
from support.odd_jwts import good
from support.scripted_api import DEAD, KnownToTheApi

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
TOKEN = "session_" + "t" * 40
PACKAGES = ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "clock_gettime"}


def modules() -> Iterator[Path]:
    root = Path(moonkey_core.__file__).parents[1]
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            # The emulator shares no code with the client.
            if "emulator" not in path.parts and path.name != "_clock.py":
                yield path


def clock_reads(source: str) -> list[str]:
    """What asks another clock than ours, or holds on to one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            is_time = node.value.id == "time" and node.attr in CLOCKS
            is_date = node.attr in ("utcnow", "today") or (node.value.id == "datetime" and node.attr == "now")
            found += [f"{node.value.id}.{node.attr}"] if is_time or is_date else []
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found.append("from time import")
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("TTLCache", "TLRUCache"):
            has_timer = any(keyword.arg == "timer" for keyword in node.keywords)
            found += [] if has_timer else ["a cache with a timer of its own"]
    return found


def test_nobody_asks_another_clock() -> None:
    assert {path.name: reads for path in modules() if (reads := clock_reads(path.read_text()))} == {}
    assert clock_reads("import time\ntime.time()\nTTLCache(1, 2)\ndatetime.now(UTC)") != []


class OwnClock(KnownToTheApi):
    """Decisions by the clock that a client has."""

    def __init__(self, good: list[str]) -> None:
        super().__init__(good, session_cache_ttl=30, refresh_jwt=False)
        self.core = Core(self.settings, run_later=lambda plan: run(plan, self.exchange))


# The servers of other tests go on in this process: a timer of theirs that is set meanwhile would never ring.
frozen_time = partial(freeze_time, START, real_asyncio=True)

Tick = Callable[[float], object]


@pytest.fixture(params=["freezegun", "time-machine"])
def tick(request: pytest.FixtureRequest) -> Iterator[Tick]:
    """The time stands still, but for ``tick(seconds)``."""
    if request.param == "freezegun":
        with frozen_time() as frozen:
            yield lambda seconds: frozen.tick(timedelta(seconds=seconds))
    else:
        with time_machine.travel(START, tick=False) as traveller:
            yield traveller.shift


@pytest.mark.usefixtures("exact_lives")
def test_everything_grows_old_together(tick: Tick) -> None:
    now = START.timestamp()
    jwt = good(now, exp=int(now) + 200, session={"expires_at": int(now) + 400})
    decisions = OwnClock([TOKEN])
    decisions.good[TOKEN] = {"session": {"expires_at": int(now) + 400}}
    decisions.core.revocations.add(session_id="sess_other")
    auth = decisions.authenticate(jwt)
    assert auth.source == "local"
    assert auth.staleness == 0
    assert auth.session is not None
    assert auth.session.expires_in == timedelta(seconds=400)
    assert decisions.authenticate(TOKEN).source == "remote"

    tick(29)
    assert auth.staleness == 29
    assert auth.session.expires_in == timedelta(seconds=371)
    assert decisions.authenticate(TOKEN).source == "cache"
    assert decisions.authenticate(jwt).source == "cache"
    tick(2)
    assert decisions.authenticate(TOKEN).source == "remote"  # past session_cache_ttl

    tick(200 + 5 - 31 - 1)
    assert decisions.authenticate(jwt).is_authenticated
    tick(1)  # its end, and the leeway
    assert decisions.authenticate(jwt).error is not None
    assert len(decisions.core.revocations) == 1
    tick(decisions.core.revocations.retention - 205)
    assert len(decisions.core.revocations) == 0
    assert _clock.now().timestamp() == _clock.wall() == time.time()


def test_what_is_remembered_for_seconds_goes_with_freezegun() -> None:
    with frozen_time() as frozen:
        decisions = Decisions(session_cache_ttl=0)
        decisions.answer = lambda fetch: DEAD
        for _ in range(3):
            assert decisions.authenticate(TOKEN).error is not None
        assert decisions.calls("verify") == 1  # the refusal is remembered for 5 seconds
        frozen.tick(6)
        assert decisions.authenticate(TOKEN).error is not None
        assert decisions.calls("verify") == 2


def test_a_client_reads_the_clock_of_the_moment() -> None:
    """Nothing was bound while the time was another."""
    with MoonKey(secret_key="sk_test_clock", base_url="http://127.0.0.1:9") as client:
        core = client._core
        with frozen_time():
            clocks = [
                core._clock,
                client.revocations.clock,
                client._session_watcher._policy.clock,
                core.breaker._wall,
            ]
            assert {clock() for clock in clocks} == {START.timestamp()}
            assert StoreSerializer.__init__.__defaults__ is not None
            assert StoreSerializer.__init__.__defaults__[0]() == START.timestamp()
            assert core.breaker._clock() == time.monotonic()


def test_a_frozen_clock_holds_up_no_deadline() -> None:
    before = time.monotonic()
    with frozen_time():
        assert time.monotonic() == time.monotonic()
        assert before <= _clock.elapsed() < before + 60
        first = _clock.elapsed()
        while _clock.elapsed() == first:
            pass
    assert _clock.elapsed() <= time.monotonic()
