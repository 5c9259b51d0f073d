"""OpenTelemetry (extra ``otel``): a span for each call of the API, and metrics of a client.

The labels of metrics, and the attributes and names of spans, come from small closed sets. They hold nothing of a
request: no user, no session, no credential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from moonkey_core._reasons import VERIFICATION_REASONS
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.events import (
    MOONKEY,
    CircuitChanged,
    Delegated,
    DeviceChanged,
    Event,
    Extended,
    FeedChanged,
    GraceUsed,
    KeySetFetched,
    Refreshed,
    Revoked,
    SessionEvent,
    SignedIn,
    SignedOut,
    UpstreamCall,
    Verified,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from opentelemetry.trace import TracerProvider

    from moonkey_core.health import Health

__all__ = ["instrument"]

_SCOPE = "moonkey"
_OTHER = "other"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPERATIONS = _words("""
    sessions.verify sessions.list sessions.revoke users.get jwks discovery key-probe
    tokens.introspect tokens.revoke rbac.policy rbac.organization end_users.validate_token end_users.get
    otps/email/send otps/email/login_or_create otps/sms/send otps/sms/login_or_create
    magic_links/email/send magic_links/email/login_or_create
    otps/verify magic_links/verify oauth/verify totps/create totps/verify totps/recovery
    wallets/registrations/begin wallets/verify
    otps/authenticate magic_links/authenticate oauth/authenticate totps totps/authenticate totps/recover
