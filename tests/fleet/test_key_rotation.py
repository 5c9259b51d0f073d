"""A key rotation costs the provider one fetch, however many processes there are; and what disturbs that."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace

import pytest

from moonkey_core import Auth, InvalidCredentials, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.redis import store as store_module
from support.decisions import bearer
from support.feeds import PLACE, good, settings_for
from support.patience import PATIENT
from support.redis_server import RedisServer
from support.stores import Store
from support.together import together

from .client_fleet import Fleet

WORKERS = 6
LOCAL = {**PATIENT, "on_feed_lost": "local"}
KEY_SET = "GET /v1/auth/jwks/default"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to take Redis for lost, or another process for dead."""
    monkeypatch.setattr(store_module, "TIMEOUT", 10.0)
    monkeypatch.setattr("moonkey_core._transport.retries._CLAIM_LOOKS", 1000)
    monkeypatch.setattr("moonkey_core._transport.retries._CLAIM_PAUSE", (0.02, 0.02))


@pytest.fixture
def fleet(emulator: Emulator, server: RedisServer) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(emulator, server, stack)


def fetched(emulator: Emulator) -> int:
    return emulator.requests()[KEY_SET]


def entries(server: RedisServer) -> list[bytes]:
    """The keys of what lies in the store, claims among them."""
    found: list[bytes] = server.client.keys("moonkey:store:*")
    return found


def warmed(emulator: Emulator, fleet: Fleet, count: int = WORKERS) -> list[MoonKey]:
    """Clients that have the key set of today, as they are asked one after the other."""
    workers, person = [fleet.worker(**LOCAL) for _ in range(count)], emulator.sign_in()
    for worker in workers:
        assert worker.authenticate(bearer(person.session_jwt)).source == "local"
    assert fetched(emulator) == 1
    return workers


@pytest.mark.parametrize("keep_old", [pytest.param(True, marks=pytest.mark.long), False])
def test_threads(keep_old: bool, emulator: Emulator, fleet: Fleet, server: RedisServer) -> None:
    workers = warmed(emulator, fleet)
    emulator.rotate_keys(keep_old)
    person = emulator.sign_in()
    emulator.fault("/v1/auth/jwks", delay=0.2)
    found = together(WORKERS, lambda place: workers[place].authenticate(bearer(person.session_jwt)))
    assert [auth.source for auth in found] == ["local"] * WORKERS
    assert fetched(emulator) == 2
    assert len(entries(server)) == 1  # the claim has ended


def test_tasks(emulator: Emulator, fleet: Fleet, server: RedisServer) -> None:
    async def work() -> list[Auth]:
        async with AsyncExitStack() as stack:
            workers = [await stack.enter_async_context(fleet.async_worker(**LOCAL)) for _ in range(WORKERS)]
            first = emulator.sign_in()
            for worker in workers:
                assert (await worker.authenticate(bearer(first.session_jwt))).source == "local"
            assert fetched(emulator) == 1
            emulator.rotate_keys()
            person = emulator.sign_in()
            emulator.fault("/v1/auth/jwks", delay=0.2)
            return await asyncio.gather(*(one.authenticate(bearer(person.session_jwt)) for one in workers))

    assert [auth.source for auth in asyncio.run(work())] == ["local"] * WORKERS
    assert fetched(emulator) == 2
    assert len(entries(server)) == 1


@pytest.mark.long
def test_a_cold_start_of_all(emulator: Emulator, fleet: Fleet) -> None:
    workers, person = [fleet.worker(**LOCAL) for _ in range(WORKERS)], emulator.sign_in()
    emulator.fault("/v1/auth/jwks", delay=0.2)
    found = together(WORKERS, lambda place: workers[place].authenticate(bearer(person.session_jwt)))
    assert [auth.source for auth in found] == ["local"] * WORKERS
    assert fetched(emulator) == 1


