"""What comes out of the OpenTelemetry SDK, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.otel import instrument

GAUGES = {
    "moonkey.key_set.age",
    "moonkey.revocation.feed_lag",
    "moonkey.revocation.feed_lost",
    "moonkey.revocation.unsent",
    "moonkey.circuit.open",
    "moonkey.revocations",
}


class Seen:
    """Everything that comes out of the SDK, with providers of its own."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))

    def watch(self, client: MoonKey | AsyncMoonKey, *, propagate: bool = True) -> None:
        instrument(client, tracer_provider=self.tracers, meter_provider=self.meters, propagate=propagate)

    def spans(self) -> list[ReadableSpan]:
        """The spans of calls that have ended."""
        return [span for span in self._exporter.get_finished_spans() if _scope(span) == "moonkey"]

    def operations(self) -> list[str]:
        """Which calls they are of, in the order of their ends."""
        return [str((span.attributes or {})["moonkey.operation"]) for span in self.spans()]

    def metrics(self) -> Iterator[Any]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "moonkey"
                assert scope.scope.version == metadata.version("moonkey")
                yield from scope.metrics

    def points(self) -> Iterator[tuple[str, Any]]:
        for metric in self.metrics():
            for point in metric.data.data_points:
                yield metric.name, point

    def values(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Of a counter or gauge; of a histogram, how many were recorded."""
        found = [point for one, point in self.points() if one == name]
        return [
            (dict(point.attributes), point.value if hasattr(point, "value") else point.count) for point in found
        ]

    def value(self, name: str) -> float:
        ((labels, value),) = self.values(name)
        assert labels == {}
        return value

    def text(self) -> str:
        """All of it, as it would be sent."""
        data = self._reader.get_metrics_data()
        return "".join([data.to_json() if data else "", *(span.to_json() for span in self.spans())])

    def close(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()


def _scope(span: ReadableSpan) -> str | None:
    return None if span.instrumentation_scope is None else span.instrumentation_scope.name
