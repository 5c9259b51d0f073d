"""The key-set part: a crowd on a cold key set, and a flood of unknown key ids around the rotation of a key."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import contenders_keys as who
from contenders_keys import Keyed
from results import Goal, Section, Table, number, rest
from service import Upstream
from tokens import KID, bad, good, key_set, mint, pool, unknown_kid

TASKS, THREADS, KIDS, SENDERS = 1_000, 200, 1_000, 4
FETCH = 0.05  # seconds that a fetch of the key set takes
NEW = "jwk-test-2"
PATIENCE = 35.0  # seconds that everybody is given to accept the new key; less where ours have done so
FLOOD = 8.0  # seconds that a flood may take


@dataclass
class Flood:
    """What came of a flood. Latencies are milliseconds."""

    sent: int = 0
    fetches: int = 0
    accepted_bad: int = 0
    quiet: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    refused_good: int = 0
    tries: int = 0
    new_key_after: float | None = None

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.quiet), statistics.median(self.busy)

    @property
    def ratio(self) -> float:
        quiet, busy = self.medians
        return busy / quiet

    @property
    def sound(self) -> bool:
        """Whether it did all that ours are to do."""
        right = not self.accepted_bad and not self.refused_good and self.sent == KIDS
        return right and self.fetches <= 3 and self.new_key_after is not None and self.ratio <= 1.5


class Runner:
    """Verifies for a contender from threads, whichever kind it is: an asynchronous one has a loop in a thread."""

    def __init__(self, keyed: Keyed, upstream: Upstream) -> None:
        self._is_async = keyed.is_async
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.verify = self.run(_made(keyed, upstream))

    def run(self, job: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(60)

    def crowd(self, tokens: list[str]) -> list[bool]:
        """Verify all at once: as tasks, or as threads that start together."""
        if self._is_async:
            found: list[bool] = self.run(_together(self.verify, tokens))
            return found
        gate = threading.Barrier(len(tokens))

        def one(token: str) -> bool:
            gate.wait(30)
            return _safely(self.verify, token)

        with ThreadPoolExecutor(len(tokens)) as threads:
            return list(threads.map(one, tokens))

    def flood(self, flood: Flood, tokens: list[str], goods: list[str]) -> None:
        """Four senders of bad tokens, and one of good ones that takes the time."""
        if self._is_async:
            self.run(_aflood(self.verify, flood, tokens, goods))
        else:
            _flood(self.verify, flood, tokens, goods)

    def accepts(self, token: str) -> bool:
        """Whether this token is taken for good, now."""
        return bool(self.run(_asafely(self.verify, token)) if self._is_async else _safely(self.verify, token))

    def timed(self, goods: list[str]) -> list[float]:
        """Milliseconds of each good token, with nothing else going on."""
        flood = Flood()
        self.flood(flood, [], goods)
        return flood.busy

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


async def _made(keyed: Keyed, upstream: Upstream) -> Callable[[str], Any]:
    return keyed.make(upstream)


def _safely(verify: Callable[[str], Any], token: str) -> bool:
    try:
        return bool(verify(token))
    except Exception:
        return False


async def _asafely(verify: Callable[[str], Any], token: str) -> bool:
    try:
        return bool(await verify(token))
    except Exception:
        return False


async def _together(verify: Callable[[str], Any], tokens: list[str]) -> list[bool]:
    return await asyncio.gather(*(_asafely(verify, token) for token in tokens))


def _flood(verify: Callable[[str], Any], flood: Flood, tokens: list[str], goods: list[str]) -> None:
    end, left = time.perf_counter() + FLOOD, iter(tokens)
    over, lock = threading.Event(), threading.Lock()

    def send() -> None:
        while time.perf_counter() < end:
            with lock:
                token = next(left, None)
            if token is None:
                return
            taken = _safely(verify, token)
            with lock:
                flood.sent += 1
                flood.accepted_bad += taken

    senders = [threading.Thread(target=send) for _ in range(SENDERS if tokens else 0)]
    for sender in senders:
        sender.start()
    threading.Thread(target=lambda: ([sender.join() for sender in senders], over.set())).start()
    for token in goods:
        began = time.perf_counter()
        flood.refused_good += not _safely(verify, token)
        flood.busy.append((time.perf_counter() - began) * 1e3)
        if tokens and over.is_set():
            break
    over.wait(FLOOD * 2)


async def _aflood(verify: Callable[[str], Any], flood: Flood, tokens: list[str], goods: list[str]) -> None:
    end, left = time.perf_counter() + FLOOD, iter(tokens)

    async def send() -> None:
        for token in left:
            flood.accepted_bad += await _asafely(verify, token)
            flood.sent += 1
            await asyncio.sleep(0)  # as between two requests
            if time.perf_counter() > end:
                return

    senders = asyncio.gather(*(send() for _ in range(SENDERS if tokens else 0)))
    for token in goods:
        began = time.perf_counter()
        flood.refused_good += not await _asafely(verify, token)
        flood.busy.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0)
        if tokens and senders.done():
            break
    await senders


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("The key set under pressure (a fetch takes 50 ms)")
    contenders = [one for one in who.ALL if not quick or one.name != "clerk, threads"]
    with Upstream(key_set(), jwks_delay=FETCH) as upstream:
        contenders = [keyed for keyed in contenders if _fit(section, keyed, upstream)]
        _cold(section, contenders, upstream)
        _floods(section, contenders, upstream)
    return section


def _fit(section: Section, keyed: Keyed, upstream: Upstream) -> bool:
    try:
        runner = Runner(keyed, upstream)
    except ImportError as error:
        section.failed.append(f"{keyed.name}: {error}")
        return False
    fit = runner.accepts(good(keyed.flavour))
    wrong = [what for what, token in bad(keyed.flavour).items() if runner.accepts(token)]
    runner.stop()
    if not fit or wrong:
        section.failed.append(
            f"{keyed.name}: not run: {'accepted ' + wrong[0] if wrong else 'refused a good token'}"
        )
    return fit and not wrong


def _cold(section: Section, contenders: list[Keyed], upstream: Upstream) -> None:
    table = Table("A crowd on a cold key set", ["contender", "at once", "fetches", "failed", "seconds"])
    found: dict[str, tuple[int, int]] = {}
    for keyed in contenders:
        many = TASKS if keyed.is_async else THREADS
        tokens = (pool(keyed.flavour, THREADS) * (many // THREADS))[:many]
        runner = Runner(keyed, upstream)
        upstream.set(reset=True)
        start = time.perf_counter()
        answers = runner.crowd(tokens)
        seconds = time.perf_counter() - start
        found[keyed.name] = fetches, failed = upstream.count("jwks"), answers.count(False)
        runner.stop()
        at_once = f"{many:,} {'tasks' if keyed.is_async else 'threads'}"
        table.rows.append([keyed.name, at_once, f"{fetches:,}", f"{failed:,}", number(seconds)])
    section.tables.append(table)
    own = {keyed.name: found[keyed.name] for keyed in contenders if keyed.own}
    peers = {keyed.name: found[keyed.name] for keyed in contenders if not keyed.own}
    section.goals.append(
        Goal(
            "cold-keys",
            f"{TASKS:,} tasks or {THREADS} threads on a cold key set",
            "1 fetch, none failed",
            "; ".join(f"{name}: {fetches} fetch(es), {failed} failed" for name, (fetches, failed) in own.items()),
            bool(own) and all(one == (1, 0) for one in own.values()),
            "; ".join(f"{name}: {fetches}, {failed} failed" for name, (fetches, failed) in peers.items()),
        )
    )


def _floods(section: Section, contenders: list[Keyed], upstream: Upstream) -> None:
    # Ours come last, so that the key is rotated right after their floods; the others' cooldowns may have run down.
    ordered = sorted(contenders, key=lambda keyed: keyed.own)
    runners = {keyed.name: Runner(keyed, upstream) for keyed in ordered}
    floods = {keyed.name: _one_flood(keyed, runners[keyed.name], upstream) for keyed in ordered}
    waited = _rotate(ordered, runners, floods, upstream)
    for runner in runners.values():
        runner.stop()
    columns = ["contender", "tokens sent", "fetches", "good p50 quiet, ms", "good p50 flood, ms", "ratio"]
    table = Table(f"{KIDS:,} random key ids, then a real new key", [*columns, "new key accepted"])
    for keyed in contenders:
        flood = floods[keyed.name]
        counts = [f"{flood.sent:,}", f"{flood.fetches:,}"]
        after = _after(flood.new_key_after, waited)
        table.rows.append([keyed.name, *counts, *map(number, flood.medians), number(flood.ratio), after])
        if flood.accepted_bad or flood.refused_good:
            wrong = f"{flood.accepted_bad} bad tokens for good, {flood.refused_good} good for bad"
            table.notes.append(f"{keyed.name} took {wrong}")
    table.notes.append("good tokens are at first sight, so that each needs a key; fetches are those of the flood")
    section.tables.append(table)
    section.goals.append(_flood_goal(contenders, floods, waited))


def _one_flood(keyed: Keyed, runner: Runner, upstream: Upstream) -> Flood:
    goods = pool(keyed.flavour, 2_000)
    tokens = [unknown_kid(goods[0]) for _ in range(KIDS)]
    runner.accepts(good(keyed.flavour))
    runner.timed(goods[:200])  # whatever is made on first use
    flood = Flood(quiet=runner.timed(goods[200:500]))
    upstream.set(reset=True)
    runner.flood(flood, tokens, goods[500:])
    flood.fetches = upstream.count("jwks")
    return flood


def _rotate(
    contenders: list[Keyed], runners: dict[str, Runner], floods: dict[str, Flood], upstream: Upstream
) -> float:
    """Publish a new key and try a token of it until all of ours take it; returns the seconds that took."""
    fresh = {keyed.name: mint(5, keyed.flavour, kid=NEW) for keyed in contenders}
    upstream.set(jwks=key_set(KID, NEW))
    start = time.perf_counter()
    rest()  # hardly anything is done any more but waiting for a refill
    while (waited := time.perf_counter() - start) < PATIENCE:
        for name, token in fresh.items():
            began = time.perf_counter()
            if floods[name].new_key_after is None and runners[name].accepts(token):
                # "At once" is within the call that brought the key; else it is the time since publication.
                first = floods[name].tries == 0
                floods[name].new_key_after = time.perf_counter() - (began if first else start)
            floods[name].tries += 1
        if all(floods[keyed.name].new_key_after is not None for keyed in contenders if keyed.own):
            break
        time.sleep(0.25)
    return waited


def _flood_goal(contenders: list[Keyed], floods: dict[str, Flood], waited: float) -> Goal:
    lines: dict[bool, list[str]] = {True: [], False: []}
    for keyed in contenders:
        flood = floods[keyed.name]
        after = _after(flood.new_key_after, waited)
        lines[keyed.own].append(
            f"{keyed.name}: {flood.fetches} fetches, new key {after}, p50 x {number(flood.ratio)}"
        )
    own = [floods[keyed.name].sound for keyed in contenders if keyed.own]
    return Goal(
        "unknown-kids",
        f"{KIDS:,} random kids, then a real new key",
        "≤ 3 fetches; the new key at once, or after one refill; good tokens' p50 within 1.5 x",
        "; ".join(lines[True]),
        bool(own) and all(own),
        "; ".join(lines[False]),
    )


def _after(seconds: float | None, patience: float) -> str:
    if seconds is None:
        return f"not within {patience:.0f} s"
    return "at once" if seconds < FETCH * 3 else f"after {number(seconds)} s"
