"""What carries the calls of an app's client to an emulator: over a socket, or in the process without any.

Only this is exchanged in a client under test. What it asks for, and how it judges the answers, stays as it is.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx

from moonkey_core.extras import needs

with needs("starlette", extra="emulator"):
    from starlette.responses import Response

from moonkey_core.emulator.faults import Fault
from moonkey_core.emulator.gateway import Gateway

Header = tuple[str, str]
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding"}
)  # RFC 9110 section 7.6.1
_HEAD_BYTES = 150  # about what a status line and headers have, where a fault drips them


class Call(NamedTuple):
    """One call of a client. ``path`` has its query."""

    method: str
    path: str
    headers: Sequence[Header]
    body: bytes


class EmulatedReply(NamedTuple):
    """The answer to a call."""

    status: int
    headers: Sequence[Header]
    body: bytes


class Service(Protocol):
    """An emulated service in the place of a provider."""

    emulator: Any

    def answers(self, url: str) -> bool:
        """Return whether a call to this address is for this service."""
        ...

    def translated(self, url: str, call: Call) -> Call:
        """Return a call as the emulator knows it: its paths, and its credentials where the app has others."""
        ...

    def completed(self, url: str, answer: EmulatedReply) -> EmulatedReply:
        """Return an answer as the provider would have written it."""
        ...


class KitTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The transport of a client under test, for threads and for tasks of any event loop.

    Args:
        services: The services; a call that none of them answers goes to the first.
        gateway_of: Returns the app of an emulator that answers in the process; ``None`` where they listen on
            sockets.
    """

    def __init__(self, services: Sequence[Service], gateway_of: Callable[[Any], Gateway] | None = None) -> None:
        self._services = tuple(services)
        self._gateway_of = gateway_of

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a call of a thread."""
        url = str(request.url)
        service = self._service_for(url)
        call = service.translated(url, _call(request, request.read()))
        if self._gateway_of is None:
            answer = _over_socket(service, call, request)
        else:
            seconds, outcome = _in_process(service, call, self._gateway_of)
            _check_timeout(seconds, request)
            time.sleep(seconds)
            answer = _arrived(outcome)
        return _response(service.completed(url, answer), request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a call of a task."""
        url = str(request.url)
        service = self._service_for(url)
        call = service.translated(url, _call(request, await request.aread()))
        if self._gateway_of is None:
            # In a thread: connections belong to an event loop, and each test may have one of its own, with timers
            # that a frozen clock never reaches.
            answer = await asyncio.to_thread(_over_socket, service, call, request)
        else:
            seconds, outcome = _in_process(service, call, self._gateway_of)
            _check_timeout(seconds, request)
            await sleep(seconds)
            answer = _arrived(outcome)
        return _response(service.completed(url, answer), request)

    def _service_for(self, url: str) -> Service:
        return next((one for one in self._services if one.answers(url)), self._services[0])


async def sleep(seconds: float) -> None:
    """Wait so many seconds of real time, whatever a test makes of the clock, by which event loops wait."""
    await (asyncio.to_thread(time.sleep, seconds) if seconds > 0 else asyncio.sleep(0))


def _over_socket(service: Service, call: Call, request: httpx.Request) -> EmulatedReply:
    with httpx.HTTPTransport(verify=_no_tls()) as sockets:
        response = sockets.handle_request(_forwarded(service, call, request))
        return EmulatedReply(response.status_code, _headers(response), response.read())


def _in_process(
    service: Service, call: Call, gateway_of: Callable[[Any], Gateway]
) -> tuple[float, EmulatedReply | Exception]:
    """Return the answer of an emulator to a call, or what happened in its place, and how many seconds it takes.

    The emulator waits for nothing, so its coroutine needs no event loop, and no socket that one would open.
    """
    if not service.emulator.running:
        return 0.0, httpx.ConnectError("The emulator was stopped")
    path, _, query = call.path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in call.headers],
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    running = gateway_of(service.emulator)(scope, receive, send)
    try:
        running.send(None)
    except StopIteration:
        body = b"".join(message.get("body", b"") for message in sent[1:])
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
        return 0.0, EmulatedReply(sent[0]["status"], headers, body)
    except _Waits as waits:
        return waits.seconds, waits.outcome
    finally:
        running.close()
    raise RuntimeError("The emulator waited for something")


@cache
def _no_tls() -> ssl.SSLContext:
    """Return a context that no connection uses, as the emulator speaks plain http. To make one takes a moment."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Waits(Exception):
    """An answer that takes some time."""

    def __init__(self, seconds: float, outcome: EmulatedReply | Exception) -> None:
        super().__init__()
        self.seconds = seconds
        self.outcome = outcome


async def play_in_process(fault: Fault, app: Any, scope: Any, caller: Any, replay: Any, send: Any) -> None:
    """EmulatedReply with a fault, as ``moonkey_core.emulator.playback.play`` does on a connection."""
    if fault.reset:
        raise _Waits(fault.delay, httpx.ReadError("The connection was reset"))
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    answer = app
    if fault.answer is not None:
        status, headers, body = fault.answer
        answer = Response(body, status, headers)
    await answer(scope, replay, keep)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    seconds = fault.delay + fault.drip * len(body) + fault.drip_headers * (_HEAD_BYTES + len(body))
    raise _Waits(seconds, EmulatedReply(sent[0]["status"], lines, body))


def _call(request: httpx.Request, body: bytes) -> Call:
    headers = [(name, value) for name, value in request.headers.multi_items() if name not in _HOP_BY_HOP]
    return Call(request.method, request.url.raw_path.decode("ascii"), headers, body)


def _forwarded(service: Service, call: Call, request: httpx.Request) -> httpx.Request:
    """Return a call to the emulator's address, with the ``Host`` of the service in whose place it stands."""
    url = f"{service.emulator.base_url}{call.path}"
    return httpx.Request(
        call.method, url, headers=list(call.headers), content=call.body, extensions=request.extensions
    )


def _headers(response: httpx.Response) -> list[Header]:
    return [(name, value) for name, value in response.headers.multi_items() if name not in _HOP_BY_HOP]


def _check_timeout(seconds: float, request: httpx.Request) -> None:
    """Raise the timeout that an answer after so many seconds means; at once, as there is nothing to wait for."""
    limit = request.extensions.get("timeout", {}).get("read")
    if limit is not None and seconds > limit:
        raise httpx.ReadTimeout("The emulator was told to be slow", request=request)


def _arrived(outcome: EmulatedReply | Exception) -> EmulatedReply:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _response(answer: EmulatedReply, request: httpx.Request) -> httpx.Response:
    headers = [one for one in answer.headers if one[0].lower() not in _HOP_BY_HOP]
    return httpx.Response(answer.status, headers=headers, content=answer.body, request=request)


def origin_of(url: str) -> str:
    """Return the scheme and the host of an address, in lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
