"""A client made before ``fork()`` works in the child, and the parent goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, MoonKey, _fork
from moonkey_core.emulator import Emulator
from support.forks import forks, in_child
from support.patience import PATIENCE
from support.scripted import wait_until


def options(emulator: Emulator, **more: Any) -> dict[str, Any]:
    return {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **more}


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

    @pytest.mark.long
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


LOCK = type(threading.Lock())


def locks_in(root: object) -> Iterator[Any]:
    """Every lock in an object of this package, and in all such objects that it holds."""
    seen: set[int] = set()
    left = [root]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, LOCK):
            yield one
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple | set):
            left += one
        elif type(one).__module__.startswith("moonkey_core"):
            left += [value for _, value in each_attribute(one)]


def each_attribute(one: object) -> Iterator[tuple[str, object]]:
    yield from getattr(one, "__dict__", {}).items()
    for kind in type(one).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(one, name):
                yield name, getattr(one, name)


@pytest.mark.long
@forks
@pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
def test_no_lock_stays_locked(kind: type[MoonKey | AsyncMoonKey]) -> None:
    """Whatever the other threads of the parent hold at that moment."""
    client = kind(secret_key="sk_test_x", redis_url="redis://127.0.0.1:1/0", jwt_issuer="x")
    modules = [module for name, module in sys.modules.items() if name.startswith("moonkey_core")]
    of_modules = [value for module in modules for value in vars(module).values() if isinstance(value, LOCK)]
    locks = [lock for lock in (*locks_in(client), *of_modules) if lock.acquire(blocking=False)]
    try:
        assert len(locks) >= 12
        assert in_child(
            lambda: (
                not any(lock.locked() for lock in locks_in(client))
                and not any(
                    value.locked()
                    for module in modules
                    for value in vars(module).values()
                    if isinstance(value, LOCK)
                )
            )
        )
    finally:
        for lock in locks:
            lock.release()
    if isinstance(client, MoonKey):
        client.close()
    else:
        asyncio.run(client.aclose())


class Reset:
    """Something that notes when it is reset."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done
        _fork.reset_after_fork(self.reset)

    def reset(self) -> None:
        self.done.append(self.name)
        if self.name == "broken":
            raise RuntimeError(self.name)


@pytest.mark.long
@forks
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_resets_run_in_order_whatever_one_of_them_does() -> None:
    done: list[str] = []
    kept = [Reset(name, done) for name in ("first", "dropped", "broken", "last")]
    del kept[1]
    gc.collect()
    assert in_child(lambda: done == ["first", "broken", "last"])
    assert done == []


@pytest.mark.long
def test_nothing_is_held_by_its_registration() -> None:
    gc.collect()  # what earlier tests left does not go meanwhile
    before = len(_fork._resets)
    kept = [Reset("one", []) for _ in range(10)]
    assert len(_fork._resets) == before + 10
    kept.clear()
    gc.collect()
    assert len(_fork._resets) <= before
