"""What a revocation through this process ends: every answer about sessions that was asked for before it."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
from typing import Any

import pytest

from moonkey_core import (
    AsyncMoonKey,
    MoonKey,
    ProviderUnavailable,
    RevocationIncomplete,
    Session,
    User,
)
from moonkey_core.emulator import Emulator, SignedIn
from support.decisions import bearer
from support.patience import PATIENCE
from support.scripted import wait_until


def with_old_jwt(emulator: Emulator) -> SignedIn:
    emulator.set_clock(-400)
    person = emulator.sign_in()
    emulator.set_clock(0)
    return person


def options(emulator: Emulator) -> dict[str, Any]:
    return {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "jwt_issuer": emulator.issuer,
        "timeout": 30,
    }


def verified_calls(emulator: Emulator) -> int:
    return emulator.requests()["POST /v1/auth/sessions/verify"]


def wait_for_the_call(emulator: Emulator) -> None:
    assert wait_until(lambda: verified_calls(emulator) > 0)


@pytest.mark.long
@pytest.mark.rule("S23")
def test_a_revoked_session_is_refused_by_each_of_its_credentials(emulator: Emulator) -> None:
    ada, other = (emulator.sign_in(email="ada@example.com") for _ in range(2))
    with MoonKey(**options(emulator), session_cache_ttl=60) as client:
        for person in (ada, other):
            for credential in (person.session_token, person.session_jwt):
                assert client.authenticate(bearer(credential)).is_authenticated
        client.revocations.add(session_id=ada.session_id)
        newer = emulator.mint(session_id=ada.session_id)
        for credential in (ada.session_token, ada.session_jwt, newer):
            assert client.authenticate(bearer(credential)).is_rejected
        assert client.authenticate(bearer(other.session_jwt)).is_authenticated
        client.revocations.add(user_id=ada.user_id)
        for credential in (other.session_token, other.session_jwt):
            assert client.authenticate(bearer(credential)).is_rejected


def test_nobody_joins_a_refresh_that_began_before(emulator: Emulator) -> None:
    person = with_old_jwt(emulator)
    emulator.fault("/v1/auth/sessions/verify", drip=0.001, times=1)  # right answer, slow on its way back
    with MoonKey(**options(emulator)) as client:
        early = threading.Thread(target=client.authenticate, args=(bearer(person.session_jwt),))
        early.start()
        wait_for_the_call(emulator)
        client.sessions.revoke(session_id=person.session_id)
        assert early.is_alive()
        assert client.authenticate(bearer(person.session_jwt)).is_rejected
        early.join(PATIENCE)
        assert client.authenticate(bearer(person.session_jwt)).is_rejected


@pytest.mark.rule("S23")
def test_it_holds_for_other_clients_and_loops_of_the_process(emulator: Emulator) -> None:
    person = with_old_jwt(emulator)
    headers = bearer(person.session_jwt)
    client = AsyncMoonKey(**options(emulator))
    loops = [asyncio.new_event_loop() for _ in range(2)]
    with MoonKey(**options(emulator)) as blocking:
        try:
            assert all(loop.run_until_complete(client.authenticate(headers)).is_authenticated for loop in loops)
            assert blocking.authenticate(headers).is_authenticated
            loops[0].run_until_complete(client.sessions.revoke(session_id=person.session_id))
            assert all(loop.run_until_complete(client.authenticate(headers)).is_rejected for loop in loops)
            assert blocking.authenticate(headers).is_rejected
        finally:
            for loop in loops:
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()


@pytest.mark.rule("S23")
def test_a_revocation_that_was_cancelled_may_have_had_its_effect(emulator: Emulator) -> None:
    person = with_old_jwt(emulator)
    headers = bearer(person.session_jwt)

    async def work() -> None:
        async with AsyncMoonKey(**options(emulator)) as client:
            assert (await client.authenticate(headers)).is_authenticated
            emulator.fault("/v1/auth/sessions/delete", drip=0.01)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.sessions.revoke(session_id=person.session_id)
            assert (await client.authenticate(headers)).is_rejected

    asyncio.run(work())


@pytest.mark.parametrize("keep", [5, "", True, b"sess_1"])
def test_what_is_kept_must_be_an_id(emulator: Emulator, keep: Any) -> None:
    """Anything else would be no session's id, and all of them would be ended."""
    person = emulator.sign_in()
    with MoonKey(**options(emulator)) as client:
        with pytest.raises(ValueError, match="keep"):
            client.sessions.revoke_all(person.user_id, keep=keep)
        session = client.sessions.verify(session_token=person.session_token).session
        with pytest.raises(ValueError, match="keep"):
            client.sessions.revoke_all(person.user_id, keep=session)  # type: ignore[arg-type]


def test_an_incomplete_one_can_be_sent_between_processes() -> None:
    error = RevocationIncomplete(revoked=("sess_1",), failed={"sess_2": ProviderUnavailable(reason="api_timeout")})
    again = pickle.loads(pickle.dumps(error))
    assert (again.revoked, str(again)) == (error.revoked, str(error))
    assert again.failed["sess_2"].reason == "api_timeout"


def test_models_can_be_keys(emulator: Emulator) -> None:
    person = emulator.sign_in()
    with MoonKey(**options(emulator)) as client:
        first, second = (client.sessions.verify(session_token=person.session_token) for _ in range(2))
    assert len({first.user, second.user}) == 1
    found: set[User | Session] = {first.user, first.session}
    assert len(found) == 2
