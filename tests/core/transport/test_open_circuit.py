"""An open circuit refuses nobody: it is not known whether a credential is good, and nothing is taken away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core import Auth, ProviderUnavailable
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.web.request import RequestInfo
from support.clients import Both
from support.visitors import SESSION, pair, signed_in_long_ago, verifications

pytestmark = pytest.mark.usefixtures("quick_retries")
GET = RequestInfo("GET", "https")


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> Iterator[Both]:
    """A client of an API that answers again, and whose circuit stays open for an hour all the same."""
    monkeypatch.setattr("moonkey_core._transport.circuit_breaker._PROBE_EVERY", 3600.0)
    options = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    both = Both(request.param, {**options, "cookies": True})
    both("authenticate", {"Session-Token": emulator.sign_in().session_jwt}, None, GET)  # fetches the keys
    emulator.fault("/v1/auth/sessions/verify", status=500)
    for number in range(3):
        assert both("authenticate", {"Session-Token": f"token_{number}"}, None, GET).is_unavailable
    assert both.client.health().circuit == "open"
    emulator.clear_faults()
    yield both
    both.close()


def presented(person: SignedIn, kind: str) -> dict[str, str]:
    return {
        "token": {"Session-Token": person.session_token},
        "old jwt": {"Authorization": f"Bearer {person.session_jwt}"},
        "cookies": pair(person),
        "token in a cookie": {"Cookie": f"{SESSION}={person.session_token}"},
    }[kind]


@pytest.mark.rule("S39", "token", "jwt", "pair")
@pytest.mark.rule("S45", "pair")
@pytest.mark.parametrize("kind", ["token", "old jwt", "cookies", "token in a cookie"])
def test_what_cannot_be_asked_is_unavailable(client: Both, emulator: Emulator, kind: str) -> None:
    headers = presented(signed_in_long_ago(emulator), kind)
    for _ in range(2):
        auth: Auth = client("authenticate", headers, None, GET)
        assert isinstance(auth.error, ProviderUnavailable)
        assert (auth.error.status, auth.error.reason) == (503, "api_circuit_open")
        assert client.client.cookies_after(auth) == ()
    assert verifications(emulator) == 0


@pytest.mark.rule("S39")
def test_a_jwt_that_is_verified_locally_passes(client: Both, emulator: Emulator) -> None:
    person = emulator.sign_in()
    for headers in (pair(person), {"Authorization": f"Bearer {person.session_jwt}"}):
        assert client("authenticate", headers, None, GET).is_authenticated


@pytest.mark.rule("S39")
def test_a_method_says_the_same(client: Both, emulator: Emulator) -> None:
    person = emulator.sign_in()
    with pytest.raises(ProviderUnavailable) as told:
        client("sessions.verify", session_token=person.session_token)
    assert told.value.reason == "api_circuit_open"
