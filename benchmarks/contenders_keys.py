"""Contenders of the key-set part: blocking or asynchronous, each over a cold key set of its own."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import contenders_local as local
import ours
from service import Upstream
from timing import Contender
from tokens import AUDIENCE, Flavour


@dataclass
class Keyed:
    """A verifier with a key set; ``make`` gives a new one that has fetched nothing yet."""

    name: str
    make: Callable[[Upstream], Callable[[str], Any]]
    flavour: Flavour = "moonkey"
    is_async: bool = False
    own: bool = False


def _blocking(upstream: Upstream) -> Callable[[str], Any]:
    client = ours.blocking(upstream.url)
    return lambda token: client.authenticate(ours.mapping(token)).is_authenticated


def _asynchronous(upstream: Upstream) -> Callable[[str], Awaitable[Any]]:
    client = ours.asynchronous(upstream.url)

    async def verify(token: str) -> bool:
        return (await client.authenticate(ours.mapping(token))).is_authenticated

    verify.close = client.aclose  # type: ignore[attr-defined]
    return verify


def _of(build: Callable[[Upstream], Contender]) -> Callable[[Upstream], Callable[[str], Any]]:
    def make(upstream: Upstream) -> Callable[[str], Any]:
        one = build(upstream)
        return lambda token: one.accepted(one.call(one.wrap(token)))

    return make


def _clerk(upstream: Upstream) -> Callable[[str], Any]:
    """clerk keeps its keys for the whole process, by secret key: a new one makes it cold."""
    from clerk_backend_api.security import VerifyTokenOptions, verify_token

    secret = f"sk_test_{secrets.token_hex(8)}"
    options = VerifyTokenOptions(secret_key=secret, api_url=upstream.url, audience=AUDIENCE)
    return lambda token: bool(verify_token(token, options))


def _stytch_async(upstream: Upstream) -> Callable[[str], Awaitable[Any]]:
    call = local.stytch_client(upstream).sessions.authenticate_jwt_local_async

    async def verify(token: str) -> bool:
        return await call(session_jwt=token) is not None

    return verify


ALL = [
    Keyed("this project, async", _asynchronous, is_async=True, own=True),
    Keyed("this project, threads", _blocking, own=True),
    Keyed("PyJWT + PyJWKClient, threads", _of(local.pyjwt_client)),
    Keyed("stytch, threads", _of(local.stytch_local), "stytch"),
    Keyed("stytch, async", _stytch_async, "stytch", is_async=True),
    Keyed("clerk, threads", _clerk),
]
