"""What happens to sessions, as Django signals.

``authenticated`` and ``rejected`` are sent once for each request, when its identity is worked out, with
``request`` and ``auth``; the others with ``event``, one of those in :mod:`moonkey_core.events`. The sender is the
class of the client: :class:`~moonkey_core.client.MoonKey` or :class:`~moonkey_core.client.AsyncMoonKey`.

A receiver runs where it happens, under ASGI mostly in the event loop: it must be quick, and leave work, that of
the database included, to a task. One that raises is logged, and goes no further. Whoever reads ``auth.user`` there
has looked: the response is private then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal
from django.http import HttpRequest

from moonkey_core.auth import Auth, peek_error, peek_identity
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.events import DeviceChanged, Event, Extended, Refreshed, Revoked, SignedIn, SignedOut

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


class MoonKeySignal(Signal):
    """A signal that costs nothing while nobody is connected to it. Takes plain functions only."""

    def connect(self, receiver: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """As any signal's. Raises ``TypeError`` for a coroutine function, which nobody could wait for."""
        if iscoroutinefunction(receiver):
            raise TypeError("A receiver of MoonKey's signals must be a plain function, not a coroutine function.")
        super().connect(receiver, *args, **kwargs)
        _listen()


authenticated: MoonKeySignal = MoonKeySignal()
rejected: MoonKeySignal = MoonKeySignal()
refreshed: MoonKeySignal = MoonKeySignal()
extended: MoonKeySignal = MoonKeySignal()
signed_in: MoonKeySignal = MoonKeySignal()
signed_out: MoonKeySignal = MoonKeySignal()
revoked: MoonKeySignal = MoonKeySignal()
device_changed: MoonKeySignal = MoonKeySignal()

_BY_EVENT: dict[type[Event], MoonKeySignal] = {
    Refreshed: refreshed,
    Extended: extended,
    SignedIn: signed_in,
    SignedOut: signed_out,
    Revoked: revoked,
    DeviceChanged: device_changed,
}

_unheard: WeakSet[MoonKey | AsyncMoonKey] = WeakSet()
"""Clients that have no hook of ours yet: with one, each request would pay for events that nobody receives."""


def watch(client: MoonKey | AsyncMoonKey) -> None:
    """Send the events of a client as signals, from the first receiver on."""
    _unheard.add(client)
    _listen()


def tell(request: HttpRequest | None, auth: Auth, sender: type) -> None:
    """Send what has become of a request's credential, where it had one that could be judged."""
    if not authenticated.receivers and not rejected.receivers:
        return
    error = peek_error(auth)
    if peek_identity(auth) is not None:
        authenticated.send_robust(sender, request=request, auth=auth)
    elif error is not None and error.status < 500:
        rejected.send_robust(sender, request=request, auth=auth)


def _listen() -> None:
    if not any(signal.receivers for signal in _BY_EVENT.values()):
        return
    while _unheard:
        try:
            client = _unheard.pop()
        except KeyError:  # another thread was faster
            return
        client.hooks.add(partial(_pass_on, type(client)))


def _pass_on(sender: type, event: Event) -> None:
    signal = _BY_EVENT.get(type(event))
    if signal is not None:
        signal.send_robust(sender, event=event)
