"""What happens inside, for whoever wants to watch: small immutable events, handed to hooks.

No event holds a credential. Those about single sessions name user and session by their ids; each field of the
others may become a label of a metric.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CircuitChanged",
    "DeviceChanged",
    "Event",
    "Extended",
    "FeedChanged",
    "GraceUsed",
    "Hook",
    "Hooks",
    "KeySetFetched",
    "Refreshed",
    "Revoked",
    "SessionEvent",
    "SignedIn",
    "SignedOut",
    "UpstreamCall",
    "Verified",
]

logger: logging.Logger = logging.getLogger("moonkey")

Source = Literal["none", "local", "cache", "remote", "stale", "grace"]
"""Where an answer came from: no credential, a JWT verified here, remembered, the API, here with keys that are past
their time, or remembered while the API cannot be asked."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A request was authenticated. ``outcome`` is the state of its ``Auth``, ``reason`` that of its error."""

    outcome: Literal["anonymous", "authenticated", "rejected", "unavailable"]
    source: Source
    seconds: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """The API was called once. ``status`` is the reply's; without a reply, ``failure`` says why there was none.

    ``started_at`` is in Unix seconds.
    """

    operation: str
    started_at: float
    seconds: float
    status: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class KeySetFetched:
    """A fetch of the key set ended; ``reason`` says what was wrong with it, if anything."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class GraceUsed:
    """A session was accepted on the strength of an earlier verification, as the API could not be asked."""

    age: float


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """The circuit breaker changed its state."""

    state: Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class FeedChanged:
    """The revocation feed was lost, or has caught up."""

    state: Literal["lost", "caught_up"]


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Something happened to one session. The ids are not secret, but they are a person's: no labels of metrics."""

    user_id: str
    session_id: str


class Refreshed(SessionEvent):
    """A request brought a JWT that was too old, and a new one was obtained."""

    __slots__ = ()


class Extended(SessionEvent):
    """The session's end was moved, as somebody is using it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SignedIn(SessionEvent):
    """A session was begun, or strengthened, by the ready-made routes. ``method`` is how: ``otp``, ``totp``, …"""

    method: str


@dataclass(frozen=True, slots=True)
class SignedOut(SessionEvent):
    """The user signed out. ``complete`` is false where the API could not be told."""

    complete: bool


class Revoked(SessionEvent):
    """A session was ended through this client, whoever asked for it; it may have been over already.

    ``user_id`` is empty where a session was revoked by its id alone.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DeviceChanged(SessionEvent):
    """A session is used from another address or by another user agent than it began with; nobody is stopped."""

    address_changed: bool
    user_agent_changed: bool


Event = (
    Refreshed
    | Extended
    | SignedIn
    | SignedOut
    | Revoked
    | DeviceChanged
    | Verified
    | UpstreamCall
    | KeySetFetched
    | GraceUsed
    | CircuitChanged
    | FeedChanged
)
Hook = Callable[[Event], None]
"""Is called with every event, in the thread or task where it happens; it must be quick and must not block."""


class Hooks:
    """The hooks of a client. An exception in one is logged and goes no further."""

    def __init__(self) -> None:
        self.all: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    def add(self, hook: Hook) -> None:
        """Call ``hook`` with every event from now on."""
        self.all = (*self.all, hook)

    def emit(self, event: Event) -> None:
        """Hand an event to every hook."""
        for hook in self.all:
            try:
                hook(event)
            except Exception:
                logger.exception("a hook failed", extra={"reason": "hook_failed"})
