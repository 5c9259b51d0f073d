"""Processes' worth of feeds, and what lies in the store."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from moonkey_core import Settings
from moonkey_core._crypto import fleet_sealers
from moonkey_core._plan import Reply, StorePolicy
from moonkey_core.events import Event, Hooks
from moonkey_core.providers.moonkey.ids import bare_user_id
from moonkey_core.redis import RedisRevocations
from moonkey_core.revocations import RevocationHandle, Revocations, retention
from support.redis_server import RedisServer
from support.scripted import wait_until


class HasUrl(Protocol):
    """A server, or several that belong together."""

    @property
    def url(self) -> str:
        """The ``redis_url``."""
        ...


def settings_for(server: HasUrl | None, **options: Any) -> Settings:
    url = None if server is None else server.url
    chosen = {"secret_key": "sk_test_fleet", "redis_url": url, "max_revocation_lag": 0.5, **options}
    return Settings.load({name: value for name, value in chosen.items() if value is not None}, {})


class Process:
    """What one process of the fleet has: a table and a feed."""

    def __init__(self, settings: Settings, table: Mapping[str, Any] | None = None) -> None:
        usual: dict[str, Any] = {
            "retention": retention(settings),
            "maxsize": settings.max_revocations,
            "leeway": settings.leeway,
        }
        self.known = Revocations(**{**usual, "key_of_user": bare_user_id, **(table or {})})
        self.feed = RedisRevocations(settings, self.known)
        self.heard: list[Event] = []
        self.hooks = Hooks()
        self.hooks.add(self.heard.append)
        self.feed.acquire(self.hooks)

    def refuses(self, session_id: str) -> bool:
        return self.known.refuses(session_id, "user_1", None)

    @property
    def is_live(self) -> bool:
        return self.feed.is_live


def stream_names(server: RedisServer) -> list[bytes]:
    """Return the names of all streams of feeds; other keys of the feeds stand beside them."""
    return [key for key in server.client.keys("moonkey:*:feed:*") if re.fullmatch(rb".*:feed:[0-9a-f]{32}", key)]


def begin_long_ago(server: RedisServer, settings: Settings, purpose: str = "feed") -> None:
    """Begin the stream of an app as one that has been there for an hour.

    A process takes a new one as complete only after its ``max_revocation_lag`` and some seconds. So tests may have
    a long one, which no busy machine exceeds, and need not wait for it. Where one has begun already, it stays.
    ``purpose`` is that of its secrets, which another provider has for itself.
    """
    for sealer in fleet_sealers(settings, purpose):
        root, name = f"moonkey:{{{sealer.digest('feed')[:32]}}}:feed", secrets.token_hex(16)
        if server.client.exists(f"{root}:epoch"):
            continue
        server.client.execute_command("XADD", f"{root}:{name}", "*", "entry", b"")
        server.client.set(f"{root}:epoch", f"{name}.{int((time.time() - 3600) * 1000)}")


MakeProcess = Callable[..., Process]


BODY = b'{"session": {"id": "sess_visible"}, "session_token": "session_secret"}'


def clean(body: bytes) -> bytes:
    return body.replace(b"session_secret", b"")


PLACE = StorePolicy("0123456789abcdef", 30.0, clean)


def good(body: bytes = BODY, **changes: Any) -> Reply:
    return replace(Reply(200, {}, body, asked_at=time.time()), **changes)


def is_published(handle: RevocationHandle) -> bool:
    """Whether a revocation is published in the end. A wait ends at once where the feed is lost for a moment."""
    return wait_until(lambda: handle.wait(1.0) == "published")
