"""All that runs in a scenario: the API, Redis, the proxy, two servers with their workers, and the people.

At most eight processes besides Redis: the emulator, the proxy, and two servers with a master and two workers each.
Whatever is started is ended with the stage, by its id.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.model import Judge, Lags, Session
from chaos.people import NO_ANSWER, People
from chaos.spans import Metronome, Spans
from chaos.tally import Tally
from chaos.traffic import Forger, Traffic, asked_of

from moonkey_core import MoonKey, Settings
from moonkey_core.revocations import retention
from support.fleets import Answer, Line, Server, quiet_redis
from support.patience import PATIENCE
from support.ports import quiet_port
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.server_commands import COMMANDS
from support.tcp_proxy import Link, TcpProxy

WORKERS = 2  # of each server
_THREADS = 4  # that ask
_PATIENCE = 2 * PATIENCE  # of a fleet of processes, all of which want the processor, and with it Redis
_WATCHED = 2.5  # seconds: longer than the lag and the allowance

SERVERS = (
    ("gunicorn-sync", "flask"),
    ("gunicorn-gthread-preload", "flask"),
    ("gunicorn-gthread", "django-wsgi"),
    ("uvicorn", "fastapi"),
    ("uvicorn", "starlette"),
    ("uvicorn", "django-asgi"),
    ("hypercorn", "starlette"),
)
REVIVING = tuple(one for one in SERVERS if one[0] != "hypercorn")
"""Those that start another worker where one was killed; hypercorn ends."""

# Short times, so that each of them passes several times in a scenario.
_OPTIONS = {
    "COOKIES": "true",
    "JWT_MAX_AGE": "12",
    "LEEWAY": "1",
    "SESSION_CACHE_TTL": "8",
    "FRESH_JWT_HEADER": "x-fresh-jwt",
}


@dataclass
class Side:
    """A server, and its own way to Redis."""

    number: int
    kind: str
    app: str
    server: Server
    redis: Link
    clock: Path

    def __str__(self) -> str:
        return f"{self.kind} ({self.app})"

    def set_clock(self, offset: float) -> None:
        """Have the clock of its machine be ahead by so many seconds."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(offset))
        new.replace(self.clock)  # it is read at any time, and must never be found empty


