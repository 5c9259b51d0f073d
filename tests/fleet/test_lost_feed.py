"""What counts in a process that has lost a real Redis, and what is asked about."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Any

import pytest

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator
from support.decisions import bearer
from support.patience import PATIENT
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.visitors import verifications

pytestmark = pytest.mark.rule("S36")


def client_of(emulator: Emulator, server: RedisServer, **options: Any) -> MoonKey:
    usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    return MoonKey(**{**usual, **PATIENT, "redis_url": server.url, "max_revocation_lag": 0.5, **options})


@pytest.mark.long
def test_what_is_known_counts_up_to_the_bound_and_no_longer(
    server: RedisServer, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    person = emulator.sign_in()
    with closing(client_of(emulator, server, on_feed_lost="bounded")) as client:
        feed = client._core.feed
        assert feed is not None
        assert feed.known_for() == math.inf
        assert client.authenticate(bearer(person.session_jwt)).is_authenticated  # starts the feed
        assert wait_until(lambda: feed.is_live)
        assert feed.known_for() < 10
        server.stop()
        assert wait_until(lambda: not feed.is_live)
        assert wait_until(lambda: "at most 10 s meanwhile" in caplog.text)
        assert client.health().feed_lost_bound == 10
        emulator.clear_requests()
        client._core._acceptance.lost_seconds = math.inf  # however slow this machine is
        for _ in range(5):
            assert client.authenticate(bearer(person.session_jwt)).is_authenticated
        assert verifications(emulator) == 0
        bound = client._core._acceptance.lost_seconds = 0.5
        assert wait_until(lambda: feed.known_for() > bound)
        assert client.authenticate(bearer(person.session_jwt)).source == "remote"
        assert verifications(emulator) == 1
        emulator.revoke(person.session_id)
        assert wait_until(lambda: client.authenticate(bearer(person.session_jwt)).is_rejected)
    assert feed.known_for() == math.inf  # closed


@pytest.mark.long
def test_of_the_clients_that_share_a_feed_the_log_names_the_longest_bound(
    server: RedisServer, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It says how late a revocation may take effect, so it must not be that of the client that was made first."""
    with closing(client_of(emulator, server)) as first, closing(client_of(emulator, server, on_feed_lost="local")):
        assert wait_until(lambda: first.health().feed == "live")
        server.stop()
        assert wait_until(lambda: "at most 305 s meanwhile" in caplog.text)
        assert first.health().feed_lost_bound == 0.5
