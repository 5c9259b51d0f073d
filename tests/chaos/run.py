"""A fleet, while everything around it fails: ``make chaos``.

Each scenario has processes of its own: real servers, a Redis, the emulator, a TCP proxy between them. Every answer
is judged by a model of what may be known when. A line per scenario; the exit status is 1 where one was wrong.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.scenarios import MINUTE, SCENARIOS, Scenario
from chaos.stage import Stage

from support.redis_server import PROGRAM

_SETTLING = 3.0  # seconds at the end without new trouble
_SHOWN_LOG = 1500  # characters of what each server has printed last
_OVERTIME = 600  # seconds after which it ends itself, whatever hangs
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def play(scenario: Scenario, seed: str, seconds: float | None = None, *, shows_all: bool = False) -> bool:
    """Play a scenario, print its line, and return whether all answers were right."""
    begun = time.monotonic()
    with ExitStack() as stack:
        stage = Stage(stack, f"{seed} {scenario.name}", scenario.needs)
        stack.callback(stage.end)
        stage.begin()
        stage.guarded(scenario.run)(stage, scenario.seconds if seconds is None else seconds)
        if not stage.stopped.is_set():
            stage.pause(_SETTLING)
            stage.guarded(stage.settle)()
        stage.end()
        tally, servers = stage.tally, " and ".join(map(str, stage.sides))
        late = stage.metronome.worst()
        logs = [(side, side.server.log(_SHOWN_LOG).splitlines()[1:]) for side in stage.sides]
    verdict = "ok   " if not tally.wrong else "WRONG"
    print(f"{verdict} {scenario.name}, seed {seed}, {time.monotonic() - begun:.0f} s: {tally.line()}", flush=True)
    if tally.wrong or shows_all:
        counts = ", ".join(f"{count} x {sort}" for sort, count in sorted(tally.wrong.items()))
        print(f"      {servers}; the machine was up to {late:.2f} s late; wrong: {counts or 'nothing'}")
        for line in tally.details():
            print(f"      {line}")
        for side, lines in logs:
            print(*(f"      {side}: {line}" for line in lines), sep="\n")
        print(f"      again: make chaos ONLY={scenario.name} SEED={seed}", flush=True)
    return not tally.wrong


def _play_all(scenarios: Sequence[Scenario], seed: int, minutes: float | None) -> int:
    """Play each of them; again and again where there is a time to fill. Each round has a seed of its own."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    played = wrong = 0
    while True:
        for scenario in scenarios:
            signal.alarm(int(scenario.seconds) + _OVERTIME)
            try:
                is_right = play(scenario, str(seed))
            except (RuntimeError, OSError) as error:
                is_right = False
                print(f"WRONG {scenario.name}, seed {seed}: it could not begin: {error}", flush=True)
            wrong += not is_right
            played += 1
            if end is not None and time.monotonic() > end:
                break
        if end is None or time.monotonic() > end:
            break
        seed += 1
    print(f"{played} scenarios, {wrong} of them with wrong answers", flush=True)
    return 1 if wrong else 0


def _interrupted(number: int, _: object) -> NoReturn:
    # What is ended from here on is ended undisturbed.
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    if number == signal.SIGALRM:
        raise SystemExit("a scenario has taken far too long")
    raise KeyboardInterrupt


def main() -> int:
    """Run it; the exit status is 0 where no answer was wrong."""
    parser = argparse.ArgumentParser(description="A fleet, while everything around it fails.")
    parser.add_argument("--seed", type=int, default=None, help="of all that is random here")
    parser.add_argument("--minutes", type=float, default=None, help="go on for so long; else each scenario once")
    parser.add_argument("--only", default="", help="names of scenarios, with commas between them; or: minute")
    parser.add_argument("--list", action="store_true", help="name all scenarios, and do nothing")
    arguments = parser.parse_args()
    if arguments.list:
        for one in SCENARIOS.values():
            print(f"{one.name:16} {one.about}")
        return 0
    if PROGRAM is None:
        print("redis-server (or valkey-server) is not installed.", file=sys.stderr)
        return 2
    names = (
        MINUTE if arguments.only == "minute" else [one for one in arguments.only.split(",") if one] or SCENARIOS
    )
    unknown = [one for one in names if one not in SCENARIOS]
    if unknown:
        parser.error(f"there is no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    for number in _SIGNALS:
        signal.signal(number, _interrupted)
    try:
        return _play_all([SCENARIOS[one] for one in names], seed, arguments.minutes)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
