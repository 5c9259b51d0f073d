"""Each server that people run, with its own kind of worker: good, bad and revoked requests, and many revocations.

With Redis there are two workers, where the server has them, and what one revokes the other refuses; without, one.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from fleet.promises import ALLOWANCE

from moonkey_core.emulator import Emulator, SignedIn
from support.fleets import Server
from support.patience import PATIENCE
from support.ports import quiet_port
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.server_commands import ASGI, COMMANDS, WSGI

pytestmark = pytest.mark.long

_ASYNC = "/async-me"
_PATHS = ("/me", _ASYNC)
_REVOCATIONS = 100
_LOAD_THREADS = 3
_TIMEOUT = 30.0


_ONE_PROCESS = {"waitress", "daphne"}
_ONE_ASYNC_VIEW = {"gunicorn-gevent", "gunicorn-gevent-preload"}
"""Where asgiref refuses to run two async views at once, with MoonKey or without: greenlets share one thread."""
_MATRIX = [
    *itertools.product(WSGI, ("flask", "django-wsgi"), (True, False)),
    *itertools.product(ASGI, ("starlette", "django-asgi"), (True, False)),
]


@dataclass(frozen=True)
class Answer:
    """What a worker said. ``sent_at`` and ``came_at`` are monotonic seconds."""

    status: int
    worker: int
    body: dict[str, Any]
    sent_at: float
    came_at: float


@dataclass
class Served:
    """A server under test. Each request has a connection of its own, so that any worker may answer."""

    server: Server
    workers: int
    turn: threading.Lock | None = None  # of whoever asks for the async view

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        with self.turn if self.turn is not None and path == _ASYNC else nullcontext():
            return self._ask("GET", path, None, headers or {})

    def with_jwt(self, path: str, jwt: str) -> Answer:
        return self.get(path, {"Authorization": f"Bearer {jwt}"})

    def revoke(self, person: SignedIn) -> Answer:
        body = json.dumps({"session_id": person.session_id}).encode()
        return self._ask("POST", "/revoke", body, {"Content-Type": "application/json"})

    def found_workers(self, path: str = "/health") -> dict[int, Answer]:
        """An answer of each worker."""
        found: dict[int, Answer] = {}

        def all_found() -> bool:
            answer = self.get(path)
            found[answer.worker] = answer
            return len(found) >= self.workers

        assert wait_until(all_found, PATIENCE), self.server.log()
        return found

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=_TIMEOUT)
        sent_at = time.monotonic()
        try:
            connection.request(method, path, body, {"Connection": "close", **headers})
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        try:
            found = json.loads(raw)
        except ValueError:
            found = {"raw": raw.decode(errors="replace")}
        worker = int(response.headers.get("x-worker", "0"))
        return Answer(response.status, worker, found, sent_at, time.monotonic())


@contextmanager
def _served(name: str, app: str, emulator: Emulator, redis: RedisServer | None) -> Iterator[Served]:
    environ = {
        "SERVED_APP": app,
        "MOONKEY_SECRET_KEY": emulator.secret_key,
        "MOONKEY_BASE_URL": emulator.base_url,
        "MOONKEY_JWT_ISSUER": emulator.issuer,
    }
    if redis is not None:
        environ["MOONKEY_REDIS_URL"] = redis.url
    workers = 1 if redis is None or name in _ONE_PROCESS else 2
    port = quiet_port()
    with Server(port, COMMANDS[name](port, workers), environ) as server:
        served = Served(server, workers, threading.Lock() if name in _ONE_ASYNC_VIEW else None)
        if redis is not None:
            assert wait_until(
                lambda: all(one.body["feed"] == "live" for one in served.found_workers().values()), PATIENCE
            )
        yield served


@dataclass
class _Load:
    """Threads that ask for somebody with a good session, and for those who were revoked, until told to end."""

    served: Served
    person: SignedIn
    wrong: list[Answer] = field(default_factory=list)
    asked: int = 0
    late: list[float] = field(default_factory=list)
    revoked: dict[str, float] = field(default_factory=dict)
    trouble: list[BaseException] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        ended = threading.Event()
        threads = [threading.Thread(target=self._run, args=(ended, number)) for number in range(_LOAD_THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(_TIMEOUT)

    def _run(self, ended: threading.Event, number: int) -> None:
        try:
            for turn in itertools.count(number):
                if ended.is_set():
                    return
                path = _PATHS[turn % 2]
                answer = self.served.with_jwt(path, self.person.session_jwt)
                self.asked += 1
                if (answer.status, answer.body.get("user")) != (200, self.person.user_id):
                    self.wrong.append(answer)
                for jwt, since in list(self.revoked.items())[-2:]:
                    answer = self.served.with_jwt(path, jwt)
                    if answer.status == 200:
                        self.late.append(answer.sent_at - since)
                    elif answer.status != 401:
                        self.wrong.append(answer)
        except BaseException as error:
            self.trouble.append(error)


@pytest.mark.parametrize(("server", "app", "with_redis"), _MATRIX)
def test_a_server(server: str, app: str, with_redis: bool, emulator: Emulator) -> None:
    if not with_redis:
        with _served(server, app, emulator, None) as served:
            _check(served, emulator)
        return
    need_redis()
    with RedisServer() as redis, _served(server, app, emulator, redis) as served:
        _check(served, emulator)


def _check(served: Served, emulator: Emulator) -> None:
    try:
        _good_and_bad(served, emulator)
        _revoked_one_by_one(served, emulator)
        _revoked_under_load(served, emulator)
    except AssertionError as error:
        error.add_note(served.server.log())
        raise
    log = served.server.log()
    assert "Traceback" not in log, log


def _good_and_bad(served: Served, emulator: Emulator) -> None:
    person = emulator.sign_in(email="good@example.com")
    forged = person.session_jwt[:-8] + ("A" * 8 if not person.session_jwt.endswith("A" * 8) else "B" * 8)
    for path in _PATHS:
        for headers in (
            {"Authorization": f"Bearer {person.session_jwt}"},
            {"Authorization": f"Bearer {person.session_token}"},
            {"session-token": person.session_token},
        ):
            answer = served.get(path, headers)
            assert (answer.status, answer.body.get("user")) == (200, person.user_id), answer
        for wrong in ({}, {"Authorization": f"Bearer {forged}"}, {"Authorization": "Bearer nobody"}):
            assert served.get(path, wrong).status == 401
        assert served.get(path, {"Authorization": "Bearer a b"}).status == 400


def _revoked_one_by_one(served: Served, emulator: Emulator) -> None:
    for _ in range(3):
        person = emulator.sign_in(email="revoked@example.com")
        assert served.with_jwt("/me", person.session_jwt).status == 200
        assert served.revoke(person).status == 200
        _is_refused_by_all(served, [person])


def _revoked_under_load(served: Served, emulator: Emulator) -> None:
    lag = next(iter(served.found_workers().values())).body["lag"]
    people = [emulator.sign_in(email="many@example.com") for _ in range(_REVOCATIONS)]
    load = _Load(served, emulator.sign_in(email="stays@example.com"))
    with load.running():
        for person in people:
            answer = served.revoke(person)
            assert answer.status == 200, answer
            load.revoked[person.session_jwt] = answer.came_at
        _is_refused_by_all(served, people)
    assert not load.trouble
    assert not load.wrong, load.wrong[:3]
    assert load.asked
    if served.workers > 1:  # alone, the worker that revoked is the one that refuses
        assert max(load.late, default=0.0) <= lag + ALLOWANCE
    else:
        assert not load.late


def _is_refused_by_all(served: Served, people: list[SignedIn]) -> None:
    """Soon, each of them gets a 401 from whoever is asked; and then nobody lets any of them in."""

    def verdicts(person: SignedIn) -> set[int]:
        return {served.with_jwt(path, person.session_jwt).status for path in _PATHS for _ in range(served.workers)}

    for person in people:
        assert wait_until(lambda: verdicts(person) == {401}, PATIENCE)  # noqa: B023 - asked at once
    assert all(verdicts(person) == {401} for person in people)