@dataclass(frozen=True)
class Needs:
    """What a scenario needs.

    Attributes:
        options: Settings of the fleet, beside the usual ones.
        replica: Whether there is a second Redis that copies the first.
        servers: The kinds of servers from which the two are taken.
        redis: Options of redis-server.
        shares_reader: Whether the workers of a server share one reader of the feed.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    replica: bool = False
    servers: Sequence[tuple[str, str]] = SERVERS
    redis: Sequence[str] = ()
    shares_reader: bool = False


class Stage:
    """The stage of one scenario. ``seed`` decides all that is random."""

    def __init__(self, stack: ExitStack, seed: str, needs: Needs) -> None:
        self.rng = random.Random(seed)
        self.spans, self.metronome = Spans(), Metronome()
        self.stopped = threading.Event()
        self._seed = seed
        self._threads: list[threading.Thread] = []
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        self.redis = _started(stack, needs.redis)
        self.replica = _started(stack, needs.redis) if needs.replica else None
        self.proxy = stack.enter_context(TcpProxy())
        self.replication = self.proxy.link("replication", self.redis.port)
        if self.replica is not None:
            self.replica.client.replicaof("127.0.0.1", self.replication.port)
        key, issuer = f"sk_test_{secrets.token_hex(20)}", "api.moonkey.fun/chaos"
        port = quiet_port()
        command = [
            *("moonkey_core.emulator", f"--port={port}", f"--state={folder}/state"),
            *(f"--secret-key={key}", f"--issuer={issuer}"),
        ]
        self.emulator = stack.enter_context(Server(port, command, {}))
        self.api = self.proxy.link("api", self.emulator.port)
        environ = {
            "MOONKEY_SECRET_KEY": key,
            "MOONKEY_BASE_URL": f"http://127.0.0.1:{self.api.port}",  # the same for all: it is part of the seal
            "MOONKEY_JWT_ISSUER": issuer,
            **{f"MOONKEY_{name}": value for name, value in {**_OPTIONS, **needs.options}.items()},
        }
        if needs.shares_reader:
            shared = folder / "feed"
            shared.mkdir(mode=0o700)
            environ["MOONKEY_FEED_DIRECTORY"] = str(shared)
        chosen = self.rng.sample(list(needs.servers), 2)
        self.sides = [self._side(number, *kind, environ, folder) for number, kind in enumerate(chosen)]
        self._start_servers(stack)
        self._app: dict[str, Any] = {
            name: environ[f"MOONKEY_{name.upper()}"]
            for name in ("secret_key", "base_url", "jwt_issuer", "jwt_max_age", "leeway")
        }
        settings = Settings.load({"redis_url": self.redis.url}, environ)
        self.judge = Judge(
            self._lags(), settings.jwt_max_age, settings.leeway, retention(settings), self.spans, self.metronome
        )
        self.tally = Tally(self.judge)
        ports = [side.server.port for side in self.sides]
        self.people = People(seed, self.emulator.port, ports, settings, self.tally)
        self.traffic = Traffic(ports, self.people, Forger(_minted(self.emulator)), self.tally)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all sides."""
        return tuple(side.number for side in self.sides)

    def begin(self) -> None:
        """Let people in, and the requests begin."""
        self.metronome.start()
        self._begin(self.people.sign_in_until)
        if not wait_until(lambda: len(self.people.there) >= 10, PATIENCE):
            raise RuntimeError("nobody could sign in")
        self._begin(self.people.end_until)
        for number in range(_THREADS):
            self._begin(self.traffic.mixed_until, f"{self._seed} traffic {number}")

    def end(self) -> None:
        """End all threads."""
        self.stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._threads:
            self.metronome.stop()

    def pause(self, seconds: float) -> None:
        """Let the requests go on for so long."""
        self.stopped.wait(seconds)

    def feeds_live(self) -> bool:
        """Whether all workers hear the feed, soon."""
        return self.all_report(lambda report: report["feed"] == "live")

    def settle(self) -> None:
        """After the last fault: the feed is back, the innocent are let in, and the revoked are refused."""
        if not self.feeds_live():
            self.tally.note_wrong(
                "the feed is not back: " + ", ".join(side.server.log(300) for side in self.sides)
            )
        rng = random.Random(self._seed)
        for side in self.sides:
            line = Line(side.server.port)
            for session in (*self.people.there[-10:], *self.people.gone[-20:]):
                for credential in ("jwt", "token", "pair"):
                    for _ in range(WORKERS):
                        self.traffic.ask(line, asked_of(session, credential, rng), side.number)
                        line.close()
            line.close()

    def known_at(self, redis: RedisServer, sessions: Iterable[Session]) -> list[bool]:
        """Whether a process that begins now, and has nothing but this Redis, refuses each of these sessions."""
        with MoonKey(**self._app, redis_url=redis.url) as client:
            if not wait_until(lambda: client.health().feed == "live", _PATIENCE):
                raise RuntimeError("a process that begins now does not hear the feed")
            return [client.revocations.refuses(one.session_id, one.user_id, one.jwts[-1][1]) for one in sessions]

    def seen_by_all(self, session: Session) -> bool:
        """Have all workers let a session in; false where that could not be done."""
        rng = random.Random(self._seed)

        def let_in(side: Side) -> bool:
            return self._all_answer(
                side, lambda answer: answer.status == 200, asked_of(session, "jwt", rng).headers
            )

        return all(let_in(side) for side in self.sides)

    @contextmanager
    def worker_fault(self, side: Side, pid: int, number: signal.Signals) -> Iterator[None]:
        """Send a signal to a worker of a server; noted as a disturbance of that side for the time of the block."""
        with self.spans.during("worker", [side.number], delays_pending=number == signal.SIGSTOP):
            if number == signal.SIGKILL:
                self.judge.died[pid] = time.monotonic()
            self.signal(side, pid, number)
            yield

    def signal(self, side: Side, pid: int, number: signal.Signals) -> None:
        """Send a signal to a worker, if it is still one of this server."""
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == side.server.pid:
                os.kill(pid, number)

    def watch(self, session: Session) -> None:
        """Ask all workers about a session that has just ended, for as long as the promise takes to be due."""
        rng = random.Random(self._seed)
        end = time.monotonic() + _WATCHED
        while time.monotonic() < end:
            for side in self.sides:
                line = Line(side.server.port)
                self.traffic.ask(line, asked_of(session, rng.choice(["jwt", "pair"]), rng), side.number)
                line.close()

    def all_report(self, is_right: Callable[[Mapping[str, Any]], bool]) -> bool:
        """Whether the report of each worker is right, in time."""
        return all(
            self._all_answer(side, lambda answer: "feed" in answer.body and is_right(answer.body))
            for side in self.sides
        )

    def workers(self, side: Side) -> set[int]:
        """The workers of a side that answer."""
        found: set[int] = set()

        def see(answer: Answer) -> bool:
            found.add(answer.worker)
            return True

        self._all_answer(side, see)
        return found

    def _all_answer(
        self, side: Side, is_right: Callable[[Answer], bool], headers: Mapping[str, str] | None = None
    ) -> bool:
        """Whether each worker gives a right answer, in time."""
        right: set[int] = set()

        def ask() -> bool:
            line = Line(side.server.port)
            try:
                answer = line.get("/me" if headers else "/health", headers)
                if is_right(answer):
                    right.add(answer.worker)
            except NO_ANSWER:
                pass
            finally:
                line.close()
            return len(right) >= WORKERS

        return wait_until(ask, _PATIENCE)

    def guarded(self, work: Callable[..., None]) -> Callable[..., None]:
        """The same, for a thread: what it raises is noted, and ends the scenario."""

        def run(*args: object) -> None:
            try:
                work(*args)
            except Exception as error:
                self.tally.note_wrong(f"chaos itself: {work.__name__}: {error!r}")
                self.stopped.set()

        return run

    def _begin(self, work: Callable[..., None], *args: str) -> None:
        thread = threading.Thread(target=self.guarded(work), args=(self.stopped, *args), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _start_servers(self, stack: ExitStack) -> None:
        """Start the servers, at the same time, and have them ended at the same time."""
        servers = [side.server for side in self.sides]
        pool = stack.enter_context(ThreadPoolExecutor(len(servers)))
        stack.callback(lambda: list(pool.map(lambda server: server.__exit__(), servers)))
        list(pool.map(lambda server: server.start(), servers))

    def _side(self, number: int, kind: str, app: str, environ: Mapping[str, str], folder: Path) -> Side:
        redis = self.proxy.link(f"redis {number}", self.redis.port)
        clock = folder / f"clock{number}"
        clock.write_text("0.0")
        environ = {
            **environ,
            "SERVED_APP": app,
            "SHIFTED_CLOCK": str(clock),
            "MOONKEY_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        }
        port = quiet_port()
        server = Server(port, COMMANDS[kind](port, WORKERS), environ)
        return Side(number, kind, app, server, redis, clock)

    def _lags(self) -> Lags:
        """Wait until all workers hear the feed; what they promise."""
        if not self.feeds_live():
            raise RuntimeError(
                "\n".join(["the workers do not hear the feed", *(s.server.log() for s in self.sides)])
            )
        promised: list[Lags] = []

        def note(report: Mapping[str, Any]) -> bool:
            promised.append(report["lags"])
            return True

        assert self.all_report(note)
        assert all(one == promised[0] for one in promised)
        return promised[0]


def _started(stack: ExitStack, options: Iterable[str]) -> RedisServer:
    redis = quiet_redis()
    stack.push(redis)  # first: it may be interrupted while it starts
    redis.start(*options)
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
        name: [line.post("/_emulator/mint", body).body["session_jwt"] for _ in range(5)]
        for name, body in wanted.items()
    }
    line.close()
    return made
