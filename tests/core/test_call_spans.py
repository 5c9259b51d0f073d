"""The spans of calls begin before the call: ``traceparent`` goes out with it, on every transport."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, context, propagate
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core._call_spans import OpenTelemetryTracer
from moonkey_core._plan import Fetch
from moonkey_core._transport.messages import request_headers
from support.certificates import make_certificate
from support.clients import Both
from support.decisions import presenting
from support.http2_server import http2_server
from support.patience import PATIENCE, PATIENT
from support.scripted import Received, Scripted, reply, scripted, wait_until
from support.telemetry import Seen

pytestmark = pytest.mark.usefixtures("quick_retries")
TOKEN = "session_" + "Ab3" * 20
SECRET = "sk_test_" + "T" * 30
GOOD = reply(200, {"session": {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000}})


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    yield found
    found.close()


def traceparent(span: ReadableSpan) -> str:
    """What stands for a span in a request, by W3C Trace Context section 3.2."""
    found = span.get_span_context()
    assert found is not None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def sent(requests: list[Received], name: str = "traceparent") -> list[str | None]:
    return [request.headers.get(name) for request in requests]


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition, beside the other tasks."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


def client_of(how: str, url: str, **options: Any) -> Both:
    given = {"secret_key": SECRET, "base_url": url, **PATIENT, **options}
    return Both("sync" if how == "sync" else "async", given)


def attribute(spans: list[ReadableSpan], name: str) -> list[Any]:
    return [(span.attributes or {}).get(name) for span in spans]


class TestTraceparent:
    def test_each_attempt_sends_its_own(self, seen: Seen, how: str) -> None:
        answers = iter([reply(503, {}), GOOD])
        with scripted(lambda _request: next(answers)) as server:
            call = client_of(how, server.url)
            seen.watch(call.client)
            with seen.tracers.get_tracer("app").start_as_current_span("request") as parent:
                assert call("authenticate", presenting(TOKEN)).is_authenticated
            call.close()
        first, second = seen.spans()
        assert sent(server.received) == [traceparent(first), traceparent(second)]
        assert first.parent is not None
        assert second.parent is not None
        assert {first.parent.span_id, second.parent.span_id} == {parent.get_span_context().span_id}
        assert attribute([first, second], "http.request.resend_count") == [None, 1]
        assert attribute([first, second], "http.response.status_code") == [503, 200]
        assert sent(server.received, "authorization") == [f"Bearer {SECRET}"] * 2

    def test_nothing_where_it_is_not_asked_for(self, seen: Seen, how: str) -> None:
        with scripted(GOOD) as server:
            call = client_of(how, server.url)
            with seen.tracers.get_tracer("app").start_as_current_span("request"):
                call("authenticate", presenting(TOKEN))
                seen.watch(call.client, propagate=False)
                call("authenticate", presenting(TOKEN))
            call.close()
        assert sent(server.received) == [None, None]
        assert len(seen.spans()) == 1

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_over_http_2(self, seen: Seen, kind: str, tmp_path: Path) -> None:
        certificate = make_certificate(tmp_path)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        options: dict[str, Any] = {
            "http2": True,
            "verify": ssl.create_default_context(cafile=str(certificate)),
            "trust_env": False,
        }

        async def work(url: str) -> None:
            async with (
                httpx.AsyncClient(**options) as carrier,
                AsyncMoonKey(SECRET, base_url=url, http_client=carrier) as client,
            ):
                seen.watch(client)
                assert (await client.authenticate(presenting(TOKEN))).is_authenticated

        body = {"session": {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000}}
        with http2_server(lambda _request: body, tls) as server:
            if kind == "async":
                asyncio.run(work(server.url))
            else:
                with (
                    httpx.Client(**options) as carrier,
                    MoonKey(SECRET, base_url=server.url, http_client=carrier) as client,
                ):
                    seen.watch(client)
                    assert client.authenticate(presenting(TOKEN)).is_authenticated
        (span,) = seen.spans()
        assert sent(server.heard) == [traceparent(span)]

    def test_baggage_stays_here(self, seen: Seen, how: str) -> None:
        with scripted(GOOD) as server:
            call = client_of(how, server.url)
            seen.watch(call.client)
            token = context.attach(baggage.set_baggage("customer", "ada"))
            try:
                call("authenticate", presenting(TOKEN))
            finally:
                context.detach(token)
            call.close()
        assert sent(server.received, "baggage") == [None]
        assert sent(server.received) == [traceparent(span) for span in seen.spans()]

    def test_callers_that_share_a_call_have_one_span(self, seen: Seen) -> None:
        async def work(server: Scripted, release: asyncio.Event) -> set[int]:
            tracer = seen.tracers.get_tracer("app")
            async with AsyncMoonKey(SECRET, base_url=server.url, timeout=PATIENCE) as client:
                seen.watch(client)

                async def request() -> int:
                    with tracer.start_as_current_span("request") as parent:
                        assert (await client.authenticate(presenting(TOKEN))).is_authenticated
                        return parent.get_span_context().span_id

                tasks = [asyncio.create_task(request()) for _ in range(5)]
                flights = client._exchange._loops.current().single_flight._flights
                await until(lambda: any(flight.waiters == 5 for flight in flights.values()))
                release.set()
                return {*await asyncio.gather(*tasks)}

        async def main() -> set[int]:
            release, loop = asyncio.Event(), asyncio.get_running_loop()

            def held(_request: Received) -> bytes:
                asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
                return GOOD

            with scripted(held) as server:
                parents = await work(server, release)
                received.extend(server.received)
                return parents

        received: list[Received] = []
        parents = asyncio.run(main())
        (span,) = seen.spans()
        assert sent(received) == [traceparent(span)]
        assert span.parent is not None
        assert span.parent.span_id in parents
        assert len(parents) == 5


class TestHeaders:
    """What a propagator of the app's own may add."""

    @pytest.fixture
    def propagated(self) -> Iterator[dict[str, str]]:
        carried: dict[str, str] = {}

        class Own(TextMapPropagator):
            @property
            def fields(self) -> set[str]:
                return {*carried}

            def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
                raise NotImplementedError

            def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
                if "raise" in carried:
                    raise RuntimeError(carried["raise"])
                carrier.update(carried)

        former = propagate.get_global_textmap()
        propagate.set_global_textmap(Own())
        yield carried
        propagate.set_global_textmap(former)

    def headers(self, seen: Seen, fetch: Fetch) -> dict[str, str]:
        """The headers of a request, with those of its trace."""
        tracer = OpenTelemetryTracer(
            seen.tracers.get_tracer("moonkey"), operations=frozenset(), names_providers=False, propagates=True
        )
        span = tracer.begin(fetch, "moonkey", 1.0, 0)
        span.end(0.1, 200, None)
        fetch.trace_headers = span.headers
        return request_headers(fetch)

    def test_none_takes_the_place_of_what_the_request_says(self, seen: Seen, propagated: dict[str, str]) -> None:
        fetch = Fetch("GET", "https://example.com/v1/auth/users/u", headers={"x-own": "1"})
        usual = request_headers(fetch)
        propagated.update(
            {"Authorization": "Bearer x", "Host": "evil.example", "X-Own": "2", "Accept": "*/*", "Cookie": "a=b"}
        )
        propagated["X-B3-TraceId"] = "80f198ee56343ba8"
        assert self.headers(seen, fetch) == {**usual, "x-b3-traceid": "80f198ee56343ba8"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [("x-a", "1\r\nx-b: 2"), ("x-a", "é"), ("x a", "1"), ("x-a", "1 "), ("x-a", "1" * 8193), ("", "1")],
    )
    def test_what_cannot_be_sent_is_left_out(
        self, seen: Seen, propagated: dict[str, str], name: str, value: str
    ) -> None:
        fetch = Fetch("GET", "https://example.com/v1/auth/users/u")
        usual = request_headers(fetch)
        propagated[name] = value
        assert self.headers(seen, fetch) == usual

    def test_one_that_fails_stops_no_call(
        self, seen: Seen, how: str, propagated: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        propagated["raise"] = "out of order"
        with scripted(GOOD) as server:
            call = client_of(how, server.url)
            seen.watch(call.client)
            assert call("authenticate", presenting(TOKEN)).is_authenticated
            call.close()
        assert sent(server.received) == [None]
        assert [record.__dict__["reason"] for record in caplog.records if record.name == "moonkey"] == [
            "call_untraced"
        ]


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "full", "template"),
        [
            (
                "https://key:secret@api.example.com/v1/auth/users/ada?token=abc&user_id=u",
                "https://api.example.com/v1/auth/users/REDACTED?token=REDACTED&user_id=REDACTED",
                "/v1/auth/users/{id}",
            ),
            (
                "https://api.example.com:8443/t0k3n/v1/auth/jwks/default?k3y",
                "https://api.example.com:8443/REDACTED/v1/auth/jwks/default?REDACTED",
                "/{id}/v1/auth/jwks/default",
            ),
            (
                "http://[::1]:99/realms/acme/protocol/openid-connect/certs?sk_live_1=a&=b",
                "http://[::1]:99/realms/REDACTED/protocol/openid-connect/certs?REDACTED&REDACTED",
                "/realms/{id}/protocol/openid-connect/certs",
            ),
            (
                "https://api.example.com/v1/users/a%2Fb%0A/",
                "https://api.example.com/v1/users/REDACTED/",
                "/v1/users/{id}/",
            ),
        ],
    )
    def test_they_show_no_secret_and_no_id(self, seen: Seen, url: str, full: str, template: str) -> None:
        tracer = OpenTelemetryTracer(
            seen.tracers.get_tracer("moonkey"),
            operations=frozenset({"users.get"}),
            names_providers=True,
            propagates=True,
        )
        tracer.begin(Fetch("GET", url, operation="users.get"), "stytch", 1.0, 0).end(0.5, None, "timeout")
        (span,) = seen.spans()
        assert span.name == f"GET {template}"
        found = dict(span.attributes or {})
        server = re.fullmatch(r"(https?)://(?:.*@)?\[?([^/\]]+?)\]?(?::(\d+))?/.*", url, re.DOTALL)
        assert server is not None
        assert found == {
            "http.request.method": "GET",
            "server.address": server[2],
            "server.port": int(server[3] or 443),
            "url.full": full,
            "url.template": template,
            "moonkey.operation": "users.get",
            "provider": "stytch",
            "error.type": "timeout",
        }
        assert (span.start_time, span.end_time) == (1_000_000_000, 1_500_000_000)


