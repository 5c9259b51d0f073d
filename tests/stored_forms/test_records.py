"""Handles that the landed version has given to clients count, and so do its records of users in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from moonkey_core import OIDC, Auth, CookieSettings, MoonKey
from moonkey_core.gate import Requirements, check
from moonkey_core.revocations import Revocations
from support.redis_server import RedisServer, need_redis

LANDED: dict[str, Any] = json.loads(Path(__file__).with_name("landed_records.json").read_text(encoding="utf-8"))
VAULT = Requirements(mfa_max_age=timedelta(minutes=10), session_max_age=timedelta(minutes=10))


@pytest.fixture(autouse=True)
def _at_that_time() -> Iterator[None]:
    with time_machine.travel(LANDED["at"] + 60, tick=True):
        yield


def client_of(**options: Any) -> MoonKey:
    provider = OIDC(LANDED["issuer"], LANDED["audience"], keys=LANDED["jwks"])
    usual = {"mfa_lifetime": 28_800, "mfa_scope": "credential", "note_starts": True, "longest_session": 604_800}
    return MoonKey(**{"provider": provider, "cache_secret": LANDED["cache_secret"], **usual, **options})


def headers(carrier: str, **more: str) -> dict[str, str]:
    held, cookies = LANDED[carrier], CookieSettings()
    lines = {"authorization": f"Bearer {LANDED['token']}"}
    if carrier == "cookie":
        return {
            **lines,
            "cookie": f"{cookies.mfa_name}={held['mfa']}; {cookies.start_name}={held['start']}",
            **more,
        }
    return {**lines, "mfa-handle": held["mfa"], "session-start": held["start"], **more}


def seen(client: MoonKey, lines: dict[str, str]) -> Auth:
    auth = client.authenticate(lines, VAULT)
    assert auth.is_authenticated, auth
    return auth


@pytest.mark.parametrize("carrier", ["header", "cookie"])
def test_handles_of_the_landed_version_count(carrier: str) -> None:
    with client_of(mfa_handles=carrier, cookies=CookieSettings()) as client:
        auth = seen(client, headers(carrier))
        assert check(auth, VAULT) is None
        assert auth.mfa is not None
        assert (auth.mfa.id, auth.mfa.method) == (LANDED[carrier]["mfa_id"], "totp")
        assert auth.session is not None
        assert auth.session.started_at is not None
        assert abs(auth.session.started_at.timestamp() - LANDED["at"]) < 30
        assert client.sessions.note_start(auth).id == LANDED[carrier]["start_id"]
        bare = seen(client, {"authorization": headers(carrier)["authorization"]})
        assert check(bare, VAULT) is not None


@pytest.mark.parametrize("kind", ["mfa", "start"])
def test_they_end_by_their_ids(kind: str) -> None:
    with client_of() as client:
        client.revocations.add(session_id=LANDED["header"][f"{kind}_id"])
        assert check(seen(client, headers("header")), VAULT) is not None


def test_records_of_users_of_the_landed_version_count(monkeypatch: pytest.MonkeyPatch) -> None:
    need_redis()
    # This Redis does not live at that time: by its clock, the records have ended long ago.
    monkeypatch.setattr(Revocations, "set_clock_offset", lambda *_: None)
    with RedisServer() as server:
        for key, left in LANDED["user"]["keys"].items():
            server.client.set(key, bytes.fromhex(left["value"]), px=left["ttl_ms"])
        with client_of(mfa_scope="user", redis_url=server.url, on_feed_lost="local") as client:
            auth = seen(client, headers("header"))
            assert check(auth, VAULT) is None
            assert auth.mfa is not None
            assert auth.mfa.id == LANDED["user"]["id"]
            client.mfa.end(auth)
            assert server.client.exists(*LANDED["user"]["keys"]) == 0
