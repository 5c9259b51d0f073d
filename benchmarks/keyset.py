"""The key-set part: a crowd on a cold key set, and a flood of unknown key ids around the rotation of a key."""

from __future__ import annotations

import time

import contenders_keys as who
from contenders_keys import Keyed
from crowd import Flood, Runner
from results import Goal, Section, Table, number, rest
from service import Upstream
from tokens import KID, bad, good, key_set, mint, pool, unknown_kid

TASKS, THREADS, KIDS = 1_000, 200, 1_000
WARMUP, QUIET, BUSY = 100, 300, 400  # good tokens: not counted, before the flood, and during it at most
FETCH = 0.05  # seconds that a fetch of the key set takes
NEW = "jwk-test-2"
PATIENCE = 35.0  # seconds that everybody is given to accept the new key; less where ours have done so


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
    columns = [
        "contender",
        "tokens sent",
        "fetches",
        "good p50 quiet, ms",
        "good p50 flood, ms",
        "ratio",
        "ratio, no pauses",
    ]
    table = Table(f"{KIDS:,} random key ids, then a real new key", [*columns, "new key accepted"])
    for keyed in contenders:
        flood = floods[keyed.name]
        counts = [f"{flood.sent:,}", f"{flood.fetches:,}"]
        after = _after(flood.new_key_after, waited)
        table.rows.append(
            [keyed.name, *counts, *map(number, flood.medians), number(flood.ratio), number(flood.unpaced), after]
        )
        if flood.accepted_bad or flood.refused_good:
            wrong = f"{flood.accepted_bad} bad tokens for good, {flood.refused_good} good for bad"
            table.notes.append(f"{keyed.name} took {wrong}")
    table.notes.append("good tokens are at first sight, so that each needs a key; fetches are those of the flood")
    table.notes.append("four senders of random kids and one of good tokens, each pausing 2 ms between two")
    section.tables.append(table)
    section.goals.append(_flood_goal(contenders, floods, waited))


def _one_flood(keyed: Keyed, runner: Runner, upstream: Upstream) -> Flood:
    goods = pool(keyed.flavour, WARMUP + QUIET + BUSY)
    tokens = [unknown_kid(goods[0]) for _ in range(KIDS)]
    runner.accepts(good(keyed.flavour))
    runner.timed(goods[:WARMUP])  # whatever is made on first use
    flood = Flood(KIDS, quiet=runner.timed(goods[WARMUP : WARMUP + QUIET]))
    upstream.set(reset=True)
    runner.flood(flood, tokens, goods[WARMUP + QUIET :])
    flood.fetches = upstream.count("jwks")
    flood.unpaced = _unpaced(keyed, runner)
    return flood


def _unpaced(keyed: Keyed, runner: Runner) -> float:
    """The ratio of good tokens' p50 once more, with everybody as fast as they can."""
    goods = pool(keyed.flavour, QUIET + 2_000)
    flood = Flood(KIDS, quiet=runner.timed(goods[:QUIET], 0.0))
    runner.flood(flood, [unknown_kid(goods[0]) for _ in range(KIDS)], goods[QUIET:], 0.0)
    return flood.ratio


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
        ratios = f"p50 x {number(flood.ratio)} (no pauses: {number(flood.unpaced)})"
        lines[keyed.own].append(f"{keyed.name}: {flood.fetches} fetches, new key {after}, {ratios}")
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
