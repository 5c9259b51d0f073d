"""The headers of a request: the fast transport keeps them between calls, and sends none of another call."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from moonkey_core import Settings
from moonkey_core._plan import Fetch, Outcome, Reply, TransportError
from moonkey_core._transport.exchange import AsyncExchange
from support.patience import PATIENCE
from support.scripted import Received, Scripted, reply, scripted


@dataclass
class Proof:
    """An authorization that is another one at each attempt, and of the same length."""

    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(10))

    def header(self) -> str | None:
        return f"Proof {next(self.numbers)}"

    def members(self) -> Mapping[str, str]:
        return {}


class Fixed(Proof):
    """One that never changes."""

    def header(self) -> str | None:
        return "Bearer one"


def exchanged(server: Scripted, transport: str, fetches: list[Fetch]) -> list[Outcome]:
    found = {"secret_key": "sk_test_" + "L" * 30, "base_url": server.url, "transport": transport}

    async def work() -> list[Outcome]:
        exchange = AsyncExchange(Settings.load(found))
        made = [await exchange(fetch, time.monotonic() + PATIENCE) for fetch in fetches]
        await exchange.aclose()
        return made

    return asyncio.run(work())


def answered(request: Received) -> bytes:
    return reply(200, {})


CALLS: list[dict[str, Any]] = [
    {"json": {"a": "1"}},
    {"json": {"a": "2"}},
    {"json": {"a": "22"}},
    {"json": {"a": "2"}, "headers": {"x-own": "1"}},
    {"json": {"a": "2"}, "headers": {"x-own": "2"}},
    {"json": {"a": "2"}, "trace_headers": {"traceparent": "00-1"}},
    {"json": {"a": "3"}},
    {"json": {"a": "3"}, "authorization": Fixed()},
    {"form": {"a": "1234567"}},  # as long as the first ones
    {"json": {"a": "3"}, "headers": {"content-type": "application/other"}},
    {},
    {"json": {"a": "x" * 200_000}},
]


def test_each_call_has_its_own(transport: str) -> None:
    with scripted(answered) as server:
        fetches = [
            Fetch(method, f"{server.url}{path}", **options)
            for options in [*CALLS, *reversed(CALLS), *CALLS]
            for method in (("POST", "DELETE") if "json" in options else ("POST",))
            for path in ("/a", "/a?b=c")
        ]
        outcomes = exchanged(server, transport, fetches)
        received = list(server.received)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    for fetch, request in zip(fetches, received, strict=True):
        assert (request.method, f"{server.url}{request.path}") == (fetch.method, fetch.url)
        assert request.json == fetch.json if fetch.json is not None else True
        kind = {True: "application/json", False: "application/x-www-form-urlencoded"}[fetch.json is not None]
        sent = {"content-type": kind} if fetch.json is not None or fetch.form is not None else {}
        sent |= {**(fetch.trace_headers or {}), **(fetch.headers or {})}
        sent |= {"authorization": "Bearer one"} if fetch.authorization is not None else {}
        for name in ("content-type", "x-own", "traceparent", "authorization"):
            assert request.headers.get(name) == sent.get(name)
        assert (request.headers.get("connection") == "close") == fetch.closes_connection or transport == "httpx"
        assert int(request.headers["content-length"]) == len(request.body)
        assert f"http://{request.headers['host']}" == server.url


def test_a_proof_is_made_once_for_each_attempt(transport: str) -> None:
    proof = Proof()
    with scripted(answered) as server:
        fetches = [Fetch("POST", f"{server.url}/a", json={"a": "1"}, authorization=proof) for _ in range(4)]
        exchanged(server, transport, fetches)
        sent = [request.headers["authorization"] for request in server.received]
    assert sent == ["Proof 10", "Proof 11", "Proof 12", "Proof 13"]


@pytest.mark.parametrize("value", ["a\r\nx-other: 1", "a\nb", "a\0b"])
def test_a_header_that_would_be_two_is_not_sent(transport: str, value: str) -> None:
    with scripted(answered) as server:
        fetch = Fetch("POST", f"{server.url}/a", json={"a": "1"}, headers={"x-own": value}, idempotent=False)
        good = Fetch("POST", f"{server.url}/a", json={"a": "1"})
        outcomes = exchanged(server, transport, [good, fetch, good])
        received = list(server.received)
    assert isinstance(outcomes[1], TransportError)
    assert [type(outcome) for outcome in (outcomes[0], outcomes[2])] == [Reply, Reply]
    assert len(received) == 2


def test_few_are_kept() -> None:
    pytest.importorskip("aiohttp")
    from moonkey_core._transport.aiohttp_backend import _MAX_SECTIONS, _Target

    async def work() -> tuple[int, bytes]:
        target, head = _Target("http://127.0.0.1:1/a"), b""
        for length in range(10 * _MAX_SECTIONS):
            head = await target.header_section(Fetch("POST", "http://127.0.0.1:1/a", json={}), length)
        return len(target._sections), head

    count, head = asyncio.run(work())
    assert count == _MAX_SECTIONS
    assert f"content-length: {10 * _MAX_SECTIONS - 1}\r\n".encode() in head.lower()
