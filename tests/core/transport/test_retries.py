"""When a call is made again, and which connection it takes (rule S21)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import AsyncMoonKey, MoonKey, ProviderUnavailable
from moonkey_core._transport.replies import retry_after
from moonkey_core.emulator import Emulator
from support.asking import GOOD, SECRET, TOKEN, asked, trouble
from support.clients import MakeClient
from support.decisions import replied
from support.patience import PATIENCE, PATIENT
from support.scripted import Received, reply, scripted, unused_url

VERIFY = "POST /v1/auth/sessions/verify"


@pytest.mark.rule("S21")
class TestRetries:
    def test_a_refused_connection_is_tried_again(self, emulator: Emulator, make_client: MakeClient) -> None:
        client, person = make_client(), emulator.sign_in()
        code = client.otps.login_or_create(email="me@example.com")
        for call in (
            lambda: client.sessions.verify(session_token=person.session_token),
            lambda: client.otps.verify(emulator.outbox()[0].code, method_id=code.method_id),
        ):
            emulator.stop()
            restart = threading.Timer(0.02, emulator.start)
            restart.start()
            call()
            restart.join()

    def test_nobody_there(self, how: str) -> None:
        auth = asked(unused_url(), how)
        assert trouble(auth).reason == "api_connect"

    @pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500}, {"status": 429}, {"reset": True}])
    def test_trouble_is_tried_once_more(self, emulator: Emulator, make_client: MakeClient, fault: Any) -> None:
        client, person = make_client(), emulator.sign_in()
        emulator.fault(times=1, **fault)
        assert client.sessions.verify(session_token=person.session_token).user.id == person.user_id
        assert emulator.requests()[VERIFY] == 2
        emulator.fault(times=2, **fault)
        with pytest.raises(ProviderUnavailable):
            client.sessions.verify(session_token=person.session_token)
        assert emulator.requests()[VERIFY] == 4

    @pytest.mark.parametrize("status", [400, 404, 410, 402, 403, 422, 200, 302])
    def test_an_answer_is_not_asked_for_twice(self, how: str, status: int) -> None:
        with scripted(reply(status, {"error_type": "x"})) as server:
            asked(server.url, how)
            assert len(server.received) == 1

    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"reset": True}, {"delay": 5}])
    def test_a_login_is_never_sent_twice(self, emulator: Emulator, make_client: MakeClient, fault: Any) -> None:
        client = make_client(timeout=0.3)
        emulator.fault(**fault)
        calls: list[Callable[[], object]] = [
            lambda: client.otps.verify("123456", method_id="em_1"),
            lambda: client.magic_links.verify("t" * 64),
            lambda: client.oauth.verify(token="t" * 64),
            lambda: client.totps.verify("123456", user_id="user_1"),
            lambda: client.wallets.verify(wallet_type="ethereum", public_address="0x1", signature="0x2"),
            lambda: client.otps.send(email="me@example.com"),
            lambda: client.otps.login_or_create(phone_number="+14152222222"),
        ]
        for count, call in enumerate(calls, 1):
            with pytest.raises(ProviderUnavailable):
                call()
            # From the sixth on the circuit is open, and nothing is sent at all.
            assert sum(emulator.requests().values()) == min(count, 5)
            if "delay" in fault:
                break

    def test_a_login_that_had_to_wait_had_no_effect(self, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client()
        sent = client.otps.login_or_create(email="me@example.com")
        emulator.fault("/v1/auth/otps/verify", status=429, times=1)
        assert client.otps.verify(emulator.outbox()[0].code, method_id=sent.method_id).user.id == sent.user_id

    def test_a_wait_beyond_the_deadline_is_handed_on(self, how: str) -> None:
        later = formatdate(time.time() + 100, usegmt=True)
        for value, least, most in (("70", 70, 70), ("100000000", 3600, 3600), (later, 70, 100)):
            for status in (429, 503):
                with scripted(reply(status, {"error_type": "x"}, {"retry-after": value})) as server:
                    start = time.monotonic()
                    error = trouble(asked(server.url, how, timeout=60.0))
                    assert time.monotonic() - start < 50  # it is not waited out
                    assert len(server.received) == 1
                    assert error.retry_after is not None
                    assert least <= error.retry_after <= most

    def test_a_wait_within_the_deadline_is_kept(self, how: str) -> None:
        times: list[float] = []

        def script(_: Received) -> bytes:
            times.append(time.monotonic())
            return reply(503, b"", {"retry-after": "1"}) if len(times) == 1 else reply(200, GOOD)

        with scripted(script) as server:
            assert asked(server.url, how).is_authenticated
        assert len(times) == 2
        assert times[1] - times[0] >= 1.0


@pytest.mark.long
@given(
    st.one_of(
        st.text(max_size=40), st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d( GMT)?")
    )
)
def test_any_retry_after_is_bounded_or_nothing(value: str) -> None:
    seconds = retry_after(replied(503, b"", retry_after=value))
    assert seconds is None or 0 <= seconds <= 3600


class TestConnections:
    @pytest.mark.rule("S22")
    @pytest.mark.long
    def test_a_timed_out_call_takes_its_connection_with_it(self, how: str) -> None:
        """The late answer to one must never be read as the answer to another."""

        timed_out, answered = threading.Event(), threading.Event()

        def script(request: Received) -> Iterator[bytes | float]:
            user = request.json["session_token"]
            if user == "slow":
                timed_out.wait(PATIENCE)
            try:
                yield reply(200, {"session": {"id": f"sess_{user}", "user_id": user, "expires_at": 4_000_000_000}})
            finally:
                answered.set()

        with scripted(script) as server:
            options: dict[str, Any] = {"secret_key": SECRET, "base_url": server.url, "timeout": 2.0}

            async def work() -> list[str]:
                async with AsyncMoonKey(**options) as client:
                    with pytest.raises(ProviderUnavailable):
                        await client.sessions.verify(session_token="slow")
                    timed_out.set()
                    assert await asyncio.to_thread(answered.wait, PATIENCE)
                    return [(await client.sessions.verify(session_token=name)).user.id for name in ("a", "b")]

            def block() -> list[str]:
                with MoonKey(**options) as client:
                    with pytest.raises(ProviderUnavailable):
                        client.sessions.verify(session_token="slow")
                    timed_out.set()
                    assert answered.wait(PATIENCE)
                    return [client.sessions.verify(session_token=name).user.id for name in ("a", "b")]

            assert (block() if how == "sync" else asyncio.run(work())) == ["a", "b"]
            assert server.connections == 2

    def test_a_connection_that_the_server_has_closed(self) -> None:
        def script(_: Received) -> bytes:
            return reply(200, GOOD).replace(b"content-length", b"Content-Length")

        # It closes after each reply without saying so.
        with scripted(script) as server, MoonKey(secret_key=SECRET, base_url=server.url) as client:
            for _ in range(5):
                assert client.sessions.verify(session_token=TOKEN).user.id == "user_1"
            assert server.connections == 5

    def test_few_connections_for_many_threads(self, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client(max_connections=2)
        people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(8)]
        emulator.fault("/v1/auth/sessions", delay=0.02)
        found: dict[int, str] = {}

        def work(place: int) -> None:
            for _ in range(3):
                found[place] = client.sessions.verify(session_token=people[place].session_token).user.id
                assert found[place] == people[place].user_id

        threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert found == {place: person.user_id for place, person in enumerate(people)}
        assert emulator.in_flight_max() <= 2

    @pytest.mark.usefixtures("transport")
    def test_few_connections_for_many_tasks(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.fault("/v1/auth/sessions", delay=0.02)

        async def work() -> None:
            options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
            async with AsyncMoonKey(max_connections=2, **options) as client:
                calls = [client.sessions.verify(session_token=person.session_token) for _ in range(12)]
                assert {found.user.id for found in await asyncio.gather(*calls)} == {person.user_id}

        asyncio.run(work())
        assert emulator.in_flight_max() <= 2
