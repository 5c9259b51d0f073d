"""Contenders of the remote part: one opaque token, one answer from the mock, asynchronously."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import ours
import requests
from contenders_local import stytch_client
from service import Upstream

PLAIN = "this project, httpx"
FAST = "this project, fast transport"
OWN = (PLAIN, FAST)


@dataclass
class Remote:
    """``verify`` raises or returns something false for a refusal. ``serial``: it blocks the loop."""

    name: str
    verify: Callable[[str], Awaitable[Any]]
    close: Callable[[], Awaitable[Any]]
    serial: bool = False
    sdk: bool = False


def _mine(name: str, upstream: Upstream, **options: Any) -> Remote:
    client = ours.asynchronous(upstream.url, **options)

    async def verify(token: str) -> bool:
        # The deadline of a verification stays a user's: what does not come in time counts as not answered.
        return (await client.authenticate({"authorization": f"Bearer {token}"})).is_authenticated

    return Remote(name, verify, client.aclose)


def plain(upstream: Upstream) -> Remote:
    """This project over httpx alone, as it is with the declared dependencies only."""
    return _mine(PLAIN, upstream, **({"transport": "httpx"} if ours.has_setting("transport") else {}))


def fast(upstream: Upstream) -> Remote:
    """This project with its fast transport, which it uses by itself where that is installed."""
    if not ours.has_setting("transport"):
        raise ImportError("this version has no fast transport")
    return _mine(FAST, upstream, transport="aiohttp")


def stytch(upstream: Upstream) -> Remote:
    """stytch's asynchronous client, which is on aiohttp."""
    client = stytch_client(upstream)

    async def verify(token: str) -> Any:
        return (await client.sessions.authenticate_async(session_token=token)).session

    return Remote(NAMES[stytch], verify, client.close, sdk=True)


def _asked(upstream: Upstream) -> tuple[str, dict[str, str]]:
    return f"{upstream.url}/v1/auth/sessions/verify", {"Authorization": f"Bearer {ours.SECRET}"}


def raw_aiohttp(upstream: Upstream) -> Remote:
    """The HTTP client alone: no rules, no models."""
    (url, headers), sessions = _asked(upstream), list[aiohttp.ClientSession]()

    async def verify(token: str) -> Any:
        if not sessions:
            sessions.append(aiohttp.ClientSession())
        async with sessions[0].post(url, json={"session_token": token}, headers=headers) as reply:
            return (await reply.json())["session"] if reply.status == 200 else None

    async def close() -> None:
        for session in sessions:
            await session.close()

    return Remote(NAMES[raw_aiohttp], verify, close)


def raw_httpx(upstream: Upstream) -> Remote:
    """The HTTP client alone: no rules, no models."""
    url, headers = _asked(upstream)
    client = httpx.AsyncClient()

    async def verify(token: str) -> Any:
        reply = await client.post(url, json={"session_token": token}, headers=headers)
        return reply.json()["session"] if reply.status_code == 200 else None

    return Remote(NAMES[raw_httpx], verify, client.aclose)


def naive(upstream: Upstream) -> Remote:
    """The guide's recipe inside ``async def``: each call holds the loop up."""
    url, headers = _asked(upstream)

    async def verify(token: str) -> Any:
        reply = requests.post(url, headers=headers, json={"session_token": token})  # noqa: ASYNC210 - the point
        return reply.json()["session"] if reply.status_code == 200 else None

    async def close() -> None:
        pass

    return Remote(NAMES[naive], verify, close, serial=True)


Build = Callable[[Upstream], Remote]
NAMES: dict[Build, str] = {
    fast: FAST,
    plain: PLAIN,
    stytch: "stytch authenticate_async",
    raw_aiohttp: "aiohttp, raw",
    raw_httpx: "httpx.AsyncClient, raw",
    naive: "naive: requests.post in async def",
}
