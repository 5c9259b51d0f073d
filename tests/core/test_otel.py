"""OpenTelemetry: which spans and metrics come of what a client does."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from weakref import ref

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from moonkey_core import OIDC, AsyncMoonKey, ConfigurationError, MoonKey, otel
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event, UpstreamCall, Verified
from moonkey_core.otel import instrument
from moonkey_core.web.request import HeaderView
from support.clients import Both, MakeClient
from support.decisions import presenting
from support.redis_server import RedisServer, need_redis
from support.scripted import unused_url, wait_until
from support.telemetry import GAUGES, Seen

pytestmark = pytest.mark.usefixtures("quick_retries")
TOKEN = "session_" + "Ab3" * 20


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    yield found
    found.close()


def server_of(url: str) -> dict[str, str | int]:
    """The attributes of each verification by a server on this machine."""
    host, _, port = url.removeprefix("http://").partition(":")
    path = "/v1/auth/sessions/verify"
    return {
        "http.request.method": "POST",
        "server.address": host,
        "server.port": int(port),
        "url.full": url + path,
        "url.template": path,
        "moonkey.operation": "sessions.verify",
    }


class TestSpans:
    def test_one_for_each_try(self, seen: Seen, call: Both, emulator: Emulator) -> None:
        events: list[UpstreamCall] = []
        call.client.hooks.add(lambda event: events.append(event) if isinstance(event, UpstreamCall) else None)
        seen.watch(call.client)
        emulator.fault(times=1, status=503)
        call("authenticate", presenting(emulator.sign_in().session_token))
        bad, good = seen.spans()
        assert [span.name for span in (bad, good)] == ["POST /v1/auth/sessions/verify"] * 2
        assert [span.kind for span in (bad, good)] == [SpanKind.CLIENT] * 2
        where = server_of(emulator.base_url)
        assert dict(bad.attributes or {}) == {**where, "http.response.status_code": 503, "error.type": "503"}
        where["http.request.resend_count"] = 1
        assert dict(good.attributes or {}) == {**where, "http.response.status_code": 200}
        assert [span.status.status_code for span in (bad, good)] == [StatusCode.ERROR, StatusCode.UNSET]
        for span, event in zip((bad, good), events, strict=True):
            assert span.start_time == int(event.started_at * 1e9)
            assert span.end_time == int((event.started_at + event.seconds) * 1e9)

    def test_without_a_reply(self, seen: Seen) -> None:
        url = unused_url()
        with MoonKey(secret_key="sk_test_x", base_url=url) as client:
            seen.watch(client)
            client.authenticate(presenting(TOKEN))
        first, second = seen.spans()
        assert dict(first.attributes or {}) == {**server_of(url), "error.type": "connect"}
        assert dict(second.attributes or {}) == {**dict(first.attributes or {}), "http.request.resend_count": 1}
        assert {span.status.status_code for span in (first, second)} == {StatusCode.ERROR}

    def test_a_refusal_is_an_answer(self, seen: Seen, make_client: MakeClient, emulator: Emulator) -> None:
        client = make_client()
        seen.watch(client)
        assert client.authenticate(presenting(TOKEN)).is_rejected
        (span,) = seen.spans()
        assert dict(span.attributes or {}) == {
            **server_of(emulator.base_url),
            "http.response.status_code": 404,
        }
        assert span.status.status_code is StatusCode.UNSET

    def test_the_parent_is_whatever_asked(self, seen: Seen, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client()
        seen.watch(client)
        with seen.tracers.get_tracer("app").start_as_current_span("request") as parent:
            client.authenticate(presenting(emulator.sign_in().session_token))
        client.authenticate(presenting(TOKEN))
        inside, outside = seen.spans()
        assert inside.parent is not None
        assert inside.parent.span_id == parent.get_span_context().span_id
        assert outside.parent is None

    def test_tasks_do_not_get_each_others_parents(self, seen: Seen, emulator: Emulator) -> None:
        async def request(client: AsyncMoonKey, token: str) -> tuple[int, str]:
            with seen.tracers.get_tracer("app").start_as_current_span("request") as parent:
                await client.authenticate(presenting(token))
                return parent.get_span_context().span_id, token

        async def work() -> list[tuple[int, str]]:
            async with AsyncMoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
                seen.watch(client)
                tokens = [emulator.sign_in(email=f"{place}@example.com").session_token for place in range(12)]
                return await asyncio.gather(*(request(client, token) for token in tokens))

        emulator.fault(delay=0.05)
        parents = [parent for parent, _ in asyncio.run(work())]
        assert sorted(span.parent.span_id for span in seen.spans() if span.parent) == sorted(parents)


class TestMetrics:
    def test_of_verifications(self, seen: Seen, call: Both, emulator: Emulator) -> None:
        seen.watch(call.client)
        nothing: HeaderView = lambda _name: []  # noqa: E731
        for view in (nothing, presenting(TOKEN), presenting(emulator.sign_in().session_token)):
            call("authenticate", view)
        counted = {
            json.dumps(labels, sort_keys=True): value for labels, value in seen.values("moonkey.verifications")
        }
        assert counted == {
            '{"outcome": "anonymous", "source": "none"}': 1,
            '{"outcome": "rejected", "reason": "session_unknown", "source": "none"}': 1,
            '{"outcome": "authenticated", "source": "remote"}': 1,
        }
        timed = [labels for labels, _ in seen.values("moonkey.verification.duration")]
        assert all(labels.keys() == {"outcome", "source"} for labels in timed)
        assert len(timed) == 3

    def test_of_calls(self, seen: Seen, call: Both, emulator: Emulator) -> None:
        seen.watch(call.client)
        emulator.fault(times=1, status=503)
        call("authenticate", presenting(emulator.sign_in().session_token))
        call("authenticate", presenting(TOKEN))
        assert sorted(labels["status_class"] for labels, _ in seen.values("moonkey.upstream.duration")) == [
            *("2xx", "4xx", "5xx"),
        ]
        assert {labels["operation"] for labels, _ in seen.values("moonkey.upstream.duration")} == {
            "sessions.verify"
        }

    def test_durations_are_in_seconds_with_buckets_to_match(self, seen: Seen, make_client: MakeClient) -> None:
        client = make_client()
        seen.watch(client)
        client.hooks.emit(Verified("authenticated", "cache", 0.000004))
        client.hooks.emit(UpstreamCall("jwks", 1.0, 0.03, 200))
        found = {name: point for name, point in seen.points() if name not in GAUGES}
        verification, call = found["moonkey.verification.duration"], found["moonkey.upstream.duration"]
        assert verification.sum == 0.000004
        assert verification.bucket_counts[0] == 1  # a warm one has a bucket of its own
        assert (call.sum, call.bucket_counts[call.explicit_bounds.index(0.05)]) == (0.03, 1)

    def test_of_the_key_set(self, seen: Seen, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client(jwt_issuer=emulator.issuer)
        seen.watch(client)
        emulator.fault("/v1/auth/jwks", body="<html>", times=1)
        jwt = presenting(emulator.sign_in().session_jwt)
        assert client.authenticate(jwt).is_unavailable
        assert wait_until(lambda: client.authenticate(jwt).is_authenticated)
        fetches = seen.values("moonkey.key_set.fetches")
        assert ({"reason": "jwks_content"}, 1) in fetches
        assert ({}, 1) in fetches

    def test_of_grace(self, seen: Seen, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client(grace_seconds=60)
        seen.watch(client)
        view = presenting(emulator.sign_in().session_token)
        client.authenticate(view)
        emulator.fault(status=500)
        for _ in range(3):
            assert client.authenticate(view).source == "grace"
        assert seen.value("moonkey.grace_used") == 3


class TestGauges:
    def test_what_they_show(self, seen: Seen, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client(jwt_issuer=emulator.issuer)
        seen.watch(client)
        assert not seen.values("moonkey.key_set.age")  # there is none yet
        for name in ("feed_lag", "feed_lost", "unsent"):
            assert not seen.values(f"moonkey.revocation.{name}")
        assert seen.value("moonkey.circuit.open") == 0
        client.authenticate(presenting(emulator.sign_in().session_jwt))
        assert 0 <= seen.value("moonkey.key_set.age") < 60
        client.revocations.add(session_id="sess_1")
        client.revocations.add(session_id="sess_2")
        assert seen.value("moonkey.revocations") == 2
        emulator.fault(status=500)
        assert wait_until(
            lambda: (
                client.authenticate(presenting(TOKEN)).is_unavailable and seen.value("moonkey.circuit.open") == 1
            )
        )

    @pytest.mark.long
    def test_the_state_of_a_feed(self, seen: Seen) -> None:
        need_redis()
        with RedisServer() as server, MoonKey(secret_key="sk_test_lag", redis_url=server.url) as client:
            seen.watch(client)
            assert wait_until(lambda: client.health().feed == "live")
            assert 0 <= seen.value("moonkey.revocation.feed_lag") < 1
            assert seen.value("moonkey.revocation.feed_lost") == seen.value("moonkey.revocation.unsent") == 0
            server.kill()
            assert wait_until(lambda: seen.value("moonkey.revocation.feed_lag") > 1)
            client.revocations.add(session_id="sess_1")
            assert wait_until(lambda: seen.value("moonkey.revocation.feed_lost") == 1)
            assert seen.value("moonkey.revocation.unsent") == 1

    def test_the_worst_of_several_clients_of_both_kinds(self, seen: Seen) -> None:
        async def work() -> None:
            async with AsyncMoonKey(secret_key="sk_test_b", base_url=url) as other:
                seen.watch(other)
                other.revocations.add(session_id="sess_1")
                assert seen.value("moonkey.revocations") == 1
                assert seen.value("moonkey.circuit.open") == 1

        url = unused_url()
        with MoonKey(secret_key="sk_test_a", base_url=url) as one:
            seen.watch(one)
            while one.health().circuit == "closed":
                one.authenticate(presenting(TOKEN))
            asyncio.run(work())
            assert seen.value("moonkey.revocations") == 0  # the other one is closed

    def test_a_closed_client_is_not_shown(self, seen: Seen) -> None:
        client = MoonKey(secret_key="sk_test_x")
        seen.watch(client)
        assert {name for name, _ in seen.points()} >= {"moonkey.circuit.open", "moonkey.revocations"}
        client.close()
        assert not {name for name, _ in seen.points()} & GAUGES

    @pytest.mark.long
    @pytest.mark.parametrize("make", [MoonKey, AsyncMoonKey])
    def test_a_client_is_not_kept_alive(self, seen: Seen, make: Callable[..., MoonKey | AsyncMoonKey]) -> None:
        client = make(secret_key="sk_test_x")
        seen.watch(client)
        assert seen.value("moonkey.circuit.open") == 0
        gone = ref(client)
        del client
        gc.collect()
        assert gone() is None
        assert not {name for name, _ in seen.points()} & GAUGES

    def test_many_clients_leave_nothing_behind(self, seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
        registered = seen.meters._measurement_consumer._async_instruments
        for _ in range(20):
            with MoonKey(secret_key="sk_test_x") as client:
                seen.watch(client)
        assert len(registered) == len(GAUGES)
        del client
        gc.collect()
        assert otel._shared[seen.meters].clients == []
        assert caplog.records == []

    @pytest.mark.long
    def test_nor_is_a_provider(self) -> None:
        seen = Seen()
        with MoonKey(secret_key="sk_test_x") as client:
            seen.watch(client)
            seen.close()
        gone = ref(seen.meters)
        del seen, client
        gc.collect()
        assert gone() is None


class TestInstrument:
    def test_a_second_call_changes_nothing(self, seen: Seen, make_client: MakeClient) -> None:
        client = make_client()
        seen.watch(client)
        seen.watch(client)
        client.authenticate(presenting(TOKEN))
        assert len(client.hooks.all) == 1
        assert [value for _, value in seen.values("moonkey.verifications")] == [1]
        assert len(seen.spans()) == 1

    @pytest.mark.parametrize("all_first", [True, False])
    def test_a_provider_counts_once(self, seen: Seen, all_first: bool) -> None:
        other = OIDC("https://id.example.com", audience="app")
        with MoonKey("sk_test_x", providers=["moonkey", other]) as client:
            both = [client, client.providers["moonkey"]]
            for one in both if all_first else reversed(both):
                seen.watch(one)
            client.providers["moonkey"].authenticate(lambda _name: [])
            assert [labels for labels, _ in seen.values("moonkey.circuit.open")] == [
                {"provider": "moonkey"},
                {"provider": "oidc"},
            ]
            ((labels, value),) = seen.values("moonkey.verifications")
        assert (labels["provider"], value) == ("moonkey", 1)

    def test_other_hooks_stay(self, seen: Seen, make_client: MakeClient) -> None:
        client, heard = make_client(), list[Event]()
        client.hooks.add(heard.append)
        seen.watch(client)
        client.authenticate(lambda _name: [])
        assert len(heard) == 1

    def test_only_a_client(self) -> None:
        with (
            pytest.raises(TypeError, match="MoonKey or an AsyncMoonKey, not a Hooks"),
            MoonKey("sk_test_x") as client,
        ):
            instrument(client.hooks)  # type: ignore[arg-type]

    def test_without_opentelemetry(self, monkeypatch: pytest.MonkeyPatch, make_client: MakeClient) -> None:
        client = make_client()
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'moonkey\[otel\]'"):
            instrument(client)
        assert not client.hooks

    @pytest.mark.long
    def test_nobody_imports_opentelemetry_who_does_not_want_it(self) -> None:
        script = "import sys, moonkey_core, moonkey_core.otel\nprint(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
        )
        assert "moonkey_core.otel" in done.stdout.split()
        assert not any(name.startswith("opentelemetry") for name in done.stdout.split())

    @pytest.mark.long
    def test_the_providers_of_the_process_may_be_set_later(self) -> None:
        done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"moonkey.revocations": [5], "moonkey.verifications": [2]}
        assert done.stderr == ""


LATER = """
import json
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from moonkey_core import MoonKey
from moonkey_core.otel import instrument

one, other = MoonKey("sk_test_one"), MoonKey("sk_test_other")
instrument(one)
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
instrument(other)
for place in range(5):
    other.revocations.add(session_id=f"sess_{place}")
one.authenticate({})
other.authenticate({})
(found,) = reader.get_metrics_data().resource_metrics
(scope,) = found.scope_metrics
print(json.dumps({
    metric.name: [point.value for point in metric.data.data_points]
    for metric in scope.metrics if metric.name in ("moonkey.revocations", "moonkey.verifications")
}))
one.close()
other.close()
"""
