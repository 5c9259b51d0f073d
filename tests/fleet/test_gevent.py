"""gunicorn's gevent workers: the feed beside greenlets, with the app loaded before the fork and after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from fleet import promises
from fleet.promises import Fleet, fleet_of, patient_fleet_of, refused_in_time, signed_in

from moonkey_core.emulator import Emulator
from support.feeds import stream_names
from support.fleets import Line, Server, bearer, gevent_workers
from support.patience import PATIENCE
from support.scripted import wait_until

pytestmark = pytest.mark.long
pytest.importorskip("gevent")


@pytest.fixture(params=[False, True], ids=["loaded after the fork", "preloaded"])
def serve(request: pytest.FixtureRequest) -> Callable[..., Server]:
    return partial(gevent_workers, preload=request.param)


@pytest.fixture
def fleet(serve: Callable[..., Server], emulator: Emulator) -> Iterator[Fleet]:
    with fleet_of(serve, 2, emulator) as fleet:
        yield fleet


@pytest.fixture
def patient_fleet(serve: Callable[..., Server], emulator: Emulator) -> Iterator[Fleet]:
    with patient_fleet_of(serve, 2, emulator) as fleet:
        yield fleet


def test_revocations_arrive(patient_fleet: Fleet) -> None:
    promises.a_revoked_session_is_refused_by_all(patient_fleet)
    promises.a_revoked_user_is_refused_by_all(patient_fleet)


def test_async_views_are_served(fleet: Fleet) -> None:
    person = signed_in(fleet)
    for worker in fleet.workers:
        assert worker.get("/heard").body["patched"]
        for _ in range(3):
            answer = worker.get("/async-me", person.session_jwt)
            assert (answer.status, answer.body.get("user")) == (200, person.user_id)
        assert worker.get("/async-me").status == 401


def test_a_revocation_arrives_under_load(fleet: Fleet) -> None:
    """Many greenlets are busy in the thread of the requests."""
    crowd = [signed_in(fleet) for _ in range(4)]
    stop = threading.Event()
    wrong: list[Any] = []

    def ask(jwt: str) -> None:
        line = Line(fleet.server.port)
        while not stop.is_set():
            answer = line.get("/me", bearer(jwt))
            if answer.status != 200:
                wrong.append(answer)
                return
        line.close()

    threads = [threading.Thread(target=ask, args=(person.session_jwt,)) for person in crowd]
    for thread in threads:
        thread.start()
    try:
        for turn in range(10):
            person = signed_in(fleet)
            revoker = fleet.workers[turn % 2]
            revoked = revoker.post("/revoke-user", user_id=person.user_id)
            assert revoked.status == 200
            refused_in_time(fleet, revoker, person.session_jwt, revoked.came_at)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert wrong == []


def test_what_the_feed_has_to_say_is_said_among_the_greenlets(fleet: Fleet) -> None:
    fleet.redis.kill()
    assert fleet.feeds_are("lost")
    fleet.redis.start()
    assert fleet.feeds_are("live")
    for worker in fleet.workers:

        def heard() -> dict[str, Any]:
            return worker.get("/heard").body  # noqa: B023 - called at once

        assert wait_until(lambda: ["feed_back", True] in heard()["logged"])
        assert wait_until(lambda: len(heard()["told"]) >= 3)
        found = heard()
        assert [state for state, _ in found["told"]] == ["caught_up", "lost", "caught_up"]
        assert all(side for _, side in found["logged"] + found["told"])
        assert [reason for reason, _ in found["logged"]].count("feed_lost") == 1


def test_they_end_in_good_order(fleet: Fleet) -> None:
    person = signed_in(fleet)
    revoked = fleet.workers[0].post("/revoke-user", user_id=person.user_id)
    assert revoked.status == 200
    began = time.monotonic()
    fleet.server.stop()
    assert time.monotonic() - began < 5 + 5  # gunicorn's own patience, and an allowance
    names = stream_names(fleet.redis)
    assert sum(fleet.redis.client.xlen(name) for name in names) == 2  # the blank one, and that
