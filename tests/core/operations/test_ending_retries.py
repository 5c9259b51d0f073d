"""Sessions that cannot be ended at the API: refused meanwhile, tried until it has them, never lost silently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, CookieSettings, MoonKey, ProviderUnavailable, RevocationIncomplete
from moonkey_core._operations import ending_queue, ending_retries
from moonkey_core._operations.ending_queue import Ending, EndingQueue
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import Revoked
from moonkey_core.flows import Rotation
from support.clients import Both
from support.flow_visits import Visitor, flow_client, json_of
from support.patience import PATIENCE, PATIENT
from support.scripted import wait_until
from support.secrets import assert_no_secret

pytestmark = pytest.mark.usefixtures("quick_retries", "soon_again")

DELETE, LIST = "/v1/auth/sessions/delete", "/v1/auth/sessions/list"
SESSION, JWT = CookieSettings().names
ME = "me@example.com"


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending_retries, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(ending_retries, "_LONGEST_PAUSE", 0.05)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def comes_true(call: Both, condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true in time, while the client's own loop runs."""
    if call._runner is None:
        return wait_until(condition)

    return call._runner.run(await_until(condition))


async def await_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.005)
    return True


def visitor(call: Both, person: SignedIn) -> Visitor:
    found = Visitor(call, html=False)
    found.cookies = {SESSION: person.session_token, JWT: person.session_jwt}
    return found


def alive(emulator: Emulator, user_id: str) -> set[str]:
    """The sessions that the API itself knows."""
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        return {session.id for session in client.sessions.list(user_id)}


def seen(call: Both) -> list[str]:
    found: list[str] = []
    call.client.hooks.add(lambda event: found.append(event.session_id) if isinstance(event, Revoked) else None)
    return found


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if record.levelno >= logging.ERROR]


def tries(emulator: Emulator) -> int:
    return emulator.requests()[f"DELETE {DELETE}"]


