"""For how long late repeats of an old JWT are given its renewal, and by when the API is asked again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core import _clock
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator
from moonkey_core.web.request import RequestInfo
from support.clients import Both, MakeClient
from support.visitors import pair, signed_in_long_ago, verifications

MOMENT = 0.1


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the clock that nobody sets, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(_clock, "monotonic", lambda: now[0])
    return now


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, time: list[float], emulator: Emulator) -> Iterator[Both]:
    options = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    both = Both(request.param, {**options, "cookies": True})
    yield both
    both.close()


@pytest.mark.rule("S34")
@pytest.mark.parametrize(("kind", "seconds"), [("header", 10), ("cookies", 2)])
def test_a_renewal_is_shared_for_so_long(
    client: Both, time: list[float], emulator: Emulator, kind: str, seconds: float
) -> None:
    person = signed_in_long_ago(emulator)
    headers = pair(person) if kind == "cookies" else {"Session-Token": person.session_jwt}

    def fresh() -> str:
        auth = client("authenticate", headers, None, RequestInfo("GET", "https"))
        assert auth.is_authenticated
        return str(fresh_jwt(auth))

    first = fresh()
    time[0] += seconds - MOMENT
    assert (fresh(), verifications(emulator)) == (first, 1)
    time[0] += 2 * MOMENT
    fresh()
    assert verifications(emulator) == 2


@pytest.mark.rule("S34")
@pytest.mark.parametrize("kind", ["header", "cookies"])
def test_a_refusal_is_remembered_for_five_seconds(
    client: Both, time: list[float], emulator: Emulator, kind: str
) -> None:
    person = signed_in_long_ago(emulator)
    emulator.revoke(person.session_id)
    headers = pair(person) if kind == "cookies" else {"Session-Token": person.session_token}
    for moment, calls in ((0, 1), (5 - MOMENT, 1), (2 * MOMENT, 2)):
        time[0] += moment
        assert client("authenticate", headers, None, RequestInfo("GET", "https")).is_rejected
        assert verifications(emulator) == calls


@pytest.mark.rule("S34", "S19")
@pytest.mark.parametrize("kind", ["header", "cookies"])
def test_trouble_of_a_renewal_is_not_remembered(client: Both, emulator: Emulator, kind: str) -> None:
    person = signed_in_long_ago(emulator)
    headers = pair(person) if kind == "cookies" else {"Session-Token": person.session_jwt}
    emulator.fault("/v1/auth/sessions/verify", status=502)
    assert client("authenticate", headers, None, RequestInfo("GET", "https")).is_unavailable
    emulator.clear_faults()
    assert client("authenticate", headers, None, RequestInfo("GET", "https")).is_authenticated


@pytest.mark.rule("S23")
@pytest.mark.parametrize("kind", ["header", "cookies"])
def test_a_revocation_by_another_client_of_the_process_ends_it(
    client: Both, make_client: MakeClient, emulator: Emulator, kind: str
) -> None:
    """One that shares nothing with it but the process: to it, the API is another one by its address."""
    person = signed_in_long_ago(emulator)
    headers = pair(person) if kind == "cookies" else {"Session-Token": person.session_jwt}
    info = RequestInfo("GET", "https")
    assert fresh_jwt(client("authenticate", headers, None, info))
    other = make_client(base_url=emulator.base_url.replace("127.0.0.1", "localhost"))
    assert other.revocations is not client.client.revocations
    other.sessions.revoke(session_id=person.session_id)
    assert client("authenticate", headers, None, info).is_rejected
