"""What the served apps can revoke, and what a worker answers: ``{"state": ...}``, as the client says it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

_STATES = ("published", "pending", "local")


def state_of(result: object) -> str:
    """The verdict on a revocation; where the client does not say one, no more is known than ``pending``."""
    state = getattr(result, "state", result)
    return state if isinstance(state, str) and state in _STATES else "pending"


def _revoke(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    """End one session."""
    return {"state": state_of(client.sessions.revoke(session_id=body["session_id"]))}


def _revoke_user(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Refuse all that a user has, and leave the API as it is."""
    return {"state": state_of(client.revocations.add(user_id=body["user_id"]))}


def _sign_out(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    """End all sessions of a user."""
    return {"state": state_of(client.sessions.revoke_all(body["user_id"]))}


def _revoke_many(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Revoke sessions of many users that nobody shows any more."""
    begun = time.monotonic()
    for number in range(body["count"]):
        client.revocations.add(session_id=f"{body['prefix']}{number}")
    return {"seconds": time.monotonic() - begun}


async def _revoke_async(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    return {"state": state_of(await client.sessions.revoke(session_id=body["session_id"]))}


async def _revoke_user_async(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    return {"state": state_of(client.revocations.add(user_id=body["user_id"]))}


async def _sign_out_async(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    return {"state": state_of(await client.sessions.revoke_all(body["user_id"]))}


async def _revoke_many_async(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    return _revoke_many(client, body)


ACTIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "revoke": _revoke,
    "revoke-user": _revoke_user,
    "sign-out": _sign_out,
    "revoke-many": _revoke_many,
}
ASYNC_ACTIONS: dict[str, Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
    "revoke": _revoke_async,
    "revoke-user": _revoke_user_async,
    "sign-out": _sign_out_async,
    "revoke-many": _revoke_many_async,
}
