"""What a fleet of real processes promises about revoked sessions, whatever serves it.

The time that counts runs from the answer of the worker that has revoked to the sending of the last request that
another one lets in. It is held against ``client.revocation_lag()`` and an allowance: the promise is about the
order of events, not about speed, but the thread that tells the others has to get a turn of the processor first,
and on a loaded machine with fewer processors than processes that may take a while. Without the feed the bound
would be five minutes, the age of a JWT: no allowance of a few seconds could hide that.

A worker whose thread gets no turn for most of the usual lag of a second counts as behind, and rightly asks the
API. So where a promise is that the API is not asked, the workers may be behind for longer: see
``patient_fleet_of``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from moonkey_core import Settings
from moonkey_core.emulator import Emulator, SignedIn
from support.feeds import begin_long_ago
from support.fleets import Server, Worker, quiet_redis, workers_of
from support.patience import PATIENCE, PATIENT_LAG
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until

ALLOWANCE = 2.0  # seconds
_LOOK_ON = 2.0  # seconds: so long at least, the others go on refusing

_VERIFY = "POST /v1/auth/sessions/verify"


@dataclass
class Fleet:
    """A server, a line to each of its workers, and what they depend on. ``lag`` is the promise, in seconds."""

    server: Server
    workers: list[Worker]
    emulator: Emulator
    redis: RedisServer
    lag: float
    stack: ExitStack

    def feeds_are(self, state: str) -> bool:
        return wait_until(
            lambda: all(worker.get("/health").body["feed"] == state for worker in self.workers), PATIENCE
        )

    def verify_calls(self) -> int:
        """How often the API was asked about a credential since the last clearing."""
        return self.emulator.requests()[_VERIFY]


@contextmanager
def fleet_of(serve: Callable[..., Server], count: int, emulator: Emulator) -> Iterator[Fleet]:
    """So many workers that hear the feed, with the usual lag."""
    with _fleet_of(serve, count, emulator, None) as fleet:
        assert fleet.lag == 1.0
        yield fleet


@contextmanager
def patient_fleet_of(serve: Callable[..., Server], count: int, emulator: Emulator) -> Iterator[Fleet]:
    """The same, with a lag that no busy machine exceeds."""
    with _fleet_of(serve, count, emulator, PATIENT_LAG) as fleet:
        assert fleet.lag == PATIENT_LAG
        yield fleet


@contextmanager
def sharing_fleet_of(serve: Callable[..., Server], count: int, emulator: Emulator) -> Iterator[Fleet]:
    """So many workers with the usual lag, one of which reads the feed for all."""
    with TemporaryDirectory() as folder, _fleet_of(serve, count, emulator, None, feed_directory=folder) as fleet:
        yield fleet


@contextmanager
def _fleet_of(
    serve: Callable[..., Server], count: int, emulator: Emulator, lag: float | None, **settings: str
) -> Iterator[Fleet]:
    need_redis()
    with ExitStack() as stack:
        redis = quiet_redis()
        stack.push(redis)
        redis.start()
        environ = {
            "MOONKEY_SECRET_KEY": emulator.secret_key,
            "MOONKEY_BASE_URL": emulator.base_url,
            "MOONKEY_JWT_ISSUER": emulator.issuer,
            "MOONKEY_REDIS_URL": redis.url,
            **{f"MOONKEY_{name.upper()}": value for name, value in settings.items()},
        }
        if lag is not None:
            environ["MOONKEY_MAX_REVOCATION_LAG"] = str(lag)
            begin_long_ago(redis, Settings.load({}, environ))
        server = stack.enter_context(serve(environ, workers=count))
        workers = workers_of(server, count, stack)
        (found,) = {worker.get("/health").body["lag"]["session_jwt"]["fleet"] for worker in workers}
        fleet = Fleet(server, workers, emulator, redis, found, stack)
        assert fleet.feeds_are("live")
        yield fleet


def signed_in(fleet: Fleet) -> SignedIn:
    """Somebody with a session, whom all workers have let in."""
    person = fleet.emulator.sign_in(email=f"person{time.monotonic_ns()}@example.com")
    for worker in fleet.workers:
        answer = worker.get("/me", person.session_jwt)
        assert answer.status == 200, answer
        assert (answer.body["user"], answer.body["session"]) == (person.user_id, person.session_id)
    return person


def refused_in_time(fleet: Fleet, revoker: Worker, jwt: str, since: float) -> None:
    """From ``since`` on the revoker refuses it; the others do within the promised time, and go on doing so."""
    last_let_in = since
    while time.monotonic() < since + 2 * fleet.lag + ALLOWANCE:
        assert not revoker.accepts(jwt)
        let_in = [answer.sent_at for worker in fleet.workers if (answer := worker.accepts(jwt))]
        last_let_in = max([last_let_in, *let_in])
        if not let_in and time.monotonic() > since + _LOOK_ON:
            break
    assert last_let_in - since <= fleet.lag + ALLOWANCE


def a_revoked_session_is_refused_by_all(fleet: Fleet) -> None:
    for turn in range(4):
        person, bystander = signed_in(fleet), signed_in(fleet)
        revoker = fleet.workers[turn % len(fleet.workers)]
        fleet.emulator.clear_requests()
        revoked = revoker.post("/revoke", session_id=person.session_id)
        assert revoked.status == 200
        refused_in_time(fleet, revoker, person.session_jwt, revoked.came_at)
        assert all(worker.accepts(bystander.session_jwt) for worker in fleet.workers)
        assert fleet.verify_calls() == 0  # they were told, and asked nobody


def a_revoked_user_is_refused_by_all(fleet: Fleet) -> None:
    person = signed_in(fleet)
    other = fleet.emulator.sign_in(user_id=person.user_id)
    fleet.emulator.clear_requests()
    revoked = fleet.workers[0].post("/revoke-user", user_id=person.user_id)
    assert revoked.status == 200
    refused_in_time(fleet, fleet.workers[0], person.session_jwt, revoked.came_at)
    assert not any(worker.accepts(other.session_jwt) for worker in fleet.workers)
    assert fleet.verify_calls() == 0


def without_the_feed_the_api_is_asked(fleet: Fleet) -> None:
    """Redis hangs, then dies; then it is back and has forgotten all."""
    people = [signed_in(fleet) for _ in range(3)]
    fleet.redis.pause()
    _a_session_revoked_now_is_refused(fleet, people[0])
    answers_are_reused_for_the_lag(fleet, people[2])
    fleet.redis.kill()
    _a_session_revoked_now_is_refused(fleet, people[1])
    answers_are_reused_for_the_lag(fleet, people[2])

    # Nobody but the revoker, and nobody at all, has seen these since.
    session, user = signed_in(fleet), signed_in(fleet)
    assert fleet.workers[0].post("/revoke", session_id=session.session_id).status == 200
    assert fleet.workers[-1].post("/revoke-user", user_id=user.user_id).status == 200
    fleet.redis.start()
    assert fleet.feeds_are("live")

    def are_told() -> bool:
        """Whether all of them know, and ask nobody. One that gets no turn for a moment asks, and knows again."""
        fleet.emulator.clear_requests()
        for worker in fleet.workers:
            assert worker.accepts(people[2].session_jwt)
            for gone in (*people[:2], session, user):
                assert not worker.accepts(gone.session_jwt)
        return fleet.verify_calls() == 0

    assert wait_until(are_told, PATIENCE)


def _a_session_revoked_now_is_refused(fleet: Fleet, person: SignedIn) -> None:
    revoker = fleet.workers[0]
    revoked = revoker.post("/revoke", session_id=person.session_id)
    assert revoked.status == 200
    refused_in_time(fleet, revoker, person.session_jwt, revoked.came_at)


def answers_are_reused_for_the_lag(fleet: Fleet, person: SignedIn) -> None:
    """Each worker asks the API about a JWT, and then not again before the lag is over."""
    assert fleet.feeds_are("lost")
    fleet.emulator.clear_requests()
    sources: dict[int, set[str]] = {worker.pid: set() for worker in fleet.workers}
    begun = time.monotonic()
    while not all({"remote", "cache"} <= seen for seen in sources.values()) or time.monotonic() < begun + 2:
        assert time.monotonic() < begun + PATIENCE, sources
        for worker in fleet.workers:
            answer = worker.get("/me", person.session_jwt)
            assert answer.status == 200, answer
            sources[worker.pid].add(answer.body["source"])
    calls, seconds = fleet.verify_calls(), time.monotonic() - begun
    assert {source for seen in sources.values() for source in seen} == {"remote", "cache"}
    assert len(fleet.workers) <= calls <= len(fleet.workers) * (int(seconds / fleet.lag) + 1)


def a_new_worker_knows_what_was_revoked(fleet: Fleet) -> None:
    session, user, bystander = (signed_in(fleet) for _ in range(3))
    assert fleet.workers[0].post("/revoke", session_id=session.session_id).status == 200
    assert fleet.workers[0].post("/revoke-user", user_id=user.user_id).status == 200
    victim = fleet.workers[-1].pid
    assert os.getpgid(victim) == fleet.server.pid
    os.kill(victim, signal.SIGKILL)
    before = {worker.pid for worker in fleet.workers}
    fleet.workers = workers_of(fleet.server, len(fleet.workers), fleet.stack)
    fresh = [worker for worker in fleet.workers if worker.pid not in before]
    assert len(fresh) == 1
    # What it has not heard of yet, the API tells it.
    assert not fresh[0].accepts(session.session_jwt)
    assert fleet.feeds_are("live")
    fleet.emulator.clear_requests()
    assert fresh[0].accepts(bystander.session_jwt)
    for gone in (session, user):
        assert not fresh[0].accepts(gone.session_jwt)
    assert fleet.verify_calls() == 0