def test_without_the_store_each_fetches_at_once(
    emulator: Emulator, fleet: Fleet, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = warmed(emulator, fleet)
    emulator.rotate_keys()
    person = emulator.sign_in()
    server.kill()
    monkeypatch.setattr("moonkey_core._transport.retries._CLAIM_PAUSE", None)  # any wait is an error
    found = together(WORKERS, lambda place: workers[place].authenticate(bearer(person.session_jwt)))
    assert [auth.source for auth in found] == ["local"] * WORKERS
    assert fetched(emulator) == 1 + WORKERS


@pytest.mark.long
def test_the_holder_has_died(
    emulator: Emulator, fleet: Fleet, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (worker,) = warmed(emulator, fleet, 1)
    (entry,) = entries(server)
    server.client.set(entry + b":claim", b"of a process that is no more", px=600_000)
    emulator.rotate_keys()
    person = emulator.sign_in()
    monkeypatch.setattr("moonkey_core._transport.retries._CLAIM_LOOKS", 4)
    assert worker.authenticate(bearer(person.session_jwt)).source == "local"
    assert fetched(emulator) == 2
    assert server.client.get(entry + b":claim") == b"of a process that is no more"  # not ours to end


@pytest.mark.rule("S7")
def test_an_old_entry_brings_no_withdrawn_key_back(emulator: Emulator, fleet: Fleet, server: RedisServer) -> None:
    (worker,) = warmed(emulator, fleet, 1)
    former = emulator.sign_in()
    (entry,) = entries(server)
    old = server.client.get(entry)
    emulator.rotate_keys(keep_old=False)
    person = emulator.sign_in()
    assert worker.authenticate(bearer(person.session_jwt)).source == "local"
    server.client.set(entry, old, px=600_000)  # as by a process whose reply was on its way for long
    auth = worker.authenticate(bearer(former.session_jwt))
    assert isinstance(auth.error, InvalidCredentials)
    assert auth.error.reason == "jwt_unknown_key"
    assert fetched(emulator) == 3  # the provider has said so
    assert worker.authenticate(bearer(emulator.sign_in().session_jwt)).source == "local"


@pytest.mark.rule("S18")
def test_made_up_key_ids_cost_no_more_than_before(emulator: Emulator, fleet: Fleet, server: RedisServer) -> None:
    (worker,) = warmed(emulator, fleet, 1)
    _, payload, signature = emulator.sign_in().session_jwt.split(".")
    server.client.config_resetstat()
    began = time.monotonic()
    for number in range(20):
        header = json.dumps({"alg": "RS256", "kid": f"made_up_{number}", "typ": "JWT"}).encode()
        forged = f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{payload}.{signature}"
        assert not worker.authenticate(bearer(forged)).is_authenticated
    fetches = fetched(emulator) - 1
    assert 3 <= fetches <= 3 + (time.monotonic() - began) // 30
    # For each fetch: a look at the store before the claim and one after it, and one at the claim when it ends.
    # Nothing else uses this command.
    assert server.client.info("commandstats")["cmdstat_getrange"]["calls"] == 3 * fetches


class TestClaims:
    POLICY = replace(PLACE, claim_seconds=60.0)

    @pytest.fixture(params=["sync", "async"])
    def stores(self, request: pytest.FixtureRequest, server: RedisServer) -> Iterator[tuple[Store, Store]]:
        with ExitStack() as stack:
            made = [Store(request.param, settings_for(server)) for _ in range(2)]
            for one in made:
                stack.callback(one.close)
            yield made[0], made[1]

    def test_one_holds_it_until_it_ends(self, stores: tuple[Store, Store], server: RedisServer) -> None:
        one, other = stores
        assert one.claim(self.POLICY, b"1") == "held"
        assert other.claim(self.POLICY, b"2") == "taken"
        other.release(self.POLICY, b"2")
        assert other.claim(self.POLICY, b"2") == "taken"
        (key,) = server.client.keys()
        assert 0 < server.client.pttl(key) <= 60_000
        assert PLACE.name.encode() not in key
        one.release(self.POLICY, b"1")
        assert other.claim(self.POLICY, b"2") == "held"

    def test_it_has_a_life(self, stores: tuple[Store, Store]) -> None:
        one, other = stores
        assert one.claim(replace(self.POLICY, claim_seconds=0.001), b"1") == "held"
        end = time.monotonic() + 60
        while other.claim(self.POLICY, b"2") != "held":
            assert time.monotonic() < end

    def test_a_server_that_refuses_it_is_still_a_store(
        self, stores: tuple[Store, Store], server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = stores
        server.client.execute_command("ACL", "SETUSER", "default", "resetkeys", "~*[0-9a-f]")
        assert one.claim(self.POLICY, b"1") == "alone"
        one.release(self.POLICY, b"1")
        one.put(good())
        assert other.get() is not None
        assert "claims to fetch the key set: Redis is lost (NoPermissionError)" in caplog.text

    def test_without_a_server_each_is_alone(self, stores: tuple[Store, Store], server: RedisServer) -> None:
        server.kill()
        assert [one.claim(self.POLICY, b"1") for one in stores] == ["alone", "alone"]
        for one in stores:
            one.release(self.POLICY, b"1")
