"""The dashboard and the alert rules ask for metrics, labels and values that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from moonkey_core import MoonKey, otel
from moonkey_core._reasons import VERIFICATION_REASONS
from moonkey_core.events import GraceUsed, KeySetFetched, Refreshed, Source, UpstreamCall, Verified
from support.documents import ROOT, rows
from support.telemetry import GAUGES, Seen

DASHBOARD = ROOT / "docs" / "dashboards" / "moonkey.json"
ALERTS = ROOT / "docs" / "alerts" / "moonkey.yml"
OF_PROMETHEUS = {"job", "instance"}
"""The labels that Prometheus adds itself."""

VALUES: dict[str, frozenset[str]] = {
    "outcome": frozenset(get_args(get_type_hints(Verified)["outcome"])),
    "source": frozenset(get_args(Source)),
    "reason": VERIFICATION_REASONS,
    "event": frozenset(otel._SESSION_EVENTS.values()),
    "operation": otel._OPERATIONS,
    "status_class": frozenset(f"{digit}xx" for digit in range(1, 6)),
    "error_type": otel._FAILURES,
}
SELECTOR = re.compile(r"\b(moonkey_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@dataclass(frozen=True)
class Series:
    """What one metric is called by Prometheus, and its labels."""

    names: frozenset[str]
    labels: frozenset[str]


def prometheus_names(metric: Any) -> frozenset[str]:
    """The names of a metric after the export, by the specification of OpenTelemetry's compatibility.

    See https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus.
    """
    name = re.sub(r"[^a-zA-Z0-9_]", "_", metric.name)
    assert metric.unit in ("", "s") or re.fullmatch(r"\{\w+\}", metric.unit), "another unit adds another suffix"
    if metric.unit == "s":
        name += "_seconds"
    point = metric.data.data_points[0]
    if hasattr(point, "bucket_counts"):
        return frozenset(f"{name}_{part}" for part in ("bucket", "count", "sum"))
    return frozenset({f"{name}_total" if hasattr(metric.data, "is_monotonic") else name})


@pytest.fixture(scope="module")
def emitted() -> dict[str, Series]:
    """All metrics, as a client with a feed that knows several providers has them; by their names in Prometheus."""
    seen, found = Seen(), dict[str, Series]()
    patch = pytest.MonkeyPatch()
    patch.setattr(otel, "_has_moonkey_only", lambda _client: False)
    health = {"key_set_age": 1.0, "feed": "lost", "feed_lag": 2.0}
    patch.setattr(otel, "_by_provider", lambda client: [("moonkey", replaced(client.health(), **health))])
    with MoonKey("sk_test_x") as client:
        seen.watch(client)
        client.hooks.emit(Verified("rejected", "none", 0.1, "jwt_form"))
        client.hooks.emit(UpstreamCall("jwks", 1.0, 0.1, 200))
        client.hooks.emit(UpstreamCall("jwks", 1.0, 0.1, None, "connect"))
        client.hooks.emit(KeySetFetched("jwks_status"))
        client.hooks.emit(GraceUsed(1.0))
        client.hooks.emit(Refreshed("user_1", "sess_1"))
        for metric in seen.metrics():
            labels = frozenset(label for point in metric.data.data_points for label in point.attributes)
            series = Series(prometheus_names(metric), frozenset(label.replace(".", "_") for label in labels))
            found.update(dict.fromkeys(series.names, series))
    patch.undo()
    seen.close()
    return found


def replaced(health: Any, **values: Any) -> Any:
    from dataclasses import replace

    return replace(health, **values)


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str, str]]:
    """Each expression, with its place and with the text that its labels are shown in."""
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"], target["legendFormat"]
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"], " ".join(rule["annotations"].values())


def names_in(expression: str) -> set[str]:
    return {match[1] for match in SELECTOR.finditer(expression)}


def test_every_metric_and_label_exists(emitted: dict[str, Series]) -> None:
    count = 0
    for where, expression, shown in expressions():
        known = set(OF_PROMETHEUS)
        for name, matchers in SELECTOR.findall(expression):
            assert name in emitted, (where, name)
            known |= emitted[name].labels | ({"le"} if name.endswith("_bucket") else set())
            found = MATCHER.findall(matchers)
            assert MATCHER.sub("", matchers).strip(", ") == "", (where, matchers)
            for label, _, value in found:
                assert label in emitted[name].labels | OF_PROMETHEUS, (where, name, label)
                assert value in ("", f"${label}") or {*value.split("|")} <= VALUES[label], (where, label, value)
            count += 1
        for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            assert {*grouped.split(", ")} <= known, (where, grouped)
        assert set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", shown)) <= known, (where, shown)
        assert expression.count("(") == expression.count(")")
    assert count > 30


def test_every_reason_of_the_key_set_is_one_of_its_fetch() -> None:
    for where, expression, _ in expressions():
        for name, matchers in SELECTOR.findall(expression):
            for label, _, value in MATCHER.findall(matchers):
                if name == "moonkey_key_set_fetches_total" and label == "reason" and value:
                    assert all(one.startswith(("jwks_", "discovery_")) for one in value.split("|")), where


def test_the_dashboard_shows_every_metric(emitted: dict[str, Series]) -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in names_in(target["expr"])}
    assert {name.replace(".", "_") for name in GAUGES} <= {re.sub("_seconds$", "", name) for name in shown}
    for name, series in emitted.items():
        assert series.names & shown, name


def test_the_dashboard_is_one() -> None:
    found = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    assert len({panel["title"] for panel in panels()}) == len(panels())
    variables = {variable["name"] for variable in found["templating"]["list"]}
    assert variables == {"datasource", "job", "provider"}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(found["panels"])))
    assert used == variables | {"__rate_interval"}
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_query_of_a_variable_exists(emitted: dict[str, Series]) -> None:
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+)(?:\{[^}]*\})?, (\w+)\)", variable["query"]["query"])
            assert asked is not None
            assert asked[2] in emitted[asked[1]].labels | OF_PROMETHEUS


def test_each_alert_is_complete_and_says_what_to_do() -> None:
    named = [rule["alert"] for rule in alerts()]
    assert len(named) == len(set(named)) > 10
    assert [row[0].strip("` ") for row in rows("docs/operations.md", "alert")] == named
    for rule in alerts():
        assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"[1-9]\d*m", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert not re.search(r"\b(min|avg) (by|without)\b", rule["expr"]), "one good process would hide a bad one"
        assert re.search(r"[<>]=? |== |absent\(", rule["expr"]), "it has a threshold"
