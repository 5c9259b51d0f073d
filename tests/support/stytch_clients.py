"""Clients of an emulated project of Stytch, blocking or asynchronous, called alike."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moonkey_core import AsyncMoonKey, Auth, MoonKey, Requirements, Stytch
from moonkey_core.emulator import StytchEmulator
from support.patience import PATIENT


def provider_of(project: StytchEmulator, **arguments: Any) -> Stytch:
    usual: dict[str, Any] = {"base_url": project.base_url, **arguments}
    return Stytch(project.project_id, project.secret, **usual)


class StytchClient:
    """A client of one kind, whose methods are called by their dotted names."""

    def __init__(self, how: str, options: dict[str, Any]) -> None:
        self._runner = None if how == "sync" else asyncio.Runner()
        self.client: Any = MoonKey(**options) if how == "sync" else AsyncMoonKey(**options)

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        method = self.client
        for part in name.split("."):
            method = getattr(method, part)
        return self._done(method(*args, **kwargs))

    def auth(self, credential: str, **demand: Any) -> Auth:
        """The identity of a request with a credential in its header."""
        requirements = Requirements(**demand) if demand else None
        found: Auth = self("authenticate", {"authorization": f"Bearer {credential}"}, requirements)
        return found

    def _done(self, result: Any) -> Any:
        return self._runner.run(_awaited(result)) if self._runner and inspect.isawaitable(result) else result

    def close(self) -> None:
        self("aclose" if self._runner else "close")
        if self._runner:
            self._runner.close()


async def _awaited(result: Any) -> Any:
    return await result


@contextmanager
def stytch_client(how: str, project: StytchEmulator, /, **options: Any) -> Iterator[StytchClient]:
    """A client; ``options`` are its settings, and the arguments of the provider under ``arguments``."""
    made = provider_of(project, **options.pop("arguments", {}))
    client = StytchClient(how, {"provider": made, **PATIENT, **options})
    try:
        yield client
    finally:
        client.close()
