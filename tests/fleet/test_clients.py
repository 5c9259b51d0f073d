"""Clients with a feed and a store, as an app has them: what one of them does, the other knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from moonkey_core import RevokedCredentials
from moonkey_core.emulator import Emulator
from support.decisions import bearer, presenting
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.scripted import wait_until

from .client_fleet import Fleet


@pytest.fixture
def fleet(emulator: Emulator, server: RedisServer) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(emulator, server, stack)


@pytest.mark.rule("S35")
def test_a_session_revoked_in_one_is_refused_by_the_other(emulator: Emulator, fleet: Fleet) -> None:
    """S36."""
    one, other = fleet.worker(), fleet.worker()
    assert one.revocations is not other.revocations
    person, neighbour = emulator.sign_in(), emulator.sign_in()
    for somebody in (person, neighbour):
        assert other.authenticate(bearer(somebody.session_jwt)).source == "local"
    one.sessions.revoke(session_jwt=person.session_jwt)
    assert wait_until(lambda: other.authenticate(bearer(person.session_jwt)).is_rejected)
    assert isinstance(other.authenticate(bearer(person.session_jwt)).error, RevokedCredentials)
    assert other.authenticate(bearer(neighbour.session_jwt)).source == "cache"


@pytest.mark.rule("S35")
@pytest.mark.long
def test_all_of_a_user_and_an_asynchronous_client(emulator: Emulator, fleet: Fleet) -> None:
    one = fleet.worker()
    person = emulator.sign_in()

    async def work() -> None:
        async with fleet.async_worker() as other:
            end = time.monotonic() + PATIENCE
            while other.health().feed != "live":
                assert time.monotonic() < end
                await asyncio.sleep(0.01)
            assert (await other.authenticate(bearer(person.session_jwt))).source == "local"
            one.revocations.add(user_id=person.user_id)
            while not (await other.authenticate(bearer(person.session_jwt))).is_rejected:
                assert time.monotonic() < end
                await asyncio.sleep(0.01)

    asyncio.run(work())


@pytest.mark.rule("S36")
@pytest.mark.long
def test_the_feed_is_cut(emulator: Emulator, fleet: Fleet, server: RedisServer) -> None:
    """S36. Nobody accepts on their own what they cannot know, and the API is asked once per lag."""
    one, other = fleet.worker(max_revocation_lag=0.5), fleet.worker(max_revocation_lag=0.5)
    person = emulator.sign_in()

    def decides_alone() -> bool:  # not in a moment in which its feed has got no turn for most of the lag
        return other.authenticate(bearer(emulator.sign_in().session_jwt)).source == "local"

    assert wait_until(decides_alone)
    assert other.authenticate(bearer(person.session_jwt)).is_authenticated
    server.kill()
    assert wait_until(lambda: other.health().feed == "lost")
    assert wait_until(lambda: other.authenticate(bearer(person.session_jwt)).source == "remote")
    before = emulator.requests()["POST /v1/auth/sessions/verify"]
    sources = [other.authenticate(bearer(person.session_jwt)).source for _ in range(50)]
    assert set(sources) <= {"remote", "cache"}
    assert emulator.requests()["POST /v1/auth/sessions/verify"] - before < 25
    one.sessions.revoke(session_jwt=person.session_jwt)
    assert wait_until(lambda: other.authenticate(bearer(person.session_jwt)).is_rejected)
    server.start()
    assert wait_until(lambda: other.health().feed == "live")
    assert wait_until(decides_alone)
    assert other.authenticate(bearer(person.session_jwt)).is_rejected


@pytest.mark.rule("S34", "S37")
@pytest.mark.long
def test_an_answer_about_a_token_is_shared(emulator: Emulator, fleet: Fleet) -> None:
    """S37."""
    one, other = fleet.worker(session_cache_ttl=60), fleet.worker(session_cache_ttl=60)
    person = emulator.sign_in()
    for client in (one, other, other):
        auth = client.authenticate(presenting(person.session_token))
        assert auth.user is not None
        assert auth.user.id == person.user_id
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 1
    one.sessions.revoke(session_token=person.session_token)
    assert wait_until(lambda: other.authenticate(presenting(person.session_token)).is_rejected)


@pytest.mark.rule("S37")
def test_another_key_is_another_app(emulator: Emulator, fleet: Fleet) -> None:
    """One Redis and one cache_secret for two apps: what one was told is no answer for the other."""
    common = {"session_cache_ttl": 60, "cache_secret": "of both, sixteen letters"}
    one = fleet.worker(**common)
    person = emulator.sign_in()
    assert one.authenticate(presenting(person.session_token)).is_authenticated
    other = fleet.worker(secret_key="sk_test_of_another_app", **common)
    assert not other.authenticate(presenting(person.session_token)).is_authenticated


def test_the_key_set_is_shared(emulator: Emulator, fleet: Fleet) -> None:
    person = emulator.sign_in()
    for _ in range(3):
        assert fleet.worker().authenticate(bearer(person.session_jwt)).source == "local"
    assert emulator.requests()["GET /v1/auth/jwks/default"] == 1
