"""Asking a server about one session token, with a client of its own, blocking or not."""

from __future__ import annotations

import asyncio
from typing import Any

from moonkey_core import AsyncMoonKey, Auth, MoonKey, ProviderUnavailable
from support.patience import PATIENT

SECRET = "sk_test_" + "t" * 30
TOKEN = "session_" + "Ab3" * 20
GOOD: dict[str, Any] = {"session": {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000}}


def asked(url: str, how: str = "sync", credential: str = TOKEN, **options: Any) -> Auth:
    """The verdict of a client of its own about a session token, or another credential."""

    def headers(name: str) -> list[str]:
        return [credential] if name == "session-token" else []

    options = {"secret_key": SECRET, "base_url": url, **PATIENT, **options}
    if how == "sync":
        with MoonKey(**options) as client:
            return client.authenticate(headers)

    async def work() -> Auth:
        async with AsyncMoonKey(**options) as client:
            return await client.authenticate(headers)

    return asyncio.run(work())


def trouble(auth: Auth) -> ProviderUnavailable:
    assert isinstance(auth.error, ProviderUnavailable), auth
    return auth.error
