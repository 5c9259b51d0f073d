"""A user's sessions are ended in one process: the others refuse what it refuses, and keep what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from moonkey_core import MoonKey, ProviderUnavailable, RevocationIncomplete, Settings
from moonkey_core.emulator import Emulator
from moonkey_core.redis import shared
from support.decisions import bearer
from support.feeds import begin_long_ago
from support.patience import PATIENT_LAG
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonkey_core._transport.retries._BACKOFF", (0.001, 0.002))


@pytest.fixture
def fleet(server: RedisServer, emulator: Emulator) -> Iterator[list[MoonKey]]:
    """Two clients that share nothing but Redis, as in two processes."""
    options: dict[str, Any] = {"jwt_issuer": emulator.issuer, "redis_url": server.url}
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            shared._tables.clear()
            shared._feeds.clear()
            client = MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, **options)
            found.append(stack.enter_context(client))
        assert all(wait_until(lambda c=client: c._core.feed.is_live) for client in found)  # type: ignore[misc]
        yield found


@pytest.mark.long
@pytest.mark.parametrize("trouble", [None, "/v1/auth/sessions/list", "/v1/auth/sessions/delete"])
def test_what_is_kept_elsewhere(fleet: list[MoonKey], emulator: Emulator, trouble: str | None) -> None:
    one, other = fleet
    mine, lost = emulator.sign_in(), emulator.sign_in()
    for person in (mine, lost):
        assert other.authenticate(bearer(person.session_jwt)).is_authenticated
    if trouble is None:
        one.sessions.revoke_all(mine.user_id.removeprefix("user_"), keep=mine.session_id)
    else:
        emulator.fault(trouble, status=500)
        with pytest.raises((ProviderUnavailable, RevocationIncomplete)):
            one.sessions.revoke_all(mine.user_id, keep=mine.session_id)
    assert wait_until(lambda: other.authenticate(bearer(lost.session_jwt)).is_rejected)
    emulator.clear_faults()
    assert other.authenticate(bearer(lost.session_token)).is_rejected
    for credential in (mine.session_token, mine.session_jwt):
        assert other.authenticate(bearer(credential)).is_authenticated


@pytest.mark.rule("S35")
@pytest.mark.long
@pytest.mark.parametrize("kind", ["session_id", "session_token", "session_jwt"])
def test_one_that_could_not_be_ended(fleet: list[MoonKey], emulator: Emulator, kind: str) -> None:
    one, other = fleet
    person = emulator.sign_in()
    emulator.fault("/v1/auth/sessions/delete", status=500)
    with pytest.raises(ProviderUnavailable):
        one.sessions.revoke(**{kind: getattr(person, kind)})
    assert wait_until(lambda: other.authenticate(bearer(person.session_jwt)).is_rejected)


def test_an_answer_about_a_token_is_one_for_both_spellings(server: RedisServer, emulator: Emulator) -> None:
    options: dict[str, Any] = {"redis_url": server.url, "session_cache_ttl": 60, "max_revocation_lag": PATIENT_LAG}
    begin_long_ago(
        server, Settings.load({**options, "secret_key": emulator.secret_key, "base_url": emulator.base_url}, {})
    )
    person = emulator.sign_in()
    users = []
    for spelling in (person.session_token, f"session_{person.session_token}"):
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, **options) as client:
            assert wait_until(lambda c=client: c._core.feed.is_live)  # type: ignore[misc]
            users.append(client.authenticate({"session-token": spelling}).user)
    assert [user.id for user in users if user] == [person.user_id] * 2
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 1
