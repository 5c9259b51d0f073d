"""The scenarios: each with what it needs, and what happens in it. They are listed by ``make chaos LIST=1``."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos import faults
from chaos.faults import Fault
from chaos.stage import REVIVING, Needs, Stage

from support.fleets import Line

_CALM = (0.5, 3.0)  # seconds between two faults


@dataclass(frozen=True)
class Scenario:
    """What happens for ``seconds``, or as long as it takes."""

    name: str
    about: str
    run: Callable[[Stage, float], None]
    needs: Needs
    seconds: float


SCENARIOS: dict[str, Scenario] = {}

_USUAL = Needs()


def _scenario(
    name: str, about: str, needs: Needs = _USUAL, seconds: float = 15.0
) -> Callable[[Callable[[Stage, float], None]], Callable[[Stage, float], None]]:
    def noted(run: Callable[[Stage, float], None]) -> Callable[[Stage, float], None]:
        SCENARIOS[name] = Scenario(name, about, run, needs, seconds)
        return run

    return noted


def _again_and_again(
    stage: Stage, seconds: float, choices: Sequence[Fault], rng: random.Random, calm: tuple[float, float] = _CALM
) -> None:
    """One fault after another; each runs to its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stage.stopped.is_set():
        stage.pause(rng.uniform(*calm))
        rng.choice(choices)(stage, rng)


@_scenario("calm", "nothing is wrong", seconds=6.0)
def _calm(stage: Stage, seconds: float) -> None:
    stage.pause(seconds)


@_scenario("revoker-killed", "SIGKILL for the worker that has just answered a revocation", Needs(servers=REVIVING))
def _revoker_killed(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, [faults.killed_after_its_answer], stage.rng, (0.0, 0.2))


_NINE_TENTHS = {"MAX_REVOCATIONS": "10000", "JWT_MAX_AGE": "300"}


@_scenario(
    "redis-empty", "Redis comes back empty; 9,000 revocations of at most 10,000 are known", Needs(_NINE_TENTHS)
)
def _redis_empty(stage: Stage, seconds: float) -> None:
    line = Line(stage.sides[0].server.port)
    # So many at once take a while, and those that come after them wait.
    with stage.spans.during("redis", stage.numbers, delays_pending=True):
        answer = line.post("/revoke-many", {"prefix": "sess_past_", "count": 9000})
        line.close()
        assert answer.status == 200, answer
        if not stage.all_report(lambda report: report["known"] >= 9000):
            stage.tally.note_wrong("not heard: 9000 revocations were not known to all workers")
    end = time.monotonic() + seconds
    for turn in range(3):
        if turn and time.monotonic() > end:
            break
        # A process that has much to say again cannot say what is new, and answers that it is pending.
        with stage.spans.during("redis", stage.numbers, delays_pending=True):
            faults.redis_killed(stage, stage.rng)
            if not stage.all_report(lambda report: report["feed"] == "live" and report["unsent"] == 0):
                stage.tally.note_wrong("the feed is not back: after Redis was empty")
        stage.pause(2.0)


@_scenario(
    "one-account",
    "one account signs in and out until the table of revocations is full",
    Needs({"MAX_REVOCATIONS": "50"}),
)
def _one_account(stage: Stage, seconds: float) -> None:
    stage.people.may_end.clear()
    api, lines = Line(stage.emulator.port), [Line(side.server.port) for side in stage.sides]
    end, turns = time.monotonic() + seconds, 0
    while turns < 100 or (turns < 400 and time.monotonic() < end):
        if stage.stopped.is_set():
            break
        side, turns = turns % 2, turns + 1
        session = stage.people.newcomer(api, "restless@example.com")
        if session is not None:
            stage.people.end(lines[side], session, side)
            stage.people.retire(session)
    for line in (api, *lines):
        line.close()
    stage.tally.note_action(f"{turns} times signed in and out")
    stage.pause(1.0)


@_scenario("same-slow-link", "every way to Redis takes 145 ms, for all; then other times")
def _same_slow_link(stage: Stage, seconds: float) -> None:
    with stage.spans.during("redis", stage.numbers, delays_pending=True):
        for share, delay in (
            (0.5, 0.145),
            (0.25, stage.rng.uniform(0.05, 0.25)),
            (0.25, stage.rng.uniform(0.2, 0.6)),
        ):
            for side in stage.sides:
                side.redis.set(delay=delay)
            stage.pause(share * seconds)
        for side in stage.sides:
            side.redis.set()


@_scenario("workers", "workers are killed, ended and stopped", Needs(servers=REVIVING))
def _workers(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, faults.WORKER, stage.rng, (0.2, 1.5))


@_scenario(
    "shared-reader",
    "workers share a reader, which is killed and hangs; and ways, Redis and clocks fail",
    Needs(servers=REVIVING, shares_reader=True),
)
def _shared_reader(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, faults.READER, stage.rng, (0.2, 2.0))


@_scenario("redis", "Redis is killed, hangs, is emptied, takes nothing, evicts what it likes")
def _redis(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, faults.REDIS, stage.rng)


@_scenario("redis-full", "Redis is full, and evicts nothing")
def _redis_full(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, [faults.redis_full], stage.rng)


@_scenario("redis-evicting", "Redis throws out what it likes")
def _redis_evicting(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, [faults.redis_evicting], stage.rng)


@_scenario("api", "the API is killed, hangs, talks nonsense")
def _api(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, faults.API, stage.rng)


@_scenario(
    "fail-over", "the replica of Redis is promoted, without the last writes", Needs(replica=True), seconds=20.0
)
def _fail_over(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, [faults.fail_over], stage.rng)


# As in an app that lets its users wait for the replica; and an entry outlasts the scenario.
_REPLICATED = {"REDIS_REPLICAS": "1", "PUBLISH_TIMEOUT": "2", "JWT_MAX_AGE": "300"}


@_scenario(
    "fail-over-kept",
    "the same with redis_replicas=1: what was published is on the replica",
    Needs(_REPLICATED, replica=True),
    seconds=20.0,
)
def _fail_over_kept(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, [faults.replicated_fail_over], stage.rng)


@_scenario("links", "ways to Redis and to the API are cut, slow, dripping, half-closed, deaf; for one side or all")
def _links(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, [faults.link_disturbed], stage.rng, (0.2, 2.0))


@_scenario("clocks", "the clocks of the API and of the machines are set")
def _clocks(stage: Stage, seconds: float) -> None:
    _again_and_again(stage, seconds, faults.CLOCK, stage.rng)


@_scenario("everything", "all of that, at once and at random", Needs(servers=REVIVING, replica=True), seconds=30.0)
def _everything(stage: Stage, seconds: float) -> None:
    kinds = (faults.API, (*faults.REDIS, faults.fail_over), (faults.link_disturbed,), faults.WORKER)
    seeds = [stage.rng.random() for _ in kinds]
    threads = [
        threading.Thread(
            target=stage.guarded(_again_and_again), args=(stage, seconds, choices, random.Random(seed))
        )
        for choices, seed in zip(kinds, seeds, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


MINUTE = ("revoker-killed", "one-account", "same-slow-link", "links")
"""Those of the short version, in which each of the faults that a fleet has had before comes up."""