@pytest.mark.rule("S35")
class TestUntilTheApiHasIt:
    def test_one_of_my_devices(self, kind: str, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        mine, other = (emulator.sign_in(email=ME) for _ in range(2))
        with flow_client(kind, emulator) as call:
            ended = seen(call)
            told: list[Any] = []
            call.client.revocations.listeners += (told.append,)
            emulator.fault(DELETE, status=500)
            found = visitor(call, mine).send("POST", "revoke", session_id=other.session_id)
            assert found.status == 503
            assert comes_true(call, lambda: tries(emulator) > 6)
            for value in (other.session_token, other.session_jwt):
                assert call("authenticate", {"session-token": value}).is_rejected
            assert {entry.session_id for entry in told} == {other.session_id}
            assert ended == []
            emulator.clear_faults()
            assert comes_true(call, lambda: ended == [other.session_id])
            assert alive(emulator, mine.user_id) == {mine.session_id}
            assert comes_true(call, lambda: len(call.client._core.endings) == 0)
        assert reasons(caplog) == []

    @pytest.mark.parametrize("path", [DELETE, LIST])
    def test_all_others(self, kind: str, emulator: Emulator, path: str) -> None:
        emulator.set_clock(-30)  # so that they began well before
        mine, *others = (emulator.sign_in(email=ME) for _ in range(4))
        emulator.set_clock(0)
        with flow_client(kind, emulator) as call:
            browser = visitor(call, mine)
            emulator.fault(path, status=500)
            assert browser.post("revoke_others").status == 503
            emulator.set_clock(30)
            later = emulator.sign_in(email=ME)  # begins meanwhile, and is left alone
            emulator.set_clock(0)
            emulator.clear_faults()
            left = {mine.session_id, later.session_id}
            assert comes_true(call, lambda: alive(emulator, mine.user_id) == left)
            for other in others:
                assert call("authenticate", {"session-token": other.session_token}).is_rejected
            assert json_of(browser.get("session"))["authenticated"]

    @pytest.mark.parametrize("path", [DELETE, LIST])
    def test_a_rotation(self, kind: str, emulator: Emulator, path: str) -> None:
        emulator.set_clock(-30)
        person, *_ = (emulator.sign_in(email=ME) for _ in range(3))
        emulator.set_clock(0)
        with flow_client(kind, emulator) as call:
            sent = call("otps.send", email=ME)
            emulator.fault(path, status=500)
            code = emulator.outbox()[0].code
            found: Rotation = call(
                "sessions.rotate",
                user_id=person.user_id,
                otp=code,
                method_id=sent.method_id,
                session_expires_in=60,
            )
            wanted = RevocationIncomplete if path == DELETE else ProviderUnavailable
            assert isinstance(found.error, wanted)
            assert found.login.session is not None
            left = {found.login.session.id}
            emulator.clear_faults()
            assert comes_true(call, lambda: alive(emulator, person.user_id) == left)

    def test_the_code_of_another_user(self, kind: str, emulator: Emulator) -> None:
        person, other = emulator.sign_in(email=ME), emulator.sign_in(email="other@example.com")
        with flow_client(kind, emulator) as call:
            login = self._login(call, emulator, "other@example.com")
            emulator.fault(DELETE, status=500)
            with pytest.raises(Exception, match="another user"):
                call("sessions.rotate", user_id=person.user_id, login=login)
            emulator.clear_faults()
            assert comes_true(call, lambda: alive(emulator, other.user_id) == {other.session_id})

    def _login(self, call: Both, emulator: Emulator, email: str) -> Any:
        call("magic_links.send", email=email)
        return call("magic_links.verify", emulator.outbox()[0].code, session_expires_in=60)

    @pytest.mark.parametrize("known", [True, False])
    def test_signing_out(self, kind: str, emulator: Emulator, known: bool) -> None:
        """Where nothing is known of the token but itself, it is what the API is told later."""
        person = emulator.sign_in(email=ME)
        with flow_client(kind, emulator) as call:
            browser = visitor(call, person)
            if not known:
                del browser.cookies[JWT]
            emulator.fault("/v1/auth", status=500)
            assert json_of(browser.post("sign_out")) == {
                "signed_out": True,
                "complete": False,
                "revocation": "local",
            }
            emulator.clear_faults()
            assert comes_true(call, lambda: alive(emulator, person.user_id) == set())

    @pytest.mark.parametrize("known", [True, False])
    def test_the_session_before_a_sign_in(self, kind: str, emulator: Emulator, known: bool) -> None:
        former = emulator.sign_in(email=ME)
        with flow_client(kind, emulator) as call:
            browser = visitor(call, former)
            if not known:
                del browser.cookies[JWT]
            browser.post("send_otp", {"address": ME})
            emulator.fault(DELETE, status=500)
            if not known:
                emulator.fault("/v1/auth/sessions/verify", status=500)
            assert json_of(browser.post("verify_otp", {"code": emulator.outbox()[0].code}))["authenticated"]
            emulator.clear_faults()
            assert comes_true(call, lambda: former.session_id not in alive(emulator, former.user_id))
            assert len(alive(emulator, former.user_id)) == 1

    @pytest.mark.parametrize("route", ["revoke", "revoke_others", "sign_out"])
    def test_a_request_that_is_cancelled(self, emulator: Emulator, route: str) -> None:
        emulator.set_clock(-30)  # so that the others began well before
        mine, other, _ = (emulator.sign_in(email=ME) for _ in range(3))
        emulator.set_clock(0)
        everything = alive(emulator, mine.user_id)
        gone = {"revoke": {other.session_id}, "sign_out": {mine.session_id}}
        left = everything - gone.get(route, everything - {mine.session_id})
        with flow_client("async", emulator) as call:
            browser = visitor(call, mine)
            browser.get("session")
            emulator.fault(DELETE, delay=5, times=1)
            answer, flows = call.client.flows.answer, call.client.flows

            async def hung_up(request: Any) -> Any:
                task = asyncio.ensure_future(answer(request))
                assert await await_until(lambda: tries(emulator) > 0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                emulator.clear_faults()
                raise ConnectionResetError

            object.__setattr__(flows, "answer", hung_up)
            with contextlib.suppress(ConnectionResetError):
                browser.send("POST", route, session_id=other.session_id)
            assert comes_true(call, lambda: alive(emulator, mine.user_id) == left)

    def test_many_at_once_take_one_thread(self, emulator: Emulator) -> None:
        people = [emulator.sign_in(email=ME) for _ in range(8)]
        with flow_client("sync", emulator) as call:
            emulator.fault(DELETE, status=500)
            assert visitor(call, people[0]).post("revoke_others").status == 503
            assert comes_true(call, lambda: tries(emulator) > 10)
            assert call.client._exchange._background_count == 0  # the others have all their places
            emulator.clear_faults()
            assert comes_true(call, lambda: len(call.client._core.endings) == 0)
            assert emulator.in_flight_max() == 1
            assert alive(emulator, people[0].user_id) == {people[0].session_id}


class TestWhatIsLostIsSaid:
    def waiting(self, call: Both, emulator: Emulator, person: SignedIn) -> None:
        emulator.fault(DELETE, status=500)
        assert json_of(visitor(call, person).post("sign_out")) == {
            "signed_out": True,
            "complete": False,
            "revocation": "local",
        }

    def test_a_client_that_is_closed(
        self, kind: str, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        person = emulator.sign_in()
        with flow_client(kind, emulator) as call:
            self.waiting(call, emulator, person)
        assert reasons(caplog) == ["session_end_given_up"]
        assert "the end of 1 sessions" in caplog.text
        assert_no_secret(caplog.records, [person.session_token, person.session_jwt])
        after = tries(emulator)
        emulator.clear_faults()
        assert alive(emulator, person.user_id) == {person.session_id}
        assert tries(emulator) == after

    def test_an_event_loop_that_ends(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        person = emulator.sign_in()
        emulator.fault(DELETE, status=500)
        options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        client = AsyncMoonKey(**options)

        async def work() -> None:
            ending = Ending("session_id", person.session_id, person.session_id, person.user_id)
            client._core.revocations.add(session_id=person.session_id)
            ending_retries._add(client._core, ending)
            assert await await_until(lambda: tries(emulator) > 0)

        asyncio.run(work())
        assert wait_until(lambda: reasons(caplog) == ["session_end_given_up"])
        assert len(client._core.endings) == 0

    @pytest.mark.long
    def test_a_process_that_ends(self) -> None:
        program = """if True:
            import logging
            from moonkey_core import MoonKey
            from moonkey_core._operations.ending_retries import end_later
            logging.basicConfig()
            client = MoonKey("sk_test_x", base_url="http://127.0.0.1:9")
            end_later(client._core, "session_id", "sess_1", ("sess_1", "user_1"))
        """
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert "the API was not told of the end of 1 sessions" in found.stderr
        assert "Traceback" not in found.stderr

    def test_a_client_that_is_closed_already(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        client = MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url)
        client.close()
        ending_retries.end_later(client._core, "session_id", "sess_1", ("sess_1", "user_1"))
        assert reasons(caplog) == ["session_end_given_up"]

    def test_a_day(
        self,
        kind: str,
        emulator: Emulator,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with flow_client(kind, emulator) as call:
            self.waiting(call, emulator, emulator.sign_in())
            assert comes_true(call, lambda: tries(emulator) > 4)
            monkeypatch.setattr(ending_queue, "_LONGEST", 0.0)
            assert comes_true(call, lambda: reasons(caplog) == ["session_end_given_up"])
            last = tries(emulator)
            assert comes_true(call, lambda: len(call.client._core.endings) == 0)
        assert tries(emulator) == last
        assert reasons(caplog) == ["session_end_given_up"]


class TestTheQueue:
    def ending(self, number: int, *, size: int = 10) -> Ending:
        return Ending("session_token", f"{number:0{size}d}")

    def test_its_number_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ending_queue, "_MOST", 3)
        queue = EndingQueue()
        assert [queue.add(self.ending(number)) for number in (1, 2, 2, 3, 4, 1)] == [True] * 4 + [False, True]
        assert len(queue) == 3
        queue.give_up()

    def test_its_size_is_bounded(self) -> None:
        queue = EndingQueue()
        taken = [queue.add(self.ending(number, size=16_384)) for number in range(100)]
        assert taken.count(True) == 64
        assert queue.add(self.ending(1, size=10)) is False
        queue.give_up()

    def test_each_has_its_turn(self) -> None:
        queue = EndingQueue()
        first, second = self.ending(1), self.ending(2)
        assert queue.claim() is False
        assert queue.add(first)
        assert queue.claim() is True
        assert queue.add(second)
        assert queue.claim() is False  # they are tried already
        assert queue.next() == first
        assert queue.postpone(first)
        assert queue.next() == second
        queue.remove(second)
        assert queue.next() == first
        queue.remove(first)
        assert queue.next() is None
        assert queue.add(first)
        assert queue.claim() is True
        queue.give_up()
        assert queue.postpone(first)
        assert queue.next() is None

    def test_a_child_of_a_fork_leaves_them_to_its_parent(self, caplog: pytest.LogCaptureFixture) -> None:
        queue = EndingQueue()
        queue.add(self.ending(1))
        queue.claim()
        queue._lock.acquire()
        queue.reset()
        assert (len(queue), queue.next()) == (0, None)
        queue.close()
        assert reasons(caplog) == []

    def test_they_stay_refused(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        """The table of revocations forgets after minutes; who waits in the queue is refused again before that."""
        now = [1000.0]
        monkeypatch.setattr("moonkey_core._clock.monotonic", lambda: now[0])
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
            core = client._core
            told: list[Any] = []
            core.revocations.listeners += (told.append,)
            monkeypatch.setattr(core, "run_lasting", lambda _: True)
            ending_retries.end_later(core, "session_id", "sess_1", ("sess_1", "user_1"))
            ending_retries._add(core, Ending("user_id", "user_2", "", "user_2", "sess_2", core.revocations.now()))
            for seconds, expected in ((1, 0), (core.revocations.retention / 3, 2), (1, 2), (1000, 4)):
                now[0] += seconds
                ending_retries._refuse_again(core)
                assert len(told) == expected
            assert core.revocations.refuses("sess_1", "user_1", None)
            assert core.revocations.refuses("sess_9", "user_2", None)
            assert not core.revocations.refuses("sess_2", "user_2", None)

    def test_no_credential_is_shown(self) -> None:
        assert "0000000001" not in repr(self.ending(1))
