"""Flask's signals: who is told of what, and that nobody pays for what nobody hears."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blinker import Signal
from flask import Flask
from integrations.flask_visits import make_app, visiting

from moonkey_core import MoonKey, events
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import FlaskMoonKey, session_routes, signals
from support.visitors import SESSION, Visitor, pair, signed_in_long_ago

EVENTS: list[tuple[Signal, events.Event]] = [
    (signals.refreshed, events.Refreshed("user_1", "sess_1")),
    (signals.extended, events.Extended("user_1", "sess_1")),
    (signals.signed_in, events.SignedIn("user_1", "sess_1", "otp")),
    (signals.signed_out, events.SignedOut("user_1", "sess_1", True)),
    (signals.revoked, events.Revoked("user_1", "sess_1")),
    (signals.device_changed, events.DeviceChanged("user_1", "sess_1", True, False)),
]


@contextmanager
def heard(*wanted: Signal) -> Iterator[list[tuple[Signal, Any, dict[str, Any]]]]:
    """What is received, in its order."""
    found: list[tuple[Signal, Any, dict[str, Any]]] = []
    receivers = []
    for signal in wanted:

        def receive(sender: Any, signal: Signal = signal, **about: Any) -> None:
            found.append((signal, sender, about))

        receivers.append(receive)
        signal.connect(receive)
    try:
        yield found
    finally:
        for signal, receiver in zip(wanted, receivers, strict=True):
            signal.disconnect(receiver)


def test_the_identity_of_a_request_is_told_once(emulator: Emulator, ada: SignedIn) -> None:
    app = make_app(emulator)
    browser = app.test_client(use_cookies=False)
    with heard(signals.authenticated, signals.rejected) as found:
        browser.get("/strict", headers=pair(ada))
        browser.get("/unread", headers=pair(ada))
        browser.get("/me")
        assert [(signal, sender) for signal, sender, _ in found] == [(signals.authenticated, app)]
        assert found[0][2]["auth"].user.id == ada.user_id
        browser.get("/public", headers={"session-token": "no-such-token"})
        assert [signal for signal, _, _ in found[1:]] == [signals.rejected]
        assert found[1][2]["auth"].error.reason == "session_unknown"
        emulator.stop()
        assert browser.get("/me", headers={"session-token": "another-token"}).status_code == 503
        assert len(found) == 2


def test_what_a_receiver_raises_goes_no_further(
    emulator: Emulator, ada: SignedIn, caplog: pytest.LogCaptureFixture
) -> None:
    browser = make_app(emulator).test_client(use_cookies=False)
    called = []

    def fails(sender: Flask, **about: Any) -> None:
        called.append("first")
        raise RuntimeError("of the app's own")

    async def waits(sender: Flask, **about: Any) -> None:
        called.append("second")

    with signals.authenticated.connected_to(fails), signals.authenticated.connected_to(waits):
        assert browser.get("/me", headers=pair(ada)).status_code == 200
        with signals.authenticated.muted():
            browser.get("/me", headers=pair(ada))
    assert sorted(called) == ["first", "second"]
    assert [record.reason for record in caplog.records if record.name == "moonkey"] == ["receiver_failed"]  # type: ignore[attr-defined]


def test_a_receiver_may_look_itself(emulator: Emulator, ada: SignedIn) -> None:
    from moonkey_flask import current_user

    browser = make_app(emulator).test_client(use_cookies=False)
    names = []

    def look(sender: Flask, **about: Any) -> None:
        names.append(current_user.id)

    with signals.authenticated.connected_to(look):
        browser.get("/me", headers=pair(ada))
    assert names == [ada.user_id]


@pytest.mark.parametrize(("signal", "event"), EVENTS)
def test_events_of_the_client(emulator: Emulator, signal: Signal, event: events.Event) -> None:
    app = make_app(emulator)
    client: MoonKey = app.extensions["moonkey"]
    with heard(*(each for each, _ in EVENTS)) as found:
        client.hooks.emit(event)
        client.hooks.emit(events.KeySetFetched())
        assert found == [(signal, app, {"event": event})]


def test_nobody_hears_and_nobody_pays(emulator: Emulator, ada: SignedIn) -> None:
    app = make_app(emulator)
    client: MoonKey = app.extensions["moonkey"]
    app.test_client(use_cookies=False).get("/me", headers=pair(ada))
    assert not client.hooks
    with heard(signals.refreshed), heard(signals.revoked, signals.refreshed):
        assert len(client.hooks.all) == 1
        assert len(make_app(emulator).extensions["moonkey"].hooks.all) == 1


def test_apps_that_share_a_client(emulator: Emulator) -> None:
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        first, second = Flask("first"), Flask("second")
        for app in (first, second):
            FlaskMoonKey(app, client=client)
        event = events.Revoked("user_1", "sess_1")
        with heard(signals.revoked) as found:
            client.hooks.emit(event)
            with second.app_context():
                client.hooks.emit(event)
            with make_app(emulator).app_context():
                client.hooks.emit(event)
        assert [sender for _, sender, _ in found] == [first, second, first]


@pytest.mark.long
def test_apps_are_not_kept_alive(emulator: Emulator) -> None:
    with heard(signals.revoked) as found:
        client: MoonKey = make_app(emulator).extensions["moonkey"]
        gc.collect()
        client.hooks.emit(events.Revoked("user_1", "sess_1"))
        assert found == []


def test_a_persons_day(emulator: Emulator) -> None:
    app = make_app(emulator)
    app.register_blueprint(session_routes())
    with heard(*(signal for signal, _ in EVENTS)) as found, visiting(app) as browser:
        visitor = Visitor(browser, **{"User-Agent": "one browser"})
        visitor.sign_in(emulator)
        visitor.get("/me")
        visitor.get("/me", **{"User-Agent": "another browser"})
        visitor.get("/me", **{"User-Agent": "another browser"})
        visitor.post("/sign-out")
        old = signed_in_long_ago(emulator)
        browser.get("/me", headers=pair(old))
    told = [signal for signal, _, _ in found if signal is not signals.revoked]
    assert told == [signals.signed_in, signals.device_changed, signals.signed_out, signals.refreshed]
    assert all(sender is app for _, sender, _ in found)
    assert found[0][2]["event"].method == "otp"
    assert found[-1][2]["event"].session_id == old.session_id
    assert visitor.cookies.get(SESSION) is None
