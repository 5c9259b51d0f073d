"""What goes wrong, one fault at a time: each function brings it about, waits, and leaves everything well."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Callable
from typing import Any

from chaos.model import FURTHEST_CLOCK, Session
from chaos.people import NO_ANSWER
from chaos.spans import Part
from chaos.stage import WORKERS, Side, Stage
from redis.exceptions import ResponseError

from support.fleets import Line
from support.patience import PATIENCE
from support.scripted import wait_until
from support.tcp_proxy import State

Fault = Callable[[Stage, random.Random], None]

_API_SECONDS, _REDIS_SECONDS, _LINK_SECONDS, _STOP_SECONDS = (0.3, 4.0), (0.3, 5.0), (0.3, 4.0), (0.3, 4.0)
_DELAYS, _DRIPS = (0.05, 0.4), (0.0002, 0.005)  # seconds: one way, and between two bytes
_STATES: tuple[State, ...] = ("cut", "deaf", "half", "no_requests", "no_replies")
_LOST_FOR_ALL: tuple[State, ...] = ("cut", "deaf")

_REPLIES: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503, "headers": {"Retry-After": "1"}},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "reset": {"reset": True},
    "a proxy's 404": {"status": 404, "headers": {"Content-Type": "text/html"}, "body": "<html>not here</html>"},
    "a proxy's 401": {"status": 401, "headers": {"Content-Type": "text/html"}, "body": "<html>sign in</html>"},
    # Not for revocations: what says that one is done, in so many words, has to be believed.
    "an empty 200": {"status": 200, "body": "{}", "path": "/v1/auth/sessions/verify"},
    "half a 200": {"status": 200, "body": '{"session": {"id": "sess_'},
    "a slow answer": {"delay": 0.3},
}


def api_killed(stage: Stage, rng: random.Random) -> None:
    stage.tally.note_action("API killed")
    with stage.spans.during("api", stage.numbers):
        stage.emulator.kill()
        stage.pause(rng.uniform(*_API_SECONDS))
        stage.emulator.start()


def api_hanging(stage: Stage, rng: random.Random) -> None:
    stage.tally.note_action("API hanging")
    with stage.spans.during("api", stage.numbers):
        stage.emulator.pause()
        stage.pause(rng.uniform(*_API_SECONDS))
        stage.emulator.resume()


def api_talking_nonsense(stage: Stage, rng: random.Random) -> None:
    what = rng.choice(list(_REPLIES))
    stage.tally.note_action(f"API with {what}")
    line = Line(stage.emulator.port)
    with stage.spans.during("api", stage.numbers):
        line.post("/_emulator/faults", {"path": "/v1", **_REPLIES[what]})
        stage.pause(rng.uniform(*_API_SECONDS))
        line.delete("/_emulator/faults")
    line.close()


def redis_killed(stage: Stage, rng: random.Random) -> None:
    """It comes back empty."""
    stage.tally.note_action("Redis killed")
    with stage.spans.during("redis", stage.numbers):
        stage.redis.kill()
        stage.pause(rng.uniform(*_REDIS_SECONDS))
        stage.redis.start()


def redis_hanging(stage: Stage, rng: random.Random) -> None:
    stage.tally.note_action("Redis hanging")
    with stage.spans.during("redis", stage.numbers):
        stage.redis.pause()
        stage.pause(rng.uniform(*_REDIS_SECONDS))
        stage.redis.resume()


def redis_without_streams(stage: Stage, rng: random.Random) -> None:
    """It answers, but not the feed: what it stores goes on being read."""
    stage.tally.note_action("Redis without streams")
    with stage.spans.during("redis", stage.numbers):
        stage.redis.client.execute_command("ACL", "SETUSER", "default", "-@stream")
        stage.pause(rng.uniform(*_REDIS_SECONDS))
        stage.redis.client.execute_command("ACL", "SETUSER", "default", "+@all")


def redis_read_only(stage: Stage, rng: random.Random) -> None:
    """It can be read, and takes nothing: every worker hears the feed, and none can publish."""
    stage.tally.note_action("Redis read-only")
    with stage.spans.during("redis", stage.numbers, delays_pending=True):
        stage.redis.client.execute_command("ACL", "SETUSER", "default", "-xadd")
        stage.pause(rng.uniform(*_REDIS_SECONDS))
        stage.redis.client.execute_command("ACL", "SETUSER", "default", "+@all")


def redis_emptied(stage: Stage, _: random.Random) -> None:
    stage.tally.note_action("Redis emptied")
    with stage.spans.during("redis", stage.numbers):
        stage.redis.client.flushall()


def redis_full(stage: Stage, rng: random.Random) -> None:
    """It takes no more, and evicts nothing."""
    stage.tally.note_action("Redis full")
    with stage.spans.during("redis", stage.numbers, delays_pending=True):
        stage.redis.client.config_set("maxmemory", 1)
        stage.pause(rng.uniform(*_REDIS_SECONDS))
        stage.redis.client.config_set("maxmemory", 0)


def redis_evicting(stage: Stage, rng: random.Random) -> None:
    """It throws out what it likes, the feed among it."""
    stage.tally.note_action("Redis evicting")
    client = stage.redis.client
    with stage.spans.during("redis", stage.numbers):
        client.config_set("maxmemory-policy", rng.choice(["allkeys-random", "allkeys-lru", "volatile-ttl"]))
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 300_000)
        for number in range(rng.randrange(200, 600)):
            with contextlib.suppress(ResponseError):  # there is nothing left that it may throw out
                client.set(f"filler:{number}", "x" * 10_000, ex=600)
            stage.pause(0.002)
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.delete(*client.keys("filler:*"), "filler")


def fail_over(stage: Stage, rng: random.Random) -> None:
    """The replica is promoted, without the last writes of the other."""
    assert stage.replica is not None
    stage.tally.note_action("fail-over")
    old, new = stage.redis, stage.replica
    way = stage.replication
    way.lead_to(old.port)
    way.set()
    new.client.replicaof("127.0.0.1", way.port)
    assert wait_until(lambda: new.client.info("replication").get("master_link_status") == "up", PATIENCE)
    stage.pause(1.0)
    way.set("deaf")  # what is written from now on gets lost
    stage.pause(rng.uniform(0.2, 1.5))
    with stage.spans.during("redis", stage.numbers):
        old.kill()
        stage.pause(rng.uniform(0.0, 2.0))
        new.client.replicaof("NO", "ONE")
        for side in stage.sides:
            side.redis.lead_to(new.port)
    stage.redis, stage.replica = new, old
    old.start()


def replicated_fail_over(stage: Stage, rng: random.Random) -> None:
    """The replica is promoted, without the last writes; what was ``published`` is on it (``redis_replicas``).

    The way to the replica is slow, so what Redis alone has acknowledged is not on the replica yet.
    """
    assert stage.replica is not None
    stage.tally.note_action("fail-over to a replica that counts")
    old, new, way = stage.redis, stage.replica, stage.replication
    way.lead_to(old.port)
    way.set()
    new.client.replicaof("127.0.0.1", way.port)
    assert wait_until(lambda: new.client.info("replication").get("master_link_status") == "up", PATIENCE)
    way.set(delay=rng.uniform(0.02, 0.04))
    published = _published(stage, rng, rng.randrange(3, 7))
    with stage.spans.during("redis", stage.numbers):
        way.set("deaf")
        stage.pause(rng.uniform(0.0, 1.0))  # what is revoked meanwhile is pending, and gets lost
        old.kill()
        new.client.replicaof("NO", "ONE")
        known = stage.known_at(new, published)
        if not all(known):
            stage.tally.note_wrong(f"published is lost: {known.count(False)} of {len(known)} in a fail-over")
        for side in stage.sides:
            side.redis.lead_to(new.port)
    stage.redis, stage.replica = new, old
    old.start()


def _published(stage: Stage, rng: random.Random, count: int) -> list[Session]:
    """So many sessions that have ended, and whose end was said to be published; the last one just now."""
    api, found = Line(stage.emulator.port), list[Session]()
    lines = [Line(side.server.port) for side in stage.sides]

    def end_one() -> bool:
        session, side = stage.people.one_more(api), rng.randrange(len(lines))
        if session is not None:
            stage.people.end(lines[side], session, side)
            stage.people.retire(session)
            if session.ending is not None and session.ending.is_published:
                found.append(session)
        return len(found) >= count

    if not wait_until(end_one, 2 * PATIENCE):
        stage.tally.note_wrong("nothing is published: although there is a replica")
    for line in (api, *lines):
        line.close()
    return found


def link_disturbed(stage: Stage, rng: random.Random) -> None:
    """One side's way to Redis, or all sides'; or the way to the API."""
    part: Part = rng.choice(["redis", "redis", "redis", "api"])
    sides = stage.sides if part == "api" else rng.choice([[side] for side in stage.sides] + [stage.sides])
    state: State = "open"
    delay = drip = 0.0
    how = rng.choice([*_STATES, "slow", "dripping", "reset"])
    if how == "slow":
        delay = rng.uniform(*_DELAYS)
    elif how == "dripping":
        drip = rng.uniform(*_DRIPS)
    elif how != "reset":
        state = how  # type: ignore[assignment]  # one of _STATES
    stage.tally.note_action(f"way to {part} {how}")
    waits = not (len(sides) == len(stage.sides) and state in _LOST_FOR_ALL)
    with stage.spans.during(part, [one.number for one in sides], delays_pending=waits):
        links = [stage.api] if part == "api" else [one.redis for one in sides]
        for link in links:
            link.reset_all() if how == "reset" else link.set(state, delay=delay, drip=drip)
        if how != "reset":
            stage.pause(rng.uniform(*_LINK_SECONDS))
        for link in links:
            link.set()


def worker_killed(stage: Stage, rng: random.Random) -> None:
    """Its server starts another one."""
    side = rng.choice(stage.sides)
    _kill(stage, side, rng.choice(sorted(stage.workers(side))), rng.choice([signal.SIGKILL, signal.SIGTERM]))


def worker_stopped(stage: Stage, rng: random.Random) -> None:
    """It hangs, and goes on where it was."""
    side = rng.choice(stage.sides)
    stage.tally.note_action("worker stopped")
    _stop(stage, rng, side, rng.choice(sorted(stage.workers(side))))


def _stop(stage: Stage, rng: random.Random, side: Side, pid: int) -> None:
    with stage.worker_fault(side, pid, signal.SIGSTOP):
        stage.pause(rng.uniform(*_STOP_SECONDS))
        stage.signal(side, pid, signal.SIGCONT)


def reader_killed(stage: Stage, rng: random.Random) -> None:
    """That is the worker which reads the feed for the others of its side."""
    side = rng.choice(stage.sides)
    _kill(stage, side, _reader_of(stage, side, rng), rng.choice([signal.SIGKILL, signal.SIGTERM]))


def reader_stopped(stage: Stage, rng: random.Random) -> None:
    """It keeps its lock and its socket meanwhile."""
    side = rng.choice(stage.sides)
    stage.tally.note_action("reader stopped")
    _stop(stage, rng, side, _reader_of(stage, side, rng))


def _reader_of(stage: Stage, side: Side, rng: random.Random) -> int:
    """Return the worker of a side that alone waits in Redis, or any one where none does."""
    workers = stage.workers(side)
    names = [one["name"] for one in stage.redis.client.client_list() if "b" in one["flags"]]
    waiting = workers & {int(name.partition(":")[2].partition("@")[0]) for name in names if name}
    return waiting.pop() if len(waiting) == 1 else rng.choice(sorted(workers))


def killed_after_its_answer(stage: Stage, rng: random.Random) -> None:
    """A worker dies the moment it has answered that a session is revoked."""
    side = rng.choice(stage.sides)
    api = Line(stage.emulator.port)
    try:
        session = stage.people.one_more(api)
    except NO_ANSWER:
        return
    finally:
        api.close()
    if session is None or not stage.seen_by_all(session):
        return
    line = Line(side.server.port)
    answer = stage.people.end(line, session, side.number)
    if answer is not None and answer.status == 200:
        _kill(stage, side, answer.worker, signal.SIGKILL, session)
    line.close()


def _kill(stage: Stage, side: Side, pid: int, number: signal.Signals, session: Any = None) -> None:
    stage.tally.note_action(f"worker killed by {number.name}")
    with stage.worker_fault(side, pid, number):
        if session is not None:
            stage.people.retire(session)
            stage.watch(session)
        assert wait_until(lambda: len(stage.workers(side) - {pid}) >= WORKERS, PATIENCE)


def api_clock_set(stage: Stage, rng: random.Random) -> None:
    """By less than the leeway: that is allowed, and nobody may notice."""
    stage.tally.note_action("API clock set")
    line = Line(stage.emulator.port)
    with stage.spans.during("api clock", stage.numbers):
        offset = rng.uniform(-0.6, 0.6)
        line.post("/_emulator/clock", {"offset": offset})
        stage.judge.api_clock = offset
        stage.pause(0.2)
    line.close()


def machine_clock_set(stage: Stage, rng: random.Random) -> None:
    """One side's clock jumps, by less or by far more than the leeway, and is put right later."""
    side = rng.choice(stage.sides)
    offset = rng.choice([-0.4, 0.4, -30.0, 30.0, -FURTHEST_CLOCK, FURTHEST_CLOCK])
    stage.tally.note_action(f"clock off by {offset:g} s")
    with stage.spans.during("clock", [side.number]):
        side.set_clock(offset)
        stage.pause(rng.uniform(1.5, 4.0))
        with stage.spans.during("clock", [side.number]):  # a change of its own, noted before it comes
            side.set_clock(0.0)
            stage.pause(0.2)


API: tuple[Fault, ...] = (api_killed, api_hanging, api_talking_nonsense, api_talking_nonsense)
REDIS: tuple[Fault, ...] = (
    *(redis_killed, redis_hanging, redis_without_streams, redis_emptied),
    *(redis_full, redis_read_only, redis_evicting),
)
WORKER: tuple[Fault, ...] = (worker_killed, worker_stopped, killed_after_its_answer)
READER: tuple[Fault, ...] = (
    *(reader_killed, reader_stopped, killed_after_its_answer),
    *(link_disturbed, redis_killed, redis_emptied, machine_clock_set),
)
CLOCK: tuple[Fault, ...] = (machine_clock_set, machine_clock_set, api_clock_set)