class TestEnds:
    """A span ends, whatever becomes of its call."""

    def test_the_time_is_over(self, seen: Seen, how: str) -> None:
        with scripted(lambda _request: [600.0]) as server:
            call = client_of(how, server.url, timeout=0.2)
            seen.watch(call.client)
            # On a busy machine, the time may be over before an attempt begins.
            assert wait_until(
                lambda: call("authenticate", presenting(TOKEN)).is_unavailable and bool(seen.spans())
            )
            call.close()
        spans = seen.spans()
        assert set(attribute(spans, "error.type")) == {"timeout"}
        assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
        assert len(spans) >= len(server.received)

    def test_the_connection_breaks(self, seen: Seen, how: str) -> None:
        with scripted(lambda _request: [b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort", -1.0]) as server:
            call = client_of(how, server.url)
            seen.watch(call.client)
            assert call("authenticate", presenting(TOKEN)).is_unavailable
            call.close()
        assert attribute(seen.spans(), "error.type") == ["broken"] * len(server.received)

    def test_the_task_is_cancelled(self, seen: Seen, transport: str) -> None:
        async def work() -> None:
            async with AsyncMoonKey(SECRET, base_url=server.url) as client:
                seen.watch(client)
                task = asyncio.create_task(client.sessions.verify(session_token=TOKEN))
                assert await asyncio.to_thread(wait_until, lambda: bool(server.received))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                # What is shared is cancelled by the event loop, soon after its last caller has gone.
                await until(lambda: bool(seen.spans()))

        with scripted(lambda _request: [600.0]) as server:
            asyncio.run(work())
        (span,) = seen.spans()
        assert (span.attributes or {})["error.type"] == "cancelled"
        assert sent(server.received) == [traceparent(span)]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_what_sends_the_call_raises(self, seen: Seen, kind: str) -> None:
        def fail(request: httpx.Request) -> None:
            raise RuntimeError(request.headers["traceparent"])

        async def fail_async(request: httpx.Request) -> None:
            fail(request)

        async def work() -> None:
            async with (
                httpx.AsyncClient(event_hooks={"request": [fail_async]}) as carrier,
                AsyncMoonKey(SECRET, base_url="http://127.0.0.1:9", http_client=carrier) as client,
            ):
                seen.watch(client)
                await client.authenticate(presenting(TOKEN))

        def work_sync() -> None:
            with (
                httpx.Client(event_hooks={"request": [fail]}) as carrier,
                MoonKey(SECRET, base_url="http://127.0.0.1:9", http_client=carrier) as client,
            ):
                seen.watch(client)
                client.authenticate(presenting(TOKEN))

        with pytest.raises(RuntimeError) as raised:
            asyncio.run(work()) if kind == "async" else work_sync()
        (span,) = seen.spans()
        assert str(raised.value) == traceparent(span)
        assert (span.attributes or {})["error.type"] == "raised"
