"""What the served apps can revoke, and what a worker answers: ``{"state": ...}``, as the client says it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from moonkey_core import AsyncMoonKey, MoonKey

Body = dict[str, Any]

_WAIT = 0.1  # seconds, as ending a session waits


def _revoke(client: MoonKey, body: Body) -> Body:
    """End one session."""
    return {"state": client.sessions.revoke(session_id=body["session_id"])}


def _revoke_user(client: MoonKey, body: Body) -> Body:
    """Refuse all that a user has, and leave the API as it is."""
    return {"state": client.revocations.add(user_id=body["user_id"]).wait(_WAIT)}


def _sign_out(client: MoonKey, body: Body) -> Body:
    """End all sessions of a user."""
    return {"state": client.sessions.revoke_all(body["user_id"]).state}


def _revoke_many(client: MoonKey | AsyncMoonKey, body: Body) -> Body:
    """Revoke sessions of many users that nobody shows any more."""
    begun = time.monotonic()
    for number in range(body["count"]):
        client.revocations.add(session_id=f"{body['prefix']}{number}")
    return {"seconds": time.monotonic() - begun}


async def _revoke_async(client: AsyncMoonKey, body: Body) -> Body:
    return {"state": await client.sessions.revoke(session_id=body["session_id"])}


async def _revoke_user_async(client: AsyncMoonKey, body: Body) -> Body:
    return {"state": await client.revocations.add(user_id=body["user_id"]).wait_async(_WAIT)}


async def _sign_out_async(client: AsyncMoonKey, body: Body) -> Body:
    return {"state": (await client.sessions.revoke_all(body["user_id"])).state}


async def _revoke_many_async(client: AsyncMoonKey, body: Body) -> Body:
    return _revoke_many(client, body)


ACTIONS: dict[str, Callable[[MoonKey, Body], Body]] = {
    "revoke": _revoke,
    "revoke-user": _revoke_user,
    "sign-out": _sign_out,
    "revoke-many": _revoke_many,
}
ASYNC_ACTIONS: dict[str, Callable[[AsyncMoonKey, Body], Awaitable[Body]]] = {
    "revoke": _revoke_async,
    "revoke-user": _revoke_user_async,
    "sign-out": _sign_out_async,
    "revoke-many": _revoke_many_async,
}