""")
_FAILURES = _words("connect timeout broken too_large cancelled raised")
_SESSION_EVENTS: Mapping[type[SessionEvent], str] = {
    Refreshed: "refreshed",
    Extended: "extended",
    SignedIn: "signed_in",
    SignedOut: "signed_out",
    Revoked: "revoked",
    DeviceChanged: "device_changed",
    Delegated: "delegated",
}
_VERIFICATION_SECONDS = (0.00001, 0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_Client = MoonKey | AsyncMoonKey
_Clients = list[ref[_Client]]


def _is_lost(health: Health) -> int | None:
    return None if health.feed == "none" else int(health.feed == "lost")


_GAUGES: tuple[tuple[str, str, str, Callable[[Health], float | None]], ...] = (
    ("moonkey.key_set.age", "s", "Age of the key set.", lambda health: health.key_set_age),
    ("moonkey.revocation.feed_lag", "s", "How far behind the revocation feed is.", lambda health: health.feed_lag),
    ("moonkey.revocation.feed_lost", "{feed}", "1 while the feed is lost, 0 while it is live.", _is_lost),
    (
        "moonkey.revocation.unsent",
        "{revocation}",
        "Revocations of this process that Redis may not have yet.",
        lambda health: None if health.feed == "none" else health.unsent,
    ),
    (
        "moonkey.circuit.open",
        "{circuit}",
        "1 while calls are held back, else 0.",
        lambda health: int(health.circuit == "open"),
    ),
    ("moonkey.revocations", "{revocation}", "Revocations remembered.", lambda health: health.revocations),
)


class _GlobalProvider:
    """A stand-in for the global meter provider, which may be set after the first client is instrumented."""


class _Shared:
    """What the clients of one meter provider share: its instruments, and the list that its gauges show."""

    def __init__(self) -> None:
        self.clients: _Clients = []
        self.instruments: _Instruments | None = None

    def forget(self, client: ref[_Client]) -> None:
        """Show a client no more."""
        with suppress(ValueError):
            self.clients.remove(client)


_global_provider = _GlobalProvider()
_shared: WeakKeyDictionary[MeterProvider | _GlobalProvider, _Shared] = WeakKeyDictionary()
"""By the meter provider. Each change is one atomic step: it needs no lock, which a fork could leave taken."""


def instrument(
    client: MoonKey | AsyncMoonKey,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    propagate: bool = True,
) -> None:
    """Make spans and metrics of what ``client`` does.

    A span begins before its call, as a child of the current span. What the global propagator makes of it, such as
    ``traceparent``, goes out with the request to the provider that is called, and nowhere else. Baggage does not.

    Where several clients share a meter provider, each gauge shows the greatest of their values. A client is not
    kept alive by it; one that is closed or gone is not shown any more. A second call for the same client changes
    nothing; that of one of its providers alone is replaced.

    Args:
        client: The client.
        tracer_provider: Makes the spans, if not the global provider.
        meter_provider: Makes the metrics, if not the global provider.
        propagate: Whether the trace context goes out to the provider.

    Raises:
        ConfigurationError: ``opentelemetry-api`` is not installed.
        TypeError: ``client`` is no client.
    """
    if not isinstance(client, MoonKey | AsyncMoonKey):
        raise TypeError(f"instrument() takes a MoonKey or an AsyncMoonKey, not a {type(client).__name__}.")
    try:
        from opentelemetry import metrics, trace

        from moonkey_core._call_spans import OpenTelemetryTracer
    except ModuleNotFoundError:
        raise ConfigurationError(
            "OpenTelemetry is not installed, which instrument() needs. Run pip install 'moonkey[otel]'."
        ) from None
    if any(isinstance(hook, _Telemetry) for hook in client.hooks.all):
        return
    version = metadata.version(_SCOPE)
    own = None if meter_provider is metrics.get_meter_provider() else meter_provider
    shared = _shared.setdefault(_global_provider if own is None else own, _Shared())
    if shared.instruments is None:  # two threads may make them: a meter keeps the first of a name
        shared.instruments = _Instruments(
            metrics.get_meter(_SCOPE, version, meter_provider=meter_provider), shared.clients
        )
    for one in client.providers.values():
        one.hooks.all = tuple(hook for hook in one.hooks.all if not isinstance(hook, _Telemetry))
        shared.clients[:] = [known for known in shared.clients if known() is not one]
    shared.clients.append(ref(client, shared.forget))
    names_providers = not _has_moonkey_only(client)
    client.hooks.add(_Telemetry(shared.instruments, names_providers=names_providers))
    client.hooks.trace(
        OpenTelemetryTracer(
            trace.get_tracer(_SCOPE, version, tracer_provider=tracer_provider),
            operations=_OPERATIONS,
            names_providers=names_providers,
            propagates=propagate,
        )
    )


def _observer(
    clients: _Clients, read: Callable[[Health], float | None]
) -> Callable[[CallbackOptions], list[Observation]]:
    """Make the callback of a gauge: it observes the greatest value of all open clients, if there is any."""
    from opentelemetry.metrics import Observation

    def observe(_options: CallbackOptions) -> list[Observation]:
        greatest: dict[str, float] = {}
        for found in [
            client for one in tuple(clients) if (client := one()) is not None and not client._core.closed
        ]:
            for provider, health in _by_provider(found):
                value = read(health)
                if value is not None:
                    greatest[provider] = max(value, greatest.get(provider, value))
        return [Observation(value, {"provider": one} if one else None) for one, value in greatest.items()]

    return observe


def _by_provider(client: _Client) -> Iterable[tuple[str, Health]]:
    """Return the reports of a client with the label of each; the label is empty where MoonKey is all there is."""
    health = client.health()
    if health.providers:
        return health.providers.items()
    return [("" if _has_moonkey_only(client) else client._core.name, health)]


def _has_moonkey_only(client: _Client) -> bool:
    return not client.providers and client._core.name == MOONKEY


class _Instruments:
    """The instruments of one meter. They are made once, as those of a provider that is set later are all kept."""

    def __init__(self, meter: Meter, clients: _Clients) -> None:
        for name, unit, description, read in _GAUGES:
            meter.create_observable_gauge(name, [_observer(clients, read)], unit, description)
        self.verifications = meter.create_counter(
            "moonkey.verifications", "{verification}", "Requests that were authenticated, whatever the outcome."
        )
        self.verification_seconds = meter.create_histogram(
            "moonkey.verification.duration",
            "s",
            "How long that took.",
            explicit_bucket_boundaries_advisory=_VERIFICATION_SECONDS,
        )
        self.call_seconds = meter.create_histogram(
            "moonkey.upstream.duration",
            "s",
            "How long calls of the API took, each try by itself.",
            explicit_bucket_boundaries_advisory=_CALL_SECONDS,
        )
        self.fetches = meter.create_counter("moonkey.key_set.fetches", "{fetch}", "Fetches of the key set.")
        self.graces = meter.create_counter(
            "moonkey.grace_used", "{session}", "Sessions accepted although the API could not be asked."
        )
        self.sessions = meter.create_counter(
            "moonkey.session_events", "{event}", "Sessions begun, refreshed, extended and ended."
        )


class _Telemetry:
    """A hook that counts and times events. It refers to no client.

    The label ``provider`` is one of the configured names, or ``none`` where a request presents no credential of
    any of several. Where MoonKey is all there is, there is no such label.
    """

    def __init__(self, instruments: _Instruments, *, names_providers: bool) -> None:
        self._instruments = instruments
        self._names_providers = names_providers

    def __call__(self, event: Event) -> None:
        match event:
            case Verified():
                self._count_verified(event)
            case UpstreamCall():
                self._time_call(event)
            case KeySetFetched():
                self._instruments.fetches.add(1, {**self._provider(event), **_reason_label(event.reason)})
            case GraceUsed():
                self._instruments.graces.add(1, self._provider(event))
            case SessionEvent():  # the ids of user and session are no labels
                name = _SESSION_EVENTS.get(type(event), _OTHER)
                self._instruments.sessions.add(1, {**self._provider(event), "event": name})
            case CircuitChanged() | FeedChanged():
                pass  # the gauges show both

    def _provider(self, event: Event) -> dict[str, str]:
        return {"provider": event.provider} if self._names_providers else {}

    def _count_verified(self, event: Verified) -> None:
        labels = {**self._provider(event), "source": event.source, "outcome": event.outcome}
        self._instruments.verification_seconds.record(event.seconds, labels)
        self._instruments.verifications.add(1, {**labels, **_reason_label(event.reason)})

    def _time_call(self, event: UpstreamCall) -> None:
        labels = {**self._provider(event), "operation": _known_or_other(_OPERATIONS, event.operation)}
        if event.status is None:
            labels["error.type"] = _known_or_other(_FAILURES, event.failure)
        else:
            labels["status_class"] = f"{event.status // 100}xx" if 100 <= event.status < 600 else _OTHER
        self._instruments.call_seconds.record(event.seconds, labels)


def _reason_label(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": _known_or_other(VERIFICATION_REASONS, reason)}


def _known_or_other(known: frozenset[str], value: str | None) -> str:
    """Return ``value`` if it is known, else ``other``: no other value can become a label."""
    return value if value is not None and value in known else _OTHER
