"""Django signals that tell the project's own code about sessions.

``authenticated`` and ``rejected`` are sent once for each request, when its identity is determined, with
``request`` and ``auth``; the others with ``event``, one of those in :mod:`moonkey_core.events`. The sender is the
class of the client: :class:`~moonkey_core.client.MoonKey` or :class:`~moonkey_core.client.AsyncMoonKey`.

A receiver runs in the thread that sends the signal, under ASGI mostly in the event loop. It must be quick, and
leave longer work, such as database queries, to a task. An exception that it raises is logged and not passed on. A
receiver that reads ``auth.user`` makes the response private.
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
    """A signal that costs nothing while it has no receiver. Receivers are plain functions only."""

    def connect(self, receiver: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Connect a receiver, as with any signal.

        Args:
            receiver: A plain function. The sender of the signal could not await a coroutine function.
            *args: Those of Django's ``Signal.connect``.
            **kwargs: Those of Django's ``Signal.connect``.

        Raises:
            TypeError: The receiver is a coroutine function.
        """
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
"""Clients without the hook that sends signals. It is added with the first receiver: until then, events cost
nothing."""


def watch(client: MoonKey | AsyncMoonKey) -> None:
    """Send the events of a client as signals, from the first receiver on."""
    _unheard.add(client)
    _listen()


def tell(request: HttpRequest | None, auth: Auth, sender: type) -> None:
    """Send the signal for a request's identity, if its credential was accepted or rejected.

    Args:
        request: The request.
        auth: The identity.
        sender: The class of the client.
    """
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
        except KeyError:  # another thread has taken the last one
            return
        client.hooks.add(partial(_pass_on, type(client)))


def _pass_on(sender: type, event: Event) -> None:
    signal = _BY_EVENT.get(type(event))
    if signal is not None:
        signal.send_robust(sender, event=event)
