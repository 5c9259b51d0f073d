"""What the documents say is what the code does."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, get_args

import httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from moonkey_core import MoonKey
from moonkey_core._reasons import ERROR_REASONS, LOG_REASONS
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event
from moonkey_core.health import Health
from moonkey_core.otel import instrument
from support import quick
from support.documents import block, rows, run, text
from support.redis_server import RedisServer, need_redis
from support.scripted import unused_url, wait_until
from support.servers import serve_asgi, serve_wsgi

DOCUMENT = "docs/observability.md"
SERVERS: dict[str, Callable[..., Any]] = {"flask": serve_wsgi, "fastapi": serve_asgi}
PROBES = {"flask": "health: flask", "fastapi": "health: fastapi"}
GUARDED = {
    "flask": """
from moonkey_flask import require_auth

@app.get("/me")
@require_auth
def me():
    return ""
""",
    "fastapi": """
from moonkey_starlette.fastapi import CurrentUser

@app.get("/me")
async def me(user: CurrentUser):
    return ""
""",
}


def by_name(heading: str) -> dict[str, list[str]]:
    """The rows of the table with this first column heading, by their names; each cell's text."""
    found = rows(DOCUMENT, heading)
    names = [row[0].strip("` ") for row in found]
    assert len(set(names)) == len(names)
    return {name: [cell.strip(" |") for cell in row[1:]] for name, row in zip(names, found, strict=True)}


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_event_with_its_fields() -> None:
    found = by_name("event")
    assert set(found) == {kind.__name__ for kind in get_args(Event)}
    for kind in get_args(Event):
        fields = {field.name for field in dataclasses.fields(kind)}
        assert fields - {"provider", "scope"} <= named(found[kind.__name__][1])  # all have these


def test_every_metric_with_its_kind_and_unit() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    made: dict[str, tuple[str, str]] = {}
    with pytest.MonkeyPatch.context() as patch, MoonKey("sk_test_docs") as client:
        meter = type(provider.get_meter("moonkey"))
        for kind in ("counter", "histogram", "observable_gauge"):
            patch.setattr(meter, f"create_{kind}", noting(made, kind, getattr(meter, f"create_{kind}")))
        instrument(client, meter_provider=provider)
    provider.shutdown()
    found = by_name("metric")
    assert set(found) == set(made)
    for name, (kind, unit) in made.items():
        assert found[name][0] == kind.removeprefix("observable_")
        assert (found[name][1] == "s") is (unit == "s")


def test_switching_it_on() -> None:
    with MoonKey("sk_test_docs") as client:
        assert run(DOCUMENT, "OpenTelemetry 2", client=client)["instrument"] is instrument


def noting(made: dict[str, tuple[str, str]], kind: str, create: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **kwargs: Any) -> Any:
        instrument_made = create(*args, **kwargs)
        made[instrument_made.name] = (kind, instrument_made.unit)
        return instrument_made

    return noted


def test_every_reason_in_the_log() -> None:
    shown = set(re.findall(r"^\| `\w+` \| (?:debug|info|warning|error) \| .*$", text(DOCUMENT), re.MULTILINE))
    assert shown == {f"| `{code}` | {one.level} | {one.meaning} |" for code, one in LOG_REASONS.items()}


def test_every_reason_of_an_error_with_its_status() -> None:
    shown = set(re.findall(r"^\| `\w+` \| [45]\d\d \| .*$", text(DOCUMENT), re.MULTILINE))
    assert shown == {f"| `{code}` | {one.status} | {one.meaning} |" for code, one in ERROR_REASONS.items()}


def test_every_field_of_the_health_report() -> None:
    fields = {field.name for field in dataclasses.fields(Health)}
    properties = {name for name, value in vars(Health).items() if isinstance(value, property)}
    assert set(by_name("field")) == fields | properties


@contextmanager
def probed(kind: str, monkeypatch: pytest.MonkeyPatch, **environ: str) -> Iterator[httpx.Client]:
    """The app in the document, served, with a guarded route beside its probe."""
    for name, value in environ.items():
        monkeypatch.setenv(f"MOONKEY_{name.upper()}", value)
    shown = block(DOCUMENT, PROBES[kind])
    app = replace(shown, code=shown.code + GUARDED[kind]).run()["app"]
    with SERVERS[kind](app) as url, quick.Client(base_url=url) as browser:
        yield browser


@pytest.mark.parametrize("kind", SERVERS)
def test_the_probes(kind: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}
    with probed(kind, monkeypatch, **settings) as browser:
        answer = browser.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "key_set_age": None,
        "feed": "none",
        "feed_lag": None,
        "unsent": 0,
        "circuit": "closed",
        "last_error": None,
        "revocations": 0,
        "remembered": 0,
        "redis_trouble": None,
        "feed_lost_bound": None,
        "degraded": False,
    }


@pytest.mark.long
@pytest.mark.parametrize("kind", SERVERS)
def test_a_probe_of_a_process_that_is_cut_off(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need_redis()
    with RedisServer() as server:
        settings = {"secret_key": "sk_test_docs", "base_url": unused_url(), "redis_url": server.url}
        with probed(kind, monkeypatch, **settings) as browser:
            assert wait_until(lambda: state(browser) == (200, "live", "closed"))
            server.kill()
            assert wait_until(lambda: state(browser) == (200, "lost", "closed"))
            for _ in range(3):  # of two tries each
                assert browser.get("/me", headers={"session-token": "session_" + "Ab3" * 20}).status_code == 503
            assert wait_until(lambda: state(browser) == (503, "lost", "open"))


def state(browser: httpx.Client) -> tuple[int, str, str]:
    answer = browser.get("/ready")
    found = answer.json()
    assert found["degraded"] is (found["feed"] == "lost" or found["circuit"] == "open")
    return answer.status_code, found["feed"], found["circuit"]
