"""A client made before ``fork()`` works in the child, and the parent goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator
from support.patience import PATIENCE
from support.scripted import wait_until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def options(emulator: Emulator, **more: Any) -> dict[str, Any]:
    return {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **more}


def in_child(work: Callable[[], bool]) -> bool:
    """Fork, and tell whether ``work`` came out true in the child within ten seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork do not mix; that is the point here
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    statuses: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            statuses.append(status)
        return bool(pid)

    if not wait_until(ended, 10):
        os.kill(child, 9)
        os.waitpid(child, 0)
    return statuses == [0]


@forks
class TestFork:
    def test_while_connections_are_open_and_locks_are_held(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        client = MoonKey(**options(emulator, jwt_issuer=emulator.issuer))
        assert client.sessions.verify(session_token=person.session_token).user.id == person.user_id

        def works() -> bool:
            token = client.sessions.verify(session_token=person.session_token)
            jwt = client.sessions.verify(session_jwt=person.session_jwt)
            return token.user.id == jwt.user.id == person.user_id

        locks = [client._exchange._lock, client._exchange._single_flight._lock, client._core.keys._lock]
        for lock in locks:
            lock.acquire()
        try:
            assert in_child(works)
        finally:
            for lock in locks:
                lock.release()
        assert works()  # and the parent's own connections were neither used nor closed
        client.close()

    def test_while_calls_are_under_way(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        client = MoonKey(**options(emulator, jwt_issuer=emulator.issuer))
        emulator.fault("/v1/auth/jwks", delay=0.3, times=1)
        thread = threading.Thread(target=lambda: client.sessions.verify(session_jwt=person.session_jwt))
        thread.start()
        assert wait_until(lambda: emulator.requests()["GET /v1/auth/jwks/default"] == 1)
        assert in_child(lambda: client.sessions.verify(session_jwt=person.session_jwt).user.id == person.user_id)
        thread.join(PATIENCE)
        client.close()

    @pytest.mark.usefixtures("transport")
    def test_an_asynchronous_client(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        client = AsyncMoonKey(**options(emulator, jwt_issuer=emulator.issuer))

        def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
            return bool(asyncio.run(work()).user.id == person.user_id)

        def verify() -> Coroutine[Any, Any, Any]:
            return client.sessions.verify(session_token=person.session_token)

        assert run(verify)
        assert in_child(lambda: run(verify) and run(verify))
        assert run(verify)

    def test_many_children_at_once(self, emulator: Emulator) -> None:
        people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(3)]
        client = MoonKey(**options(emulator))
        client.sessions.verify(session_token=people[0].session_token)
        results: list[bool] = []

        def child(place: int) -> None:
            me = people[place]

            def works() -> bool:
                found = [client.sessions.verify(session_token=me.session_token) for _ in range(10)]
                return {one.user.id for one in found} == {me.user_id}

            results.append(in_child(works))

        threads = [threading.Thread(target=child, args=(place,)) for place in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert results == [True] * 3
        client.close()
