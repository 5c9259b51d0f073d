"""The clients' own words for it: ``await client.session_end(auth)`` and ``client.is_over(auth)``."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.auth import new_auth
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.gate import Requirements
from support.clients import MakeAsyncClient, MakeClient
from support.forks import forks, in_child
from support.patience import PATIENCE, PATIENT
from support.scripted import wait_until

SHORT = 0.05  # minutes; the emulator dates in whole seconds
VERIFY = "POST /v1/auth/sessions/verify"


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def by_token(person: SignedIn) -> dict[str, str]:
    return {"session-token": person.session_token}


def by_jwt(person: SignedIn) -> dict[str, str]:
    return {"authorization": f"Bearer {person.session_jwt}"}


async def begun(client: AsyncMoonKey, headers: dict[str, str], *, asks: bool = True) -> asyncio.Task[str]:
    """A task that waits for the end of the session."""
    auth = await client.authenticate(headers)
    assert auth.is_authenticated
    task = asyncio.create_task(client.session_end(auth, headers if asks else None))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def result(task: asyncio.Task[str]) -> str:
    async with asyncio.timeout(PATIENCE):
        return await task


@pytest.mark.rule("S52", "connection")
class TestSessionEnd:
    @pytest.mark.parametrize("kind", [by_token, by_jwt])
    @pytest.mark.parametrize("options", [{}, {"load_user": True}])
    def test_revoked_by_another_client_of_the_process(
        self,
        emulator: Emulator,
        make_async_client: MakeAsyncClient,
        make_client: MakeClient,
        ada: SignedIn,
        kind: Any,
        options: dict[str, Any],
    ) -> None:
        eve = emulator.sign_in(email="eve@example.com")

        async def go() -> None:
            async with make_async_client(jwt_issuer=emulator.issuer, **options) as client:
                mine, other = await begun(client, kind(ada)), await begun(client, kind(eve))
                await asyncio.to_thread(make_client().sessions.revoke, session_id=ada.session_id)
                assert await result(mine) == "revoked"
                assert not other.done()
                await asyncio.to_thread(make_client().sessions.revoke, session_token=eve.session_token)
                assert await result(other) == "revoked"

        asyncio.run(go())

    def test_the_api_says_that_it_is_gone(
        self, emulator: Emulator, make_async_client: MakeAsyncClient, ada: SignedIn
    ) -> None:
        """Ended elsewhere: any request of that session that finds out ends its connections here as well."""

        async def go() -> None:
            async with make_async_client(jwt_issuer=emulator.issuer) as client:
                task = await begun(client, by_jwt(ada))
                emulator.revoke(ada.session_id)
                auth = await client.authenticate(by_jwt(ada), Requirements(max_staleness=0))
                assert auth.is_rejected
                assert await result(task) == "revoked"

        asyncio.run(go())

    @pytest.mark.long
    @pytest.mark.parametrize("kind", [by_token, by_jwt])
    @pytest.mark.parametrize("asks", [True, False])
    def test_expired(self, emulator: Emulator, make_async_client: MakeAsyncClient, kind: Any, asks: bool) -> None:
        async def go() -> None:
            async with make_async_client(jwt_issuer=emulator.issuer) as client:
                person = emulator.sign_in(minutes=SHORT)
                assert await result(await begun(client, kind(person), asks=asks)) == "expired"

        asyncio.run(go())

    @pytest.mark.parametrize("kind", [by_token, by_jwt])
    def test_extended_meanwhile(self, emulator: Emulator, make_async_client: MakeAsyncClient, kind: Any) -> None:
        async def go() -> None:
            async with make_async_client(jwt_issuer=emulator.issuer) as client:
                person = emulator.sign_in(minutes=SHORT)
                task = await begun(client, kind(person))
                await client.sessions.verify(session_token=person.session_token, extend=60)
                emulator.clear_requests()
                assert await asyncio.to_thread(wait_until, lambda: emulator.requests()[VERIFY] == 1)
                (watched,) = client._session_watcher._loops[0].sessions
                later = emulator.now() + 600
                assert await asyncio.to_thread(wait_until, lambda: watched.ends_at > later)
                assert not task.done()
                client.revocations.add(user_id=person.user_id)
                assert await result(task) == "revoked"

        asyncio.run(go())

    def test_the_api_cannot_be_asked_at_the_end(
        self, emulator: Emulator, make_async_client: MakeAsyncClient
    ) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                person = emulator.sign_in(minutes=SHORT)
                task = await begun(client, by_token(person))
                await client.sessions.verify(session_token=person.session_token, extend=60)
                emulator.fault(status=503)
                assert await result(task) == "expired"

        asyncio.run(go())

    def test_a_session_outlives_its_jwts(
        self, emulator: Emulator, make_async_client: MakeAsyncClient, ada: SignedIn
    ) -> None:
        async def go() -> None:
            async with make_async_client(jwt_issuer=emulator.issuer) as client:
                await begun(client, by_jwt(ada))
                (watched,) = client._session_watcher._loops[0].sessions
                assert watched.ends_at > emulator.now() + 86_400

        asyncio.run(go())

    def test_cancelled(self, make_async_client: MakeAsyncClient, ada: SignedIn) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await client.session_end(await client.authenticate(by_token(ada)))
                assert len(client._session_watcher) == 0

        asyncio.run(go())

    def test_a_copy_is_as_good(self, make_async_client: MakeAsyncClient, ada: SignedIn) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                auth = pickle.loads(pickle.dumps(await client.authenticate(by_token(ada))))
                assert not auth.accessed
                client.revocations.add(user_id=ada.user_id)
                assert await client.session_end(auth) == "revoked"
                assert not auth.accessed

        asyncio.run(go())

    def test_nobody_is_signed_in(self, make_async_client: MakeAsyncClient) -> None:
        async def go() -> None:
            async with make_async_client() as client:
                for headers in ({}, {"session-token": "dead"}):
                    with pytest.raises(ValueError, match="Nobody is signed in"):
                        await client.session_end(await client.authenticate(headers))

        asyncio.run(go())


@pytest.mark.rule("S52", "connection")
class TestIsOver:
    def test_revoked(self, make_client: MakeClient, ada: SignedIn) -> None:
        client = make_client()
        auth = client.authenticate(by_token(ada))
        assert not client.is_over(auth)
        client.revocations.add(session_id=ada.session_id)
        assert client.is_over(auth)
        assert len(client._session_watcher) == 0

    def test_expired_and_nobody_is_asked(self, emulator: Emulator, make_client: MakeClient) -> None:
        client, person = make_client(), emulator.sign_in(minutes=SHORT)
        auth = client.authenticate(by_token(person))
        assert not client.is_over(auth)
        emulator.clear_requests()
        assert wait_until(lambda: client.is_over(auth))
        assert not emulator.requests()

    def test_nobody_is_signed_in(self, make_client: MakeClient) -> None:
        with pytest.raises(ValueError, match="Nobody is signed in"):
            make_client().is_over(new_auth())


@forks
class TestFork:
    def test_the_child_binds_anew(self, emulator: Emulator, ada: SignedIn) -> None:
        options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        client, blocking = AsyncMoonKey(**options), MoonKey(**options)
        auth = blocking.authenticate(by_token(ada))
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(asyncio.run(client.session_end(auth))))
        thread.start()
        assert wait_until(lambda: len(client._session_watcher) == 1)

        async def revoked() -> bool:
            assert len(client._session_watcher) == 0
            task = asyncio.create_task(client.session_end(auth))
            await asyncio.sleep(0)
            blocking.revocations.add(session_id=ada.session_id)
            return await result(task) == "revoked"

        with blocking._session_watcher.watching(auth, can_verify=False) as watched:
            locks = [client._session_watcher._lock, client.revocations._lock]
            for lock in locks:
                lock.acquire()
            try:
                assert in_child(lambda: asyncio.run(revoked()) and not watched.is_revoked)
            finally:
                for lock in locks:
                    lock.release()
            assert not found  # and the parent has heard nothing of it
            blocking.revocations.add(session_id=ada.session_id)
            assert watched.is_revoked
        thread.join(PATIENCE)
        assert found == ["revoked"]
        blocking.close()
