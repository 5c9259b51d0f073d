"""Events: small immutable records of what a client does, passed to the hooks of the app.

No event holds a credential. Events about single sessions hold the ids of user and session; each field of the
others may become a label of a metric. ``provider`` is the name of the provider that each of them is about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import field, replace
from typing import Literal

from moonkey_core._dataclass import dataclass
from moonkey_core._tracing import CallTracer

__all__ = [
    "CircuitChanged",
    "Delegated",
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

MOONKEY = "moonkey"
"""The name of the provider that a client has unless another one is configured."""

NO_PROVIDER = "none"
"""The provider of an event about a request that presents no credential of any of several providers."""

Source = Literal["none", "local", "cache", "remote", "stale", "grace"]
"""Where an identity came from.

``none``: there is none. ``local``: a JWT verified here; ``stale``: the same, with keys that have expired.
``cache``: a remembered verification; ``grace``: the same, as the API cannot be reached. ``remote``: the API.
"""


@dataclass(frozen=True, slots=True)
class Verified:
    """A request was authenticated. ``outcome`` is the state of its ``Auth``, ``reason`` that of its error."""

    outcome: Literal["anonymous", "authenticated", "machine", "rejected", "unavailable"]
    source: Source
    seconds: float
    reason: str | None = None
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """The API was called once. ``status`` is that of the reply; ``failure`` is the reason why there was no reply.

    ``started_at`` is in Unix seconds. ``address`` is the scheme, host and port of the server.
    """

    operation: str
    started_at: float
    seconds: float
    status: int | None = None
    failure: str | None = None
    method: str = field(default="", kw_only=True)
    address: str = field(default="", kw_only=True)
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class KeySetFetched:
    """A fetch of the key set ended; ``reason`` is the code of its error, if it failed."""

    reason: str | None = None
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class GraceUsed:
    """A session was accepted because of a verification ``age`` seconds ago, as the API could not be reached."""

    age: float
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """The circuit breaker changed its state."""

    state: Literal["closed", "open"]
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class FeedChanged:
    """The revocation feed was lost, or has caught up."""

    state: Literal["lost", "caught_up"]
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """An event of one session. The ids are no secrets, but personal data: never use them as labels of metrics.

    ``scope`` is what they belong to: ``moonkey``, or an issuer.
    """

    user_id: str
    session_id: str
    scope: str = field(default="moonkey", kw_only=True)
    provider: str = field(default="moonkey", kw_only=True)


@dataclass(frozen=True, slots=True)
class Delegated(SessionEvent):
    """A request was authenticated in which another party acts for the user: ``actor`` (RFC 8693 section 4.1).

    Of a machine, ``user_id`` is its id.
    """

    actor: str


class Refreshed(SessionEvent):
    """The JWT of a request was too old, and a new one was obtained."""

    __slots__ = ()


class Extended(SessionEvent):
    """The end of a session in use was moved."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SignedIn(SessionEvent):
    """A session was started, or stepped up, by the ready-made routes. ``method``: ``otp``, ``totp`` and so on."""

    method: str


@dataclass(frozen=True, slots=True)
class SignedOut(SessionEvent):
    """The user signed out. ``complete`` is false where the API could not be reached."""

    complete: bool


class Revoked(SessionEvent):
    """A session was ended through this client, sign-out included; it may have been over already.

    ``user_id`` is empty where a session was revoked by its id alone.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DeviceChanged(SessionEvent):
    """A session is used from another address or user agent than it was started with. Nothing is refused for it."""

    address_changed: bool
    user_agent_changed: bool


Event = (
    Delegated
    | Refreshed
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
"""A function that is called with every event, in the thread or task of that event. It must not block."""


class Hooks:
    """The hooks of a client. An exception in one is logged and goes no further.

    Args:
        provider: The name of the provider that all events here are about.

    Attributes:
        all: The hooks.
        tracer: What traces the calls, if anything does.
        provider: The name of the provider that all events here are about.
    """

    def __init__(self, provider: str = "moonkey") -> None:
        self.all: tuple[Hook, ...] = ()
        self.tracer: CallTracer | None = None
        self.provider: str = provider

    def __bool__(self) -> bool:
        """Return whether there is any hook."""
        return bool(self.all)

    def add(self, hook: Hook) -> None:
        """Call ``hook`` with every event from now on."""
        self.all = (*self.all, hook)

    def trace(self, tracer: CallTracer) -> None:
        """Have ``tracer`` begin a span for each attempt of a call, from now on."""
        self.tracer = tracer

    def emit(self, event: Event) -> None:
        """Pass an event to every hook."""
        if event.provider != self.provider:
            event = replace(event, provider=self.provider)
        for hook in self.all:
            try:
                hook(event)
            except Exception:
                logger.exception("a hook failed", extra={"reason": "hook_failed"})
