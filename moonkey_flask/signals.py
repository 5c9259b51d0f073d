"""Signals that tell the app's own code about sessions. The sender is the app.

``authenticated`` and ``rejected`` are sent with ``auth``, once for a request, when its identity is determined. The
others are sent with ``event``, see :mod:`moonkey_core.events`; some of them in a thread without any context. A
receiver must be quick. An exception that it raises is logged and not passed on.
"""

from __future__ import annotations

import logging
import weakref
from functools import partial

from blinker import NamedSignal, Namespace, Signal
from flask import Flask, current_app, has_app_context

from moonkey_core.auth import Auth
from moonkey_core.client import MoonKey
from moonkey_core.events import DeviceChanged, Event, Extended, Refreshed, Revoked, SignedIn, SignedOut
from moonkey_flask.names import EXTENSION

__all__ = [
    "authenticated",
    "device_changed",
    "extended",
    "refreshed",
    "rejected",
    "revoked",
    "signed_in",
    "signed_out",
]

logger: logging.Logger = logging.getLogger("moonkey")

_ours = Namespace()

authenticated: NamedSignal = _ours.signal("authenticated", "A request has a verified user and session: ``auth``.")
rejected: NamedSignal = _ours.signal("rejected", "A request presents a credential that is not good: ``auth``.")
refreshed: NamedSignal = _ours.signal("refreshed", "A JWT was too old, and a new one was obtained: ``event``.")
extended: NamedSignal = _ours.signal("extended", "The end of a session was moved: ``event``.")
signed_in: NamedSignal = _ours.signal(
    "signed_in", "The session routes have begun or strengthened a session: ``event``."
)
signed_out: NamedSignal = _ours.signal("signed_out", "A user has signed out: ``event``.")
revoked: NamedSignal = _ours.signal("revoked", "A session was ended through the app's client: ``event``.")
device_changed: NamedSignal = _ours.signal(
    "device_changed", "A session is used by another device than before: ``event``."
)

_SIGNALS: dict[type[Event], Signal] = {
    Refreshed: refreshed,
    Extended: extended,
    SignedIn: signed_in,
    SignedOut: signed_out,
    Revoked: revoked,
    DeviceChanged: device_changed,
}

_apps: weakref.WeakKeyDictionary[MoonKey, weakref.ref[Flask]] = weakref.WeakKeyDictionary()
"""The first app of each client."""

_unheard: weakref.WeakSet[MoonKey] = weakref.WeakSet()
"""Clients without the hook that sends signals. It is added with the first receiver: until then, events cost
nothing."""


def announce(auth: Auth) -> None:
    """Send the signal for a request's identity, if it has a receiver."""
    if auth.is_authenticated:
        _send(authenticated, _app(), auth=auth)
    elif auth.is_rejected:
        _send(rejected, _app(), auth=auth)


def watch(client: MoonKey, app: Flask) -> None:
    """Send the events of a client as signals of its app, from the first receiver on."""
    if client in _apps:
        return
    _apps[client] = weakref.ref(app)
    _unheard.add(client)
    if any(signal.receivers for signal in _SIGNALS.values()):
        _listen()


def _listen(*_: object, **__: object) -> None:
    while _unheard:
        try:
            client = _unheard.pop()
        except KeyError:  # another thread has taken the last one
            return
        client.hooks.add(partial(_tell, weakref.ref(client)))


for _signal in _SIGNALS.values():
    _signal.receiver_connected.connect(_listen)


def _tell(client: weakref.ref[MoonKey], event: Event) -> None:
    signal = _SIGNALS.get(type(event))
    if signal is None or not signal.receivers:
        return
    source = client()
    first = None if source is None else _apps.get(source)
    app = None if first is None else first()
    if has_app_context() and current_app.extensions.get(EXTENSION) is source:
        app = _app()  # several apps share the client
    if app is not None:
        _send(signal, app, event=event)


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _send(signal: Signal, app: Flask, **about: object) -> None:
    if signal.is_muted:
        return
    for receiver in signal.receivers_for(app):
        try:
            app.ensure_sync(receiver)(app, **about)
        except Exception:
            logger.exception("a receiver of a signal failed", extra={"reason": "receiver_failed"})
