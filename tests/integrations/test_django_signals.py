"""Django's signals: what happens to sessions, told once, to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integrations.django_browsing_site import browsing
from integrations.django_visits import Configure, Visit, visit_asgi, visit_wsgi

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import DeviceChanged, Refreshed, Revoked, SignedOut
from moonkey_core.events import SignedIn as SignedInEvent
from moonkey_django import get_async_client, get_client, signals
from support.visitors import FOREIGN, JWT, Visitor, pair, signed_in_long_ago

Heard = list[tuple[str, Any]]


@pytest.fixture(autouse=True)
def site(configure: Configure, settings: Any) -> Configure:
    settings.ROOT_URLCONF = "integrations.django_browsing_site"
    configure(COOKIES={})
    return configure


@pytest.fixture
def heard() -> Iterator[Heard]:
    """The names of all signals that were sent, with what came along."""
    found: Heard = []
    receivers: list[tuple[signals.MoonKeySignal, Callable[..., None]]] = []
    for name in signals.__all__:
        signal = getattr(signals, name)

        def receive(_name: str = name, **about: Any) -> None:
            found.append((_name, about))

        signal.connect(receive, weak=False)
        receivers.append((signal, receive))
    yield found
    for signal, receive in receivers:
        assert signal.disconnect(receive)


def names(heard: Heard) -> list[str]:
    return [name for name, _about in heard]


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("path", ["/me", "/ame", "/public"])
def test_who_it_is_is_told_once(visit: Visit, heard: Heard, ada: SignedIn, path: str) -> None:
    assert visit(path, ada.session_token).status_code == 200
    ((name, about),) = heard
    assert name == "authenticated"
    assert about["auth"].user.id == ada.user_id
    assert about["request"].path == path
    assert about["sender"] is (MoonKey if visit is visit_wsgi else AsyncMoonKey)


def test_a_second_look_by_a_gate_is_not_told_again(visit: Visit, heard: Heard, ada: SignedIn) -> None:
    assert visit("/strict", ada.session_jwt).status_code == 200
    assert names(heard) == ["authenticated"]


def test_a_credential_that_is_not_good(visit: Visit, heard: Heard, ada: SignedIn) -> None:
    visit("/me", "no-such-session")
    visit("/me", method="POST", **lower({**pair(ada), **FOREIGN}))
    visit("/me", "a b")
    assert names(heard) == ["rejected"] * 3
    reasons = [about["auth"].error.reason for _name, about in heard]
    assert reasons[1:] == ["cross_site_request", "malformed_credentials"]


def test_what_is_not_told(visit: Visit, heard: Heard, ada: SignedIn, emulator: Emulator) -> None:
    visit("/me")
    emulator.fault(status=500)
    assert visit("/me", ada.session_token).status_code == 503
    assert heard == []


def test_nobody_looks_and_nobody_is_told(heard: Heard, site: Configure, ada: SignedIn) -> None:
    visit_wsgi("/unread", ada.session_token)
    assert heard == []
    visit_asgi("/unread", ada.session_token)
    assert names(heard) == ["authenticated"]
    site(COOKIES={}, LAZY=True)
    visit_asgi("/unread", ada.session_token)
    assert names(heard) == ["authenticated"]


def test_a_refresh(visit: Visit, heard: Heard, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    assert JWT in visit("/me", **lower(pair(person))).cookies
    events = dict(heard)
    assert set(events) == {"authenticated", "refreshed"}
    assert events["refreshed"]["event"] == Refreshed(person.user_id, person.session_id)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_from_sign_in_to_sign_out(kind: str, heard: Heard, emulator: Emulator) -> None:
    sender = MoonKey if kind == "wsgi" else AsyncMoonKey
    with browsing(kind) as browser:
        visitor, other = Visitor(browser), Visitor(browser)
        visitor.sign_in(emulator)
        other.sign_in(emulator)
        theirs = other.get("/auth/session", Accept="application/json").json()["session"]["id"]
        visitor.post(f"/sessions/{theirs}/revoke")
        visitor.get("/me", **{"User-Agent": "another browser"})
        visitor.post("/sign-out")
    told = {name: about for name, about in heard if name != "authenticated"}
    assert set(told) >= {"signed_in", "revoked", "device_changed", "signed_out"}
    assert isinstance(told["signed_in"]["event"], SignedInEvent)
    assert told["signed_in"]["event"].method == "otp"
    revoked = [about["event"].session_id for name, about in heard if name == "revoked"]
    assert revoked[0] == theirs
    assert isinstance(told["revoked"]["event"], Revoked)
    assert isinstance(told["signed_out"]["event"], SignedOut)
    assert isinstance(told["device_changed"]["event"], DeviceChanged)
    assert told["device_changed"]["event"].user_agent_changed is True
    assert {about["sender"] for about in told.values()} == {sender}


@pytest.mark.parametrize("name", ["authenticated", "refreshed"])
def test_a_receiver_that_raises_is_logged_and_goes_no_further(
    visit: Visit, heard: Heard, emulator: Emulator, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def fails(**_about: Any) -> None:
        raise RuntimeError("the receiver is broken")

    signal: signals.MoonKeySignal = getattr(signals, name)
    signal.connect(fails)
    try:
        response = visit("/me", **lower(pair(signed_in_long_ago(emulator))))
    finally:
        assert signal.disconnect(fails)
    assert (response.status_code, JWT in response.cookies) == (200, True)
    assert sorted(names(heard)) == ["authenticated", "refreshed"]
    assert "the receiver is broken" in caplog.text


def test_a_coroutine_function_is_refused_at_once() -> None:
    async def receive(**_about: Any) -> None: ...

    with pytest.raises(TypeError, match="must be a plain function"):
        signals.signed_in.connect(receive)
    assert signals.signed_in.receivers == []


def test_a_client_has_no_hook_until_somebody_wants_to_know(emulator: Emulator) -> None:
    def receive(**about: Any) -> None:
        found.append(about)

    found: list[dict[str, Any]] = []
    clients = get_client(), get_async_client()
    assert [len(client.hooks.all) for client in clients] == [0, 0]
    signals.authenticated.connect(receive)  # which is none of a client's events
    assert [len(client.hooks.all) for client in clients] == [0, 0]
    signals.revoked.connect(receive)
    signals.refreshed.connect(receive)
    try:
        assert [len(client.hooks.all) for client in clients] == [1, 1]
        get_client().sessions.revoke(session_id=emulator.sign_in().session_id)
        assert [type(about["event"]) for about in found] == [Revoked]
    finally:
        for signal in (signals.authenticated, signals.revoked, signals.refreshed):
            assert signal.disconnect(receive)


def test_a_receiver_of_one_sender(heard: Heard, ada: SignedIn) -> None:
    def receive(sender: type, **_about: Any) -> None:
        senders.append(sender)

    senders: list[type] = []
    signals.authenticated.connect(receive, sender=AsyncMoonKey)
    try:
        visit_wsgi("/me", ada.session_token)
        visit_asgi("/me", ada.session_token)
    finally:
        assert signals.authenticated.disconnect(receive, sender=AsyncMoonKey)
    assert senders == [AsyncMoonKey]
    assert names(heard) == ["authenticated"] * 2
