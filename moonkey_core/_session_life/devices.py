"""Notice that a session is used from another device. Observed only: users move, and browsers are updated."""

from __future__ import annotations

import threading

from cachetools import TTLCache

from moonkey_core import _clock
from moonkey_core._fork import reset_after_fork
from moonkey_core._verified import Key, key_of
from moonkey_core.auth import Auth, cache_entry, peek_identity
from moonkey_core.events import DeviceChanged
from moonkey_core.settings import Settings
from moonkey_core.web.origin import client_address
from moonkey_core.web.request import HeaderView, RequestInfo

_REMEMBERED = 16_384
_SECONDS = 3600.0
_LONGEST = 512  # characters that a session stores of a user agent


_Seen = tuple[Key, str | None, str | None]


class DeviceMonitor:
    """A comparison of the device of each request with that of its session. It reports a change once an hour."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._make_table()
        reset_after_fork(self.reset_lock)

    def _make_table(self) -> None:
        self._seen: TTLCache[_Seen, bool] = TTLCache(_REMEMBERED, _SECONDS, timer=_clock.monotonic)

    def changed(self, auth: Auth, headers: HeaderView, info: RequestInfo | None) -> DeviceChanged | None:
        """Return the event to emit, if any. An address is compared only where a trusted proxy states it."""
        entry = cache_entry(auth)
        lines = headers("user-agent")
        agent = lines[0][:_LONGEST] if len(lines) == 1 else None
        address = client_address(info, headers, self._settings)
        if entry is not None and self._was_seen(key_of(entry.scope, entry.session_id), agent, address):
            return None
        verified = peek_identity(auth)
        if verified is None:
            return None
        if entry is None and self._was_seen(key_of(verified[0].scope, verified[1].id), agent, address):
            return None
        user, session = verified
        device = session.device
        if device is None:
            return None
        address_changed = address is not None and device.ip is not None and address != device.ip
        agent_changed = device.user_agent is not None and agent != device.user_agent[:_LONGEST]
        if not address_changed and not agent_changed:
            return None
        return DeviceChanged(user.id, session.id, address_changed, agent_changed, scope=user.scope)

    def _was_seen(self, session: Key, agent: str | None, address: str | None) -> bool:
        key = (session, agent, address)
        with self._lock:
            if key in self._seen:
                return True
            self._seen[key] = True
            return False

    def reset_lock(self) -> None:
        """Make a new lock after a fork, and a new table where another thread was just changing the old one."""
        held, self._lock = self._lock.locked(), threading.Lock()
        if held:
            self._make_table()
