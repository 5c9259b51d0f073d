"""Machines whose clocks are wrong, and one Redis: by its clock revocations are dated, and grow old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from moonkey_core._crypto import Sealer, fleet_sealer
from moonkey_core.events import Hooks
from moonkey_core.redis import RedisRevocations
from moonkey_core.redis.client import async_client
from moonkey_core.redis.entries import open_entry, seal_entry
from moonkey_core.redis.stream import ServerClock, Stream
from moonkey_core.revocations import Revocation, Revocations, retention
from moonkey_core.settings import Secret
from support.feeds import settings_for, stream_names
from support.redis_server import RedisServer
from support.scripted import wait_until


class Machine:
    """One process, on a machine whose clock is ``ahead`` of the right time by so many seconds."""

    def __init__(self, server: RedisServer, ahead: float, **options: Any) -> None:
        self.ahead = ahead
        self.settings = settings_for(server, **options)
        self.known = Revocations(
            retention=retention(self.settings), leeway=self.settings.leeway, clock=lambda: time.time() + self.ahead
        )
        self.feed = RedisRevocations(self.settings, self.known)
        self.hooks = Hooks()
        self.feed.acquire(self.hooks)

    def is_live(self) -> bool:
        return self.feed.is_live

    def refuses(self, issued_at: float, user_id: str = "user_1", session_id: str = "sess_1") -> bool:
        return self.known.refuses(session_id, user_id, issued_at)


Make = Callable[..., Machine]


@pytest.fixture
def machine(server: RedisServer) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(ahead: float = 0.0, *, live: bool = True, **options: Any) -> Machine:
            made = Machine(server, ahead, **options)
            stack.callback(made.feed.close)
            if live:
                assert wait_until(made.is_live)
            return made

        yield make


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if "reason" in record.__dict__]


SKEWS = [-400.0, -10.0, 10.0, 400.0]


@pytest.mark.rule("S36")
@pytest.mark.parametrize("ahead", [-400.0, 400.0])
class TestAClockThatIsSet:
    def test_nothing_that_was_heard_is_forgotten(self, ahead: float, machine: Make) -> None:
        revoker, other = machine(), machine(ahead)
        revoker.known.add(session_id="sess_1")
        revoker.known.add(user_id="user_2")
        issued = time.time() - 2
        assert wait_until(lambda: other.refuses(issued) and other.refuses(issued, "user_2", "sess_2"))
        other.ahead = 0.0
        # By the clock that is right now, all of this may seem far too old to matter.
        assert wait_until(lambda: other.refuses(issued) and other.refuses(issued, "user_2", "sess_2"))
        assert wait_until(other.is_live)
        assert other.refuses(issued)
        assert other.refuses(issued, "user_2", "sess_2")

    def test_nor_is_what_was_revoked_here(self, ahead: float, machine: Make) -> None:
        revoker = machine(ahead)
        revoker.known.add(session_id="sess_1")
        assert wait_until(lambda: revoker.feed.unsent == 0)
        revoker.ahead = 0.0
        assert wait_until(lambda: revoker.refuses(time.time()) and revoker.is_live())

    def test_what_is_revoked_in_the_same_moment(self, ahead: float, machine: Make) -> None:
        revoker, other = machine(ahead), machine()
        issued = time.time() - 1
        revoker.ahead = 0.0
        revoker.known.add(user_id="user_1")
        revoker.known.add_cutoff("user_2")
        revoker.known.add(session_id="sess_3")
        for one in (revoker, other):
            assert wait_until(lambda: one.refuses(issued))  # noqa: B023 - called at once
            assert wait_until(lambda: one.refuses(issued - 10, "user_2", "sess_2"))  # noqa: B023
            assert wait_until(lambda: one.refuses(issued, "user_3", "sess_3"))  # noqa: B023

    def test_it_is_not_relied_on_until_all_is_read_again(self, ahead: float, machine: Make) -> None:
        other = machine(ahead)
        other.ahead = 0.0
        assert wait_until(lambda: not other.feed.caught_up(time.monotonic()))
        assert wait_until(other.is_live)


@pytest.mark.rule("S36")
@pytest.mark.long
@pytest.mark.parametrize("ahead", SKEWS)
class TestTheRevokersClock:
    def test_an_old_jwt_is_refused_and_a_new_sign_in_is_not(self, ahead: float, machine: Make) -> None:
        revoker, other = machine(ahead), machine()
        issued = time.time()
        revoker.known.add(user_id="user_1")
        assert revoker.refuses(int(issued))
        assert wait_until(lambda: len(other.known) == 1)
        for one in (revoker, other):
            assert one.refuses(int(issued))
            assert one.refuses(issued - 200)
            assert not one.refuses(issued + 1)  # a sign-in a second later
        late = machine(-ahead)
        assert late.refuses(int(issued))
        assert not late.refuses(issued + 1)

    def test_a_session_is_refused_everywhere(self, ahead: float, machine: Make) -> None:
        revoker, other, third = machine(ahead), machine(), machine(-ahead)
        revoker.known.add(session_id="sess_1")
        assert wait_until(lambda: other.refuses(time.time()) and third.refuses(time.time()))
        assert machine(2 * ahead).refuses(time.time())

    def test_what_was_revoked_before_redis_was_heard(self, ahead: float, machine: Make) -> None:
        other = machine()
        revoker = machine(ahead, live=False)
        issued = time.time()
        revoker.known.add(user_id="user_1")
        revoker.known.add(session_id="sess_2")
        assert wait_until(lambda: len(other.known) == 2)
        for one in (revoker, other):
            assert one.refuses(int(issued))
            assert wait_until(lambda: not one.refuses(issued + 1))  # noqa: B023 - called at once

    def test_what_was_revoked_while_redis_is_away(self, ahead: float, machine: Make, server: RedisServer) -> None:
        revoker, other = machine(ahead), machine()
        server.pause()
        assert wait_until(lambda: not revoker.feed.caught_up(time.monotonic()))
        issued = time.time()
        revoker.known.add(user_id="user_1")
        revoker.known.add(session_id="sess_2")
        assert revoker.refuses(int(issued))
        assert not revoker.refuses(issued + 1)
        server.resume()
        assert wait_until(lambda: len(other.known) == 2)
        assert other.refuses(int(issued))
        assert not other.refuses(issued + 1)

    def test_what_redis_has_lost_is_said_again_with_the_same_date(
        self, ahead: float, machine: Make, server: RedisServer
    ) -> None:
        revoker, other = machine(ahead), machine(-ahead)
        issued = time.time()
        revoker.known.add(user_id="user_1")
        assert wait_until(lambda: len(other.known) == 1)
        revoker.feed.close()
        server.client.flushall()
        late = machine()
        assert wait_until(lambda: late.refuses(int(issued)))
        assert not late.refuses(issued + 1)

    def test_it_is_one_warning_that_names_the_difference(
        self, ahead: float, machine: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "moonkey")
        one = machine(ahead)
        beats = one.feed.lag
        for _ in range(3):
            before = time.monotonic() - (beats() or 0.0)
            assert wait_until(lambda: time.monotonic() - (beats() or 0.0) > before + 0.05)  # noqa: B023
        assert reasons(caplog).count("clock_skew_redis") == 1
        assert f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} that of Redis" in caplog.text
        one.ahead = 0.0  # set right
        assert wait_until(lambda: "clock_agrees_redis" in reasons(caplog))
        one.known.add(user_id="user_1")
        assert not one.refuses(time.time() + 1)


@pytest.mark.long
@pytest.mark.parametrize("ahead", SKEWS)
def test_what_a_child_revokes_before_its_own_feed_has_heard(ahead: float, machine: Make) -> None:
    revoker, other = machine(ahead), machine()
    revoker.feed.close()
    revoker.feed.reset()  # as after a fork
    issued = time.time()
    revoker.known.add(user_id="user_1")
    revoker.feed.acquire(revoker.hooks)
    assert wait_until(revoker.is_live)
    assert wait_until(lambda: len(other.known) == 1)
    for one in (revoker, other):
        assert one.refuses(int(issued))
        assert not one.refuses(issued + 1)


@pytest.mark.long
def test_clocks_within_the_leeway_are_no_warning(machine: Make, caplog: pytest.LogCaptureFixture) -> None:
    one = machine(3.0)
    machine(-3.0)
    assert one.known.now() == pytest.approx(time.time(), abs=1.0)
    assert reasons(caplog).count("clock_skew_redis") == 0


@pytest.mark.rule("S36")
@pytest.mark.long
def test_only_the_age_on_the_server_counts(machine: Make, server: RedisServer) -> None:
    """An entry whose sender's clock was anything, of the form that today's processes write."""
    one = machine()
    (name,) = stream_names(server)
    sealer = fleet_sealer(one.settings, "feed")
    now = time.time()

    def put(place: str, entry: Revocation) -> None:
        server.client.xadd(name, {"entry": seal_entry(sealer, name.decode(), entry)}, id=place)

    put("*", Revocation("sess_1", None, None, 0.0))
    put("*", Revocation("sess_2", None, None, now + 1e6))
    put("*", Revocation(None, "user_3", now + 1e6, now + 1e6))
    late = machine(-400.0)
    for process in (one, late):
        assert wait_until(lambda: len(process.known) == 3)  # noqa: B023 - called at once
        assert process.refuses(now, session_id="sess_1")
        assert process.refuses(now, session_id="sess_2")
        assert process.refuses(now + 50, "user_3", "sess_9")
        assert not process.refuses(now + 70, "user_3", "sess_9")


@pytest.mark.rule("S36")
@pytest.mark.long
def test_what_is_too_old_on_the_server_is_nothing(machine: Make, server: RedisServer) -> None:
    one = machine()
    sealer = fleet_sealer(one.settings, "feed")
    kept = one.known.retention
    epoch = next(key for key in server.client.keys("moonkey:*:feed:epoch"))
    root = epoch.removesuffix(b":epoch").decode()
    one.feed.close()
    server.client.flushall()
    now = time.time()
    name = f"{root}:{'0' * 32}"
    for back, session in ((kept + 1, "sess_old"), (kept - 20, "sess_young")):
        entry = Revocation(session, None, None, now)  # whatever it says itself
        sealed = seal_entry(sealer, name, entry)
        server.client.xadd(name, {"entry": sealed}, id=f"{int((now - back) * 1000)}-0")
    server.client.set(epoch, f"{'0' * 32}.{int((now - 1000) * 1000)}")
    late = machine(400.0)
    assert late.refuses(now, session_id="sess_young")
    assert not late.refuses(now, session_id="sess_old")
    late.ahead += 21
    assert not late.refuses(now, session_id="sess_young")


# Of the version before this one: sealed for the stream "moonkey:feed" under the secret "sk_test_fixture".
ENTRIES = {
    "session": (
        "01157382d0d6758e4a6e8379da3bba2939791bb49fc38764c17afb8fe1ba2872dcf0f851b7ea7497"
        "456002bba691631404a40508bfdaba632ab1e6eb9fa6a2aefa88946af1b7a63d2c34ca83",
        Revocation("sess_1", None, None, 1_800_000_000.5),
    ),
    "user": (
        "014c3928c8a17a07af7b420dff61c3c0f68f05d2923183439861c45f630eab1c553b3cea6f62c81d"
        "2638a463d0142701f0abe7935e888f7be591202f782751ebbd0b95e754f5274b5b0c1105d71435dd"
        "14c7958c53d5fb",
        Revocation(None, "user_é", 1_800_000_000.25, 1_800_000_000.25),
    ),
    "everybody": (
        "012aea524fd30e9c75cac31d24a58832ead4650ebd9400b8942babebede03a7419a1db105efc0e79"
        "ad6d3039bb8795017a64b1b6441da252d5cd93048fc114a4ea345a007a0b0a2f64cf2a146d3a8c9e",
        Revocation(None, None, 1_799_999_000.0, 1_800_000_000.0),
    ),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_entries_of_the_version_before_are_understood(kind: str) -> None:
    sealed, entry = ENTRIES[kind]
    sealer = Sealer("sk_test_fixture", "feed https://api.example.com")
    assert open_entry(sealer, "moonkey:feed", bytes.fromhex(sealed)) == entry


def test_and_it_understands_ours() -> None:
    """It wants an object with one list of these four, and reads nothing else."""
    sealer = Sealer("sk_test_fixture", "feed https://api.example.com")
    entry = Revocation(None, "user_1", 5.0, 6.0, by_local_clock=True)
    sealed = seal_entry(sealer, "moonkey:feed", entry)
    assert sealer.open("moonkey:feed", sealed) == b'{"entry": [null, "user_1", 5.0, 6.0]}'


@pytest.mark.parametrize("ahead", [-400.0, 400.0])
def test_a_clock_that_was_just_set_drops_nothing_from_the_stream(ahead: float, server: RedisServer) -> None:
    """By the new time all of it may seem too old, what is being added included."""
    shift = [0.0]

    async def work() -> None:
        client = async_client(Secret(server.url), 5.0, 2)
        clock = ServerClock(5.0, lambda: time.time() + shift[0])
        stream = await Stream.join(client, "moonkey:test", 5.0, 60.0, clock)
        await stream.publish([b"before"])
        shift[0] = ahead
        await stream.publish([b"sealed"] * 200)
        await stream.measure()
        assert stream.length == 202
        assert clock.server_time() == pytest.approx(time.time(), abs=30)
        await client.connection_pool.disconnect()

    asyncio.run(work())


class TestServerClock:
    def test_a_slow_answer_changes_nothing(self) -> None:
        now = [1000.0]
        clock = ServerClock(5.0, lambda: now[0])
        clock.update((1000, 0), (1000, 0), 1000.0)
        now[0] = 1020.0
        clock.update((1000, 0), (1000, 500), 1000.0)  # it came after 20 seconds
        assert clock.offset == 0.0

    def test_bounds_are_kept_and_a_clock_that_was_set_is_not_believed(self) -> None:
        now = [1000.0]
        clock = ServerClock(5.0, lambda: now[0])
        clock.update((1010, 0), (1010, 0), 999.9)
        assert clock.offset == pytest.approx(10.0)
        assert clock.is_wrong
        clock.update((1010, 0), (1020, 0), 1000.0)  # within no time at all
        assert clock.offset == pytest.approx(10.0)
        clock.update((1004, 500000), (1004, 500000), 1000.0)
        assert clock.is_wrong  # not near enough to be right again
        clock.update((1003, 0), (1003, 0), 1000.0)
        assert not clock.is_wrong
        clock.update((1004, 900000), (1004, 900000), 1000.0)
        assert not clock.is_wrong
