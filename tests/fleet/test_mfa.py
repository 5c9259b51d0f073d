"""Second factors that an app records, in several processes with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import MissingCredentials, MoonKey, ProviderUnavailable, StepUpRequired
from moonkey_core.emulator import Emulator
from moonkey_core.gate import Requirements, check
from support.redis_server import RedisServer
from support.scripted import wait_until

from .client_fleet import Fleet

pytestmark = pytest.mark.long
VAULT = Requirements(mfa_max_age=timedelta(minutes=10))
USER: dict[str, Any] = {"mfa_lifetime": 3600, "mfa_scope": "user"}
CREDENTIAL: dict[str, Any] = {"mfa_lifetime": 3600, "mfa_scope": "credential"}


@pytest.fixture
def fleet(emulator: Emulator, server: RedisServer) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(emulator, server, stack)


def bearer(credential: str, handle: str | None = None) -> dict[str, str]:
    held = {} if handle is None else {"MFA-Handle": handle}
    return {"Authorization": f"Bearer {credential}", **held}


def asks(client: MoonKey, headers: dict[str, str]) -> type[Exception] | None:
    """What a gate with ``mfa_max_age`` says of a request with these headers, in the process of this client."""
    auth = client.authenticate(headers)
    with suppress(ProviderUnavailable):
        client.mfa.get(auth)
    refusal = check(auth, VAULT)
    return None if refusal is None else type(refusal)


def test_a_record_of_a_user_counts_and_ends_in_each_process(fleet: Fleet, emulator: Emulator) -> None:
    one, other = fleet.worker(**USER), fleet.worker(**USER)
    ada, elsewhere = emulator.sign_in(email="ada@example.com"), emulator.sign_in(email="ada@example.com")
    bob = emulator.sign_in(email="bob@example.com")
    lines = bearer(ada.session_token)
    assert asks(other, lines) is StepUpRequired
    one.mfa.record(one.authenticate(lines))
    assert asks(other, lines) is None
    assert asks(other, bearer(elsewhere.session_jwt)) is None
    assert asks(other, bearer(bob.session_token)) is StepUpRequired
    other.mfa.end(other.authenticate(lines))
    assert asks(one, lines) is StepUpRequired
    again = one.mfa.record(one.authenticate(lines))
    assert asks(other, lines) is None
    other.revocations.add(session_id=again.id)
    assert wait_until(lambda: asks(one, lines) is StepUpRequired)


def test_an_asynchronous_process_reads_the_same(fleet: Fleet, emulator: Emulator) -> None:
    one, other = fleet.worker(**USER), fleet.async_worker(**USER)
    ada = emulator.sign_in(email="ada@example.com")
    one.mfa.record(one.authenticate(bearer(ada.session_token)))

    async def visit() -> tuple[bool, bool]:
        async with other:
            auth = await other.authenticate(bearer(ada.session_token))
            found = await other.mfa.get(auth)
            await other.mfa.end(auth)
            return found is not None, check(auth, VAULT) is None

    assert asyncio.run(visit()) == (True, False)
    assert asks(one, bearer(ada.session_token)) is StepUpRequired


def test_a_revoked_user_is_asked_again(fleet: Fleet, emulator: Emulator) -> None:
    one, other = fleet.worker(**USER), fleet.worker(**USER)
    ada = emulator.sign_in(email="ada@example.com")
    one.mfa.record(one.authenticate(bearer(ada.session_token)))
    assert asks(other, bearer(ada.session_token)) is None
    one.revocations.add(user_id=ada.user_id)

    def is_asked() -> bool:
        later = emulator.sign_in(email="ada@example.com")
        return asks(other, bearer(later.session_token)) is StepUpRequired

    assert wait_until(is_asked)


def test_without_redis_nobody_passes(fleet: Fleet, emulator: Emulator, server: RedisServer) -> None:
    one = fleet.worker(**USER)
    ada = emulator.sign_in(email="ada@example.com")
    auth = one.authenticate(bearer(ada.session_token))
    one.mfa.record(auth)
    assert asks(one, bearer(ada.session_token)) is None
    server.stop()
    assert asks(one, bearer(ada.session_token)) is ProviderUnavailable
    with pytest.raises(ProviderUnavailable):
        one.mfa.record(auth)


def test_a_handle_ends_in_each_process(fleet: Fleet, emulator: Emulator) -> None:
    one, other = fleet.worker(**CREDENTIAL), fleet.worker(**CREDENTIAL)
    ada, bob = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "bob"))
    lines = bearer(ada.session_token)
    made = one.mfa.record(one.authenticate(lines))
    assert made.handle is not None
    held = bearer(ada.session_token, made.handle)
    assert asks(other, held) is None
    assert asks(other, lines) is StepUpRequired
    assert asks(other, bearer(bob.session_token, made.handle)) is StepUpRequired
    assert asks(other, {"MFA-Handle": made.handle}) is MissingCredentials
    one.revocations.add(session_id=made.id)
    assert wait_until(lambda: asks(other, held) is StepUpRequired)


def test_a_new_secret_does_not_end_it(fleet: Fleet, emulator: Emulator) -> None:
    token = emulator.sign_in(email="ada@example.com").session_token
    for scope in (USER, CREDENTIAL):
        before = fleet.worker(**scope, cache_secret="a" * 32)
        made = before.mfa.record(before.authenticate(bearer(token)))
        after = fleet.worker(**scope, cache_secret="b" * 32, previous_cache_secret="a" * 32)
        held = bearer(token, made.handle)
        assert asks(after, held) is None
        stranger = fleet.worker(**scope, cache_secret="c" * 32)
        assert asks(stranger, held) is StepUpRequired
