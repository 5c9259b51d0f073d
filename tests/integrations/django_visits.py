"""Calls to the test site through Django's own handlers, WSGI and ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.test import AsyncClient, Client

Configure = Callable[..., None]
Visit = Callable[..., Any]


def _headers(credential: str | None, headers: dict[str, str]) -> dict[str, str]:
    return {**headers, **({} if credential is None else {"authorization": f"Bearer {credential}"})}


def visit_wsgi(path: str, credential: str | None = None, *, method: str = "GET", **headers: str) -> Any:
    """The response of a WSGI request."""
    client = Client(raise_request_exception=False)
    return client.generic(method, path, headers=_headers(credential, headers))


def visit_asgi(path: str, credential: str | None = None, *, method: str = "GET", **headers: str) -> Any:
    """The response of an ASGI request, on an event loop of its own."""

    async def call() -> Any:
        client = AsyncClient(raise_request_exception=False)
        response: Any = await client.generic(method, path, headers=_headers(credential, headers))
        if getattr(response, "is_async", False):
            response.streamed = b"".join([part async for part in response])
        return response

    return asyncio.run(call())
