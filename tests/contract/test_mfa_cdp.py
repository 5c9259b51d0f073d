"""Coinbase CDP, whose tokens say nothing of MFA or of the sign-in: what the app records, on each stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from contract.mfa_clients import Client, assert_asked
from contract.mfa_sites import MFA_STACKS
from contract.requests import bearer

from moonkey_core import CDP, AsyncMoonKey, ConfigurationError, MoonKey, Requirements
from moonkey_core.emulator import CdpEmulator
from support import quick

on_each_stack = pytest.mark.parametrize(
    "stack", [pytest.param(one, marks=() if one == "fastapi" else pytest.mark.long) for one in MFA_STACKS]
)


def options(cdp: CdpEmulator, **more: Any) -> dict[str, Any]:
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    return {"provider": provider, "cache_secret": "c" * 32, "mfa_lifetime": 3600, "timeout": 30.0, **more}


@contextmanager
def open_site(stack: str, cdp: CdpEmulator, **more: Any) -> Iterator[httpx.Client]:
    with MFA_STACKS[stack](options(cdp, **more)) as url, quick.Client(base_url=url) as http:
        yield http


@on_each_stack
def test_who_is_not_enrolled_and_who_is(stack: str, cdp: CdpEmulator) -> None:
    with open_site(stack, cdp, mfa_enrol_url="/enrol", expires_in_header=True, note_starts=True) as http:
        signed_in = cdp.sign_in("ada@example.com")
        ada = Client(http, bearer(signed_in.access_token))
        for path in ("/vault", "/other-vault"):
            refused = ada.get(path)
            assert refused.status_code == 401
            body = refused.json()
            assert (body["reason"], body["enrol_url"]) == ("mfa_not_enrolled", "/enrol")
            assert body["error"] == "insufficient_user_authentication"
            assert "Enrol" in refused.headers["www-authenticate"]
        cdp.enroll_mfa(signed_in.user_id)
        assert_asked(ada.get("/vault"))
        assert ada.post("/verified").status_code == 200
        assert ada.get("/vault").status_code == 200
        renewed = ada.like(bearer(cdp.refresh(signed_in.refresh_token).access_token))
        assert renewed.get("/vault").status_code == 200  # it carries over to the new token
        another = Client(http, bearer(cdp.sign_in("ada@example.com").access_token))
        assert_asked(another.get("/vault"))  # each client has its own
        unknown = ada.get("/me")
        assert (unknown.json()["started_at"], unknown.json()["soon"]) == (None, None)
        assert "session-expires-in" not in unknown.headers
        noted = renewed.post("/started")
        assert noted.status_code == 200, noted.text
        assert 604_000 < int(noted.headers["session-expires-in"]) <= 604_800  # of this very response
        assert noted.json()["id"] == renewed.post("/started").json()["id"]
        known = renewed.get("/me")
        assert (known.json()["soon"], known.json()["very_soon"]) == (True, False)
        assert 604_000 < int(known.headers["session-expires-in"]) <= 604_800
        assert another.get("/me").json()["soon"] is None
        held = renewed.like(bearer(cdp.refresh(signed_in.refresh_token).access_token))
        assert held.get("/vault").status_code == 200
        out = renewed.post("/auth/sign-out")
        assert out.json()["provider_sign_out"] is True
        assert_asked(held.get("/vault"))
        assert held.get("/me").json()["started_at"] is None


@on_each_stack
def test_a_sign_out_ends_the_handles_of_other_tabs(stack: str, cdp: CdpEmulator) -> None:
    """They are not sent with it, and count beside whichever token of the user: so all of the user's end."""
    with open_site(stack, cdp) as http:
        tab, other_tab = cdp.sign_in("ada@example.com"), cdp.sign_in("ada@example.com")
        cdp.enroll_mfa(tab.user_id)
        ben = cdp.sign_in("ben@example.com")
        cdp.enroll_mfa(ben.user_id)
        clients = [Client(http, bearer(one.access_token)) for one in (tab, other_tab, ben)]
        for client in clients:
            assert client.post("/verified").status_code == 200
        ada, held, other = clients
        assert ada.like(ada.credential).get("/vault").status_code == 200
        signing_out = Client(http, bearer(cdp.refresh(tab.refresh_token).access_token))  # without its handle
        assert signing_out.post("/auth/sign-out").status_code == 200
        for old in (ada, held):
            assert_asked(old.like(bearer(cdp.sign_in("ada@example.com").access_token)).get("/vault"))
        assert other.get("/vault").status_code == 200


@pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
def test_a_start_needs_its_setting(cdp: CdpEmulator, kind: Any) -> None:
    client = kind(**{**options(cdp), "mfa_lifetime": None, "session_cache_ttl": 60})
    assert client._core.records is None
    assert not client.settings.adds_to_responses
    assert client.settings.handle_headers == ()
    assert client._core.revocations.retention < 2 * 86_400
    noting = kind(**options(cdp, note_starts=True))
    assert noting._core.revocations.retention >= 7 * 86_400
    with MoonKey(**options(cdp)) as one:
        auth = one.authenticate(bearer(cdp.sign_in("ada@example.com").access_token))
        with pytest.raises(ConfigurationError, match="note_starts"):
            one.sessions.note_start(auth)


def test_its_end_is_not_told_as_that_of_a_token(cdp: CdpEmulator) -> None:
    with open_site("fastapi", cdp, expires_in_header=True) as http:
        seen = Client(http, bearer(cdp.sign_in("ada@example.com").access_token)).get("/me")
        assert seen.status_code == 200
        assert "session-expires-in" not in seen.headers


def test_as_cdp_does_it_by_choice(cdp: CdpEmulator) -> None:
    with open_site("fastapi", cdp, mfa_unenrolled="allow") as http:
        signed_in = cdp.sign_in("ada@example.com")
        ada = Client(http, bearer(signed_in.access_token))
        assert ada.get("/vault").status_code == 200
        cdp.enroll_mfa(signed_in.user_id)
        assert_asked(ada.get("/vault"))


@pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
def test_a_young_session_is_refused_at_start(cdp: CdpEmulator, kind: Any) -> None:
    asked = Requirements(session_max_age=timedelta(hours=1))
    with pytest.raises(ConfigurationError, match="note_starts"):
        kind(**options(cdp)).check_requirements(asked)
    kind(**options(cdp, note_starts=True)).check_requirements(asked)
    assert kind(**options(cdp)).settings.records_by_user is False
