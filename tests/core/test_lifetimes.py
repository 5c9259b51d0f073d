"""Clients through event loops, threads, forks and closing: nothing is left behind, nothing is mixed up."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, MoonKey, MoonKeyError, ProviderUnavailable
from moonkey_core.emulator import Emulator
from support.clients import MakeAsyncClient, MakeClient
from support.decisions import presenting
from support.patience import PATIENCE, PATIENT
from support.scripted import wait_until

FILES = Path("/proc/self/fd")
counts_files = pytest.mark.skipif(not FILES.exists(), reason="the system does not list open files")


def open_files() -> int:
    gc.collect()
    return len(list(FILES.iterdir()))


def options(emulator: Emulator, **more: Any) -> dict[str, Any]:
    return {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT, **more}


def asked_for_keys(emulator: Emulator) -> bool:
    return emulator.requests()["GET /v1/auth/jwks/default"] > 0


@pytest.mark.long
@pytest.mark.usefixtures("transport")
@counts_files
def test_one_client_on_many_loops_in_a_row_leaves_nothing_open(emulator: Emulator) -> None:
    person = emulator.sign_in()
    client = AsyncMoonKey(**options(emulator, jwt_issuer=emulator.issuer))

    async def work() -> None:
        for credential in (person.session_token, person.session_jwt):
            found = await asyncio.gather(*(client.authenticate(presenting(credential)) for _ in range(5)))
            assert {one.user and one.user.id for one in found} == {person.user_id}

    asyncio.run(work())
    before = open_files()
    for _ in range(30):
        asyncio.run(work())
    assert wait_until(lambda: open_files() <= before + 1)
    assert len(client._exchange._loops) <= 1


@pytest.mark.long
@pytest.mark.usefixtures("transport")
@counts_files
def test_a_loop_that_is_closed_in_the_old_manner(emulator: Emulator) -> None:
    person = emulator.sign_in()
    client = AsyncMoonKey(**options(emulator))
    before = open_files()
    for _ in range(10):
        loop = asyncio.new_event_loop()
        found = loop.run_until_complete(client.sessions.verify(session_token=person.session_token))
        assert found.user.id == person.user_id
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert wait_until(lambda: open_files() <= before + 1)


@pytest.mark.long
@pytest.mark.usefixtures("transport")
@counts_files
def test_clients_that_nobody_closes(emulator: Emulator) -> None:
    person = emulator.sign_in()

    async def work() -> None:
        client = AsyncMoonKey(**options(emulator))
        await client.sessions.verify(session_token=person.session_token)

    def block() -> None:
        MoonKey(**options(emulator)).sessions.verify(session_token=person.session_token)

    asyncio.run(work())
    block()
    before = open_files()
    for _ in range(10):
        asyncio.run(work())
        block()
    assert wait_until(lambda: open_files() <= before + 1)


@pytest.mark.long
@pytest.mark.usefixtures("transport")
def test_loops_in_many_threads_at_once(emulator: Emulator) -> None:
    """As under WSGI, where each asynchronous view runs on a loop of its own."""
    client = AsyncMoonKey(**options(emulator, jwt_issuer=emulator.issuer))
    people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(8)]
    failed: list[BaseException] = []
    asyncio.run(client.sessions.verify(session_jwt=people[0].session_jwt))

    def work(place: int) -> None:
        try:
            for _ in range(12):
                found = asyncio.run(client.sessions.verify(session_token=people[place].session_token))
                assert found.user.id == people[place].user_id
        except BaseException as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    assert failed == []


@pytest.mark.long
def test_threads_share_a_client(make_client: MakeClient, emulator: Emulator) -> None:
    client = make_client(jwt_issuer=emulator.issuer)
    people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(10)]
    wrong: list[object] = []

    def work(place: int) -> None:
        me = people[place]
        for credential in [me.session_jwt, me.session_token] * 10:
            auth = client.authenticate(presenting(credential))
            ids = (auth.user and auth.user.id, auth.session and auth.session.id)
            if ids != (me.user_id, me.session_id):
                wrong.append(auth)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []


@pytest.mark.usefixtures("transport")
class TestCancelling:
    def test_one_who_goes_away_does_not_take_the_call_from_the_others(
        self, make_async_client: MakeAsyncClient, emulator: Emulator
    ) -> None:
        person = emulator.sign_in()
        emulator.fault("/v1/auth/jwks", delay=0.5)

        async def work() -> None:
            async with make_async_client(jwt_issuer=emulator.issuer) as client:
                tasks = [
                    asyncio.create_task(client.sessions.verify(session_jwt=person.session_jwt)) for _ in range(6)
                ]
                assert await asyncio.to_thread(wait_until, lambda: asked_for_keys(emulator))
                for task in tasks[:5]:
                    task.cancel()
                assert (await tasks[5]).user.id == person.user_id
                gone = await asyncio.gather(*tasks[:5], return_exceptions=True)
                assert all(isinstance(one, asyncio.CancelledError) for one in gone)

        asyncio.run(work())
        assert emulator.requests()["GET /v1/auth/jwks/default"] == 1

    def test_the_next_answer_belongs_to_the_next_question(
        self, make_async_client: MakeAsyncClient, emulator: Emulator
    ) -> None:
        first, second = (emulator.sign_in(email=f"{name}@example.com") for name in "ab")

        async def work() -> None:
            async with make_async_client(max_connections=1) as client:
                for _ in range(15):
                    emulator.fault("/v1/auth/sessions", delay=0.01, times=1)
                    task = asyncio.create_task(client.sessions.verify(session_token=first.session_token))
                    await asyncio.sleep(0.004)
                    task.cancel()
                    emulator.clear_faults()
                    found = await client.sessions.verify(session_token=second.session_token)
                    assert found.user.id == second.user_id
                    await asyncio.gather(task, return_exceptions=True)

        asyncio.run(work())

    def test_the_caller_s_own_time_limit_is_kept(
        self, make_async_client: MakeAsyncClient, emulator: Emulator
    ) -> None:
        person = emulator.sign_in()
        emulator.fault(delay=5)

        async def work() -> None:
            async with make_async_client() as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.sessions.verify(session_token=person.session_token)
                emulator.clear_faults()
                assert (await client.sessions.verify(session_token=person.session_token)).user.id == person.user_id

        asyncio.run(work())


class TestClosing:
    def test_a_blocking_client(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        with MoonKey(**options(emulator)) as client:
            assert client.sessions.verify(session_token=person.session_token).user.id == person.user_id
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.sessions.verify(session_token=person.session_token)
        MoonKey(**options(emulator)).close()  # never used

    @pytest.mark.usefixtures("transport")
    def test_an_asynchronous_client(self, emulator: Emulator) -> None:
        person = emulator.sign_in()

        async def work() -> None:
            async with AsyncMoonKey(**options(emulator)) as client:
                assert (await client.sessions.verify(session_token=person.session_token)).user.id == person.user_id
            await client.aclose()
            await client.aclose()
            with pytest.raises(RuntimeError, match="closed"):
                await client.sessions.verify(session_token=person.session_token)
            await AsyncMoonKey(**options(emulator)).aclose()  # never used

        asyncio.run(work())

    @pytest.mark.long
    @counts_files
    def test_closing_gives_everything_back(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        before = open_files()
        for _ in range(5):
            with MoonKey(**options(emulator)) as client:
                client.sessions.verify(session_token=person.session_token)
        assert wait_until(lambda: open_files() <= before)

    @pytest.mark.usefixtures("transport")
    def test_closing_on_another_loop_than_the_one_used(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        client = AsyncMoonKey(**options(emulator))
        asyncio.run(client.sessions.verify(session_token=person.session_token))
        asyncio.run(client.aclose())
        with pytest.raises(RuntimeError, match="closed"):
            asyncio.run(client.sessions.verify(session_token=person.session_token))

    @pytest.mark.usefixtures("transport")
    def test_closing_while_calls_are_under_way(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.fault("/v1/auth/jwks", delay=2 * PATIENCE)

        async def work() -> None:
            client = AsyncMoonKey(**options(emulator, jwt_issuer=emulator.issuer))
            calls = [asyncio.create_task(client.sessions.verify(session_jwt=person.session_jwt)) for _ in range(3)]
            assert await asyncio.to_thread(wait_until, lambda: asked_for_keys(emulator))
            await client.aclose()
            ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE)
            # Not CancelledError: nobody has cancelled these callers.
            assert all(isinstance(end, ProviderUnavailable) for end in ends)

        asyncio.run(work())


def test_a_plan_is_never_handed_out(make_client: MakeClient, emulator: Emulator) -> None:
    """A generator that nobody runs would be true; the clients' methods return results or coroutines."""
    client = make_client()
    assert client.sessions.list(emulator.sign_in().user_id)
    with pytest.raises(MoonKeyError):
        client.users.get("user_nobody")


def test_a_call_under_way_ends_well_and_closes_its_connection(emulator: Emulator, make_client: MakeClient) -> None:
    client = make_client()
    person = emulator.sign_in()
    emulator.fault(delay=0.3)
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(client.sessions.list(person.user_id)))
    thread.start()
    assert wait_until(lambda: sum(emulator.requests().values()) == 1)
    (pool,) = client._exchange._sender._pools._pools
    client.close()
    assert not pool.client.is_closed
    thread.join(PATIENCE)
    assert len(answers) == 1
    assert pool.client.is_closed
    assert client._exchange._sender._pools._pools == []
