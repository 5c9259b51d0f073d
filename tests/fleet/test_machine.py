"""One process of a machine reads the feed for all of them: what that saves, and that nothing depends on it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from fleet.promises import refused_in_time, sharing_fleet_of, signed_in

from moonkey_core.emulator import Emulator
from moonkey_core.redis import machine
from support.feed_process import FeedProcess
from support.feeds import MakeProcess, Process
from support.fleets import Server, gevent_workers, gunicorn, uvicorn
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

LAG = 1.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "feed"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def make_sibling(make_process: MakeProcess, folder: Path) -> Callable[[], Process]:
    """One more process of the machine; all in this one, which a lock of the system cannot tell from others."""
    return lambda: make_process(max_revocation_lag=LAG, feed_directory=str(folder))


@pytest.fixture
def make_other(server: RedisServer, folder: Path) -> Iterator[Callable[[], FeedProcess]]:
    """One more process that can be killed."""
    options = {"secret_key": "sk_test_fleet", "redis_url": server.url, "max_revocation_lag": LAG}
    with ExitStack() as stack:
        yield lambda: stack.enter_context(FeedProcess(**options, feed_directory=str(folder)))


def waiting(server: RedisServer) -> list[int]:
    """The processes that wait for entries in Redis, by id, at this moment."""
    blocked = [one["name"] for one in server.client.client_list() if "b" in one["flags"]]
    return [int(name.partition(":")[2].partition("@")[0]) for name in blocked]


def reads_for_all(server: RedisServer) -> int:
    """Wait until one process alone waits in Redis; return which."""
    assert wait_until(lambda: len(waiting(server)) == 1)
    found = waiting(server)
    return found[0] if found else reads_for_all(server)


def all_know(processes: list[Process], session_id: str) -> bool:
    return wait_until(lambda: all(one.refuses(session_id) for one in processes))


def all_live(processes: list[Process]) -> bool:
    return wait_until(lambda: all(one.is_live for one in processes))


def told(process: Process) -> bool:
    found = process.feed._worker._machine
    assert found is not None
    return found.is_told


class TestOneReader:
    def test_one_process_waits_in_redis_and_all_know(
        self, make_sibling: Callable[[], Process], server: RedisServer
    ) -> None:
        fleet = [make_sibling() for _ in range(5)]
        assert all_live(fleet)
        assert wait_until(lambda: sum(map(told, fleet)) == 4)
        reads_for_all(server)
        for place, one in enumerate(fleet):
            one.known.add(session_id=f"sess_{place}")
            assert all_know(fleet, f"sess_{place}")
        fleet[0].known.add(user_id="user_1", issued_before=time.time())
        assert wait_until(lambda: all(one.known.refuses("sess_x", "user_1", 1e9) for one in fleet))
        assert all_live(fleet)

    def test_a_burst_reaches_all(self, make_sibling: Callable[[], Process]) -> None:
        fleet = [make_sibling() for _ in range(3)]
        assert all_live(fleet)
        assert wait_until(lambda: sum(map(told, fleet)) == 2)
        for place in range(7_000):  # more than are kept for those that come late
            fleet[place % 3].known.add(session_id=f"sess_{place}")
        assert wait_until(lambda: all(len(one.known) == 7_000 for one in fleet))
        assert all_live(fleet)

    def test_the_socket_is_for_the_user_alone(
        self, make_sibling: Callable[[], Process], folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "moonkey"):
            assert all_live([make_sibling()])
            assert wait_until(lambda: "feed_reader" in {getattr(one, "reason", "") for one in caplog.records})
        assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}
        assert not any(one.stat().st_mode & 0o077 for one in [folder, *folder.iterdir()])

    def test_another_takes_its_place_when_it_closes(
        self, make_sibling: Callable[[], Process], server: RedisServer
    ) -> None:
        fleet = [make_sibling() for _ in range(3)]
        assert all_live(fleet)
        assert wait_until(lambda: sum(map(told, fleet)) == 2)
        (first,) = (one for one in fleet if not told(one))
        first.feed.close()
        fleet.remove(first)
        assert wait_until(lambda: sum(map(told, fleet)) == 1)
        fleet[0].known.add(session_id="sess_1")
        assert all_know(fleet, "sess_1")

    def test_redis_comes_back_empty(self, make_sibling: Callable[[], Process], server: RedisServer) -> None:
        fleet = [make_sibling() for _ in range(3)]
        assert all_live(fleet)
        fleet[0].known.add(session_id="sess_1")
        assert all_know(fleet, "sess_1")
        server.kill()
        assert wait_until(lambda: not any(one.is_live for one in fleet))
        server.start()
        assert all_live(fleet)
        fleet[1].known.add(session_id="sess_2")
        assert all_know(fleet, "sess_2")
        late = make_sibling()
        assert all_live([late])
        assert all_know([late], "sess_1")


class TestWithoutIt:
    def test_it_is_killed(self, make_other: Callable[[], FeedProcess], server: RedisServer) -> None:
        fleet = [make_other() for _ in range(3)]
        assert wait_until(lambda: all(one.state()["live"] for one in fleet))
        for round_ in range(2):
            first = reads_for_all(server)
            (victim,) = (one for one in fleet if one.pid == first)
            fleet.remove(victim)
            victim.kill()
            fleet[0].tell("add", first=round_, count=1)
            known = [round_ + 1] * len(fleet)
            assert wait_until(lambda known=known: [one.state()["known"] for one in fleet] == known)  # type: ignore[misc]
            assert wait_until(lambda: any(one.pid in waiting(server) for one in fleet))

    def test_it_hangs(self, make_other: Callable[[], FeedProcess], server: RedisServer) -> None:
        fleet = [make_other() for _ in range(3)]
        assert wait_until(lambda: all(one.state()["live"] for one in fleet))
        first = reads_for_all(server)
        (hanging,) = (one for one in fleet if one.pid == first)
        rest = [one for one in fleet if one is not hanging]
        hanging.pause()
        try:
            rest[0].tell("add", first=0, count=1)
            assert wait_until(lambda: rest[1].state()["known"] == 1)
            assert wait_until(lambda: all(one.state()["live"] for one in rest))
            assert wait_until(lambda: any(one.pid in waiting(server) for one in rest))
        finally:
            hanging.resume()
        assert wait_until(lambda: hanging.state()["known"] == 1)
        assert wait_until(lambda: all(one.state()["live"] for one in fleet))


SERVERS = {"gunicorn": gunicorn, "uvicorn": uvicorn, "gevent": partial(gevent_workers, preload=True)}


@pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS)
def test_workers_of_a_server(serve: Callable[..., Server], emulator: Emulator) -> None:
    if serve is SERVERS["gevent"]:
        pytest.importorskip("gevent")
    with sharing_fleet_of(serve, 3, emulator) as fleet:
        assert reads_for_all(fleet.redis)
        for revoker in fleet.workers:
            person = signed_in(fleet)
            revoked = revoker.post("/revoke", session_id=person.session_id)
            assert revoked.status == 200
            refused_in_time(fleet, revoker, person.session_jwt, revoked.came_at)
        assert fleet.feeds_are("live")


class TestTheFolder:
    @pytest.mark.parametrize("mistake", ["missing", "open", "a file"])
    def test_each_process_reads_by_itself(
        self, mistake: str, make_sibling: Callable[[], Process], folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        if mistake == "open":
            folder.chmod(0o755)
        else:
            folder.rmdir()
        if mistake == "a file":
            folder.write_text("")
        fleet = [make_sibling() for _ in range(2)]
        assert all_live(fleet)
        fleet[0].known.add(session_id="sess_1")
        assert all_know(fleet, "sess_1")
        assert not any(map(told, fleet))
        assert wait_until(lambda: "feed_directory" in {getattr(one, "reason", "") for one in caplog.records})

    def test_a_child_of_a_fork_keeps_no_lock(self, folder: Path) -> None:
        feed = machine.MachineFeed(str(folder), "0" * 16, None, 1.0)  # type: ignore[arg-type]
        with feed._holding_lock() as has_lock:
            assert has_lock
            assert len(machine._locks) == 1
            (lock,) = machine._locks
            copy = os.dup(lock)  # what a child has
            machine._locks.add(copy)
            machine._locks.discard(lock)
            machine._forget_locks()
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(copy)
            machine._locks.add(lock)
            with feed._holding_lock() as has_other:
                assert not has_other
        with feed._holding_lock() as has_lock:
            assert has_lock


LIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\xff\xfe\n",
    "another form": b"[1]\n",
    "no rows": b'{"rows": 7, "complete_after": 0.0}\n',
    "a row of another form": b'{"rows": [["1-1"]], "complete_after": 0.0}\n',
    "an id that is none": b'{"rows": [["x-1", ""]], "complete_after": 0.0}\n',
    "no base64": b'{"rows": [["1-1", "%"]], "complete_after": 0.0}\n',
    "no number": b'{"rows": [], "complete_after": NaN}\n',
    "very deep": b"[" * 100_000 + b"\n",
    "very long": b'{"rows": [["1-1", "' + b"A" * 5_000_000 + b'"]]}\n',
    "what is not kept": b'{"rows": null}\n',
    "entries that are known": b'{"rows": [["1-1", "AAAA"]], "complete_after": -9.0}\n',
}


@contextmanager
def liar(folder: Path, name: str, reply: bytes) -> Iterator[None]:
    """What stands in the place of the reader, has its lock, and answers nonsense."""
    lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / f"{name}.sock"))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1000)
                    connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        os.close(lock)
        thread.join()


@pytest.mark.parametrize("reply", LIES.values(), ids=LIES)
def test_nonsense_harms_nothing(
    reply: bytes, make_sibling: Callable[[], Process], make_process: MakeProcess, folder: Path
) -> None:
    first = make_sibling()
    assert all_live([first])
    assert wait_until(lambda: any(folder.glob("*.sock")))
    (found,) = folder.glob("*.sock")
    first.feed.close()
    with liar(folder, found.stem, reply):
        one, other = make_sibling(), make_process(max_revocation_lag=LAG)
        assert all_live([one, other])
        other.known.add(session_id="sess_1")
        assert all_know([one], "sess_1")
        assert all_live([one, other])
