"""A fleet under all kinds of requests, while everything around it fails at random. ``make soak``.

Two workers of gunicorn (Flask) and two of uvicorn (Starlette), a redis-server and the emulator, all processes of
their own. Every answer is judged; the first wrong ones are printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from fleet.soak_figures import Figures
from fleet.soak_model import Judge, Lags, Outages
from fleet.soak_people import People
from fleet.soak_traffic import Forger, Traffic
from fleet.soak_weather import Weather

from moonkey_core import Settings
from support.fleets import Line, Server, gunicorn, quiet_port, quiet_redis, uvicorn, workers_of
from support.redis_server import PROGRAM, RedisServer
from support.scripted import wait_until

_MIXED, _JUNK = 12, 4  # threads
_PER_FLEET = 2  # workers
_CLEARING_UP = 6.0  # seconds at the end without new trouble
_OVERTIME = 120  # seconds after which it ends itself, whatever hangs

# Short times, so that each of them passes several times in a minute.
_OPTIONS = {
    "JWT_MAX_AGE": "12",
    "LEEWAY": "1",
    "SESSION_CACHE_TTL": "8",
    "FRESH_JWT_HEADER": "x-fresh-jwt",
}


class Soak:
    """All that runs. Whatever it starts is ended by ``stack``."""

    def __init__(self, stack: ExitStack, seed: int) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))
        key, issuer = f"sk_test_{secrets.token_hex(20)}", "api.moonkey.fun/soak"
        self.redis = _started(stack, quiet_redis())
        port = quiet_port()
        command = [
            *("moonkey_core.emulator", f"--port={port}", f"--state={folder}/state"),
            *(f"--secret-key={key}", f"--issuer={issuer}"),
        ]
        self.emulator = stack.enter_context(Server(port, command, {}))
        environ = {
            "MOONKEY_SECRET_KEY": key,
            "MOONKEY_BASE_URL": f"http://127.0.0.1:{port}",
            "MOONKEY_JWT_ISSUER": issuer,
            "MOONKEY_REDIS_URL": self.redis.url,
            **{f"MOONKEY_{name}": value for name, value in _OPTIONS.items()},
        }
        self.fleets = [
            stack.enter_context(gunicorn(environ, workers=_PER_FLEET, threads=_MIXED + _JUNK + 2)),
            stack.enter_context(uvicorn(environ, workers=_PER_FLEET)),
        ]
        lags = self._settled(stack)
        settings = Settings.load({}, environ)
        outages = Outages(), Outages()
        self.figures = Figures(Judge(lags, settings.jwt_max_age, settings.leeway, *outages), *outages)
        self.weather = Weather(seed, self.emulator, self.redis, self.figures, *outages)
        self.people = People(seed, self.emulator, self.fleets, self.figures)
        self.traffic = Traffic(self.fleets, self.people, Forger(_minted(self.emulator)), self.figures)
        self.weather_stopped, self.stopped = threading.Event(), threading.Event()
        self._seed = seed
        self._threads: list[tuple[threading.Thread, threading.Event]] = []

    def run(self, seconds: float) -> None:
        """Run for so long; returns early where a thread broke."""
        self._begin(self.people.sign_in_until, self.stopped)
        if not wait_until(lambda: len(self.people.there) >= 10, 20):
            raise RuntimeError("nobody could sign in")
        self._begin(self.people.end_until, self.stopped)
        for number in range(_MIXED):
            self._begin(self.traffic.mixed_until, self.stopped, self._seed + number)
        for number in range(_JUNK):
            self._begin(self.traffic.junk_until, self.stopped, self._seed - 1 - number)
        self._begin(self.weather.count_calls_until, self.stopped)
        for upset in (self.weather.upset_api_until, self.weather.upset_redis_until):
            self._begin(upset, self.weather_stopped)
        self.stopped.wait(max(seconds - _CLEARING_UP, 0))
        self.weather_stopped.set()
        self.stopped.wait(min(_CLEARING_UP, seconds))

    def end(self) -> None:
        """End all threads. Those that start servers again come first."""
        self.weather_stopped.set()
        self.stopped.set()
        for thread, _ in reversed(self._threads):
            thread.join(40)

    def _begin(self, work: Callable[..., None], stopped: threading.Event, *args: int) -> None:
        def guarded() -> None:
            try:
                work(stopped, *args)
            except Exception as error:
                self.figures.note_wrong(f"the soak itself: {work.__name__}: {error!r}")
                self.stopped.set()

        thread = threading.Thread(target=guarded, name=work.__name__, daemon=True)
        thread.start()
        self._threads.append((thread, stopped))

    def _settled(self, stack: ExitStack) -> Lags:
        """Wait until all workers hear the feed; what they promise."""
        workers = [one for fleet in self.fleets for one in workers_of(fleet, _PER_FLEET, stack)]
        if not wait_until(lambda: all(one.get("/health").body["feed"] == "live" for one in workers), 20):
            raise RuntimeError("the workers do not hear the feed")
        promised = [worker.get("/health").body["lag"] for worker in workers]
        assert all(one == promised[0] for one in promised)
        found: Lags = promised[0]
        return found


def _started(stack: ExitStack, redis: RedisServer) -> RedisServer:
    stack.push(redis)  # first: it may be interrupted while it starts
    redis.start()
    return redis


def _minted(emulator: Server) -> dict[str, list[str]]:
    """JWTs that are not to be let in, by what is wrong with them."""
    now, line = int(time.time()), Line(emulator.port)
    past: dict[str, Any] = {"iat": now - 3600, "nbf": now - 3600, "exp": now - 3300}
    wanted: dict[str, dict[str, Any]] = {
        "foreign key": {"key": "foreign", "header": {"kid": line.get("/_emulator").body["kid"]}},
        "other issuer": {"claims": {"iss": "api.moonkey.fun/other"}},
        "long over": {"claims": past},
        "unknown key": {"key": "foreign", "header": {"kid": "jwk_unknown"}},
    }
    made = {
        name: [line.post("/_emulator/mint", body).body["session_jwt"] for _ in range(10)]
        for name, body in wanted.items()
    }
    line.close()
    return made


def _interrupted(number: int, _: object) -> NoReturn:
    if number == signal.SIGALRM:
        raise TimeoutError("the soak has taken far too long")
    raise KeyboardInterrupt


def _soak(seconds: float, seed: int) -> int:
    with ExitStack() as stack:
        try:
            soak = Soak(stack, seed)
            try:
                soak.run(seconds)
            finally:
                _deaf()
                soak.end()
                print("\n".join(soak.figures.lines()), flush=True)
        finally:
            _deaf()
    return 1 if soak.figures.wrong else 0


def _deaf() -> None:
    """From now on everything is being ended; nothing may interrupt that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def main() -> int:
    """Run it; the exit status is 0 where no answer was wrong."""
    parser = argparse.ArgumentParser(description="A fleet, while everything around it fails.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="of all that is random here")
    arguments = parser.parse_args()
    if PROGRAM is None:
        print("redis-server (or valkey-server) is not installed.", file=sys.stderr)
        return 2
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _interrupted)
    signal.alarm(int(arguments.seconds) + _OVERTIME)
    print(f"Soaking for {arguments.seconds:g} s, --seed {seed}", flush=True)
    try:
        return _soak(arguments.seconds, seed)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
