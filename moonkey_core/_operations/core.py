"""What a client is made of, apart from its connections: settings, keys, API, verifier, revocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from moonkey_core import _clock
from moonkey_core._operations.activity import Activity
from moonkey_core._operations.attempts import Attempts
from moonkey_core._plan import Plan
from moonkey_core._session_life.devices import Devices
from moonkey_core._session_life.sliding import Extension
from moonkey_core._transport.circuit_breaker import Breaker
from moonkey_core._verify.authenticator import Verifier
from moonkey_core._verify.introspection import Inquiry
from moonkey_core._verify.jwks_cache import KeyRing
from moonkey_core._verify.recall import Presented, Recall
from moonkey_core.auth import Auth
from moonkey_core.events import Hooks, Refreshed
from moonkey_core.gate import Requirements
from moonkey_core.providers.moonkey.client import MoonKeyApi
from moonkey_core.revocations import Revocations, retention
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import HeaderView, bare_token, mapped_headers
from moonkey_core.web.origin import RequestInfo

if TYPE_CHECKING:
    from moonkey_core.redis import RedisRevocations

Headers = HeaderView | Mapping[str, str]


class Core:
    """The deciding half of a client, the same for the blocking and the asynchronous one."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = _clock.wall,
        run_later: Callable[[Plan[None]], object] = lambda _: None,
        *,
        revocations: Revocations | None = None,
        feed: RedisRevocations | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.run_later = run_later  # runs a plan off the path of any request
        self.hooks = Hooks()
        self.breaker = Breaker(self.hooks)
        if revocations is None:  # an empty table is false
            revocations = Revocations(
                retention=retention(settings),
                maxsize=settings.max_revocations,
                leeway=settings.leeway,
                clock=clock,
            )
        self.revocations = revocations
        self.feed = feed
        self.closed = False
        place = _place_namer(settings)
        keys_url = settings.jwks_url or settings.base_url
        self.keys = KeyRing(settings, clock, self.hooks, place and place(f"keys {keys_url}"))
        self.api = MoonKeyApi(settings, clock, place and (lambda token: place(f"token {bare_token(token)}")))
        self.recall = Recall(settings, self.keys, self.revocations, self.feed, clock)
        self.extension = Extension(settings, clock)
        self.devices = Devices(settings)
        self._extends = self.extension.is_on
        self.attempts = Attempts()
        inquiry = Inquiry(settings, self.api, self.recall, self.revocations, self.hooks, self.extension, clock)
        self.activity = Activity(settings, self.recall, inquiry, self.extension)
        self.verifier = Verifier(
            settings, self.api, self.keys, self.recall, inquiry, self.extension, self.hooks, clock
        )

    def reset_locks(self) -> None:
        """New locks: the old ones may have been held by other threads when the process forked."""
        self.keys.reset_lock()
        self.recall.credentials.reset_lock()
        self.revocations.reset_lock()
        self.extension.reset_lock()
        self.devices.reset_lock()
        self.attempts.reset_lock()

    def start(
        self, headers: Headers, requirements: Requirements | None, info: RequestInfo | None = None
    ) -> Auth | Presented:
        """The identity of a request where it is known without any call or wait; else what is to be verified."""
        started = _clock.elapsed() if self.hooks.all else 0.0
        if self._clock() >= self.keys.ahead_at:
            ahead = self.keys.due()
            if ahead is not None:
                self.run_later(ahead)
        view = headers if callable(headers) else mapped_headers(headers)
        found = self.recall.start(view, requirements, info)
        if isinstance(found, Presented):
            at_once = self.verifier.at_once(found, requirements)
            found = found if at_once is None else at_once
        if isinstance(found, Auth) and (started or self._extends):
            self.after(found, started, view, info)
        return found

    def after(self, auth: Auth, started: float, headers: HeaderView, info: RequestInfo | None) -> None:
        """What follows from a request's identity, and does not hold it up: hooks are told, sessions extended.

        ``started`` is in seconds of the performance counter.
        """
        if self.hooks.all:
            self.hooks.emit(auth.event(_clock.elapsed() - started))
            if auth.fresh is not None and (verified := auth.verified()) is not None:
                self.hooks.emit(Refreshed(verified[0].id, verified[1].id))
            changed = self.devices.changed(auth, headers, info)
            if changed is not None:
                self.hooks.emit(changed)
        if self._extends:
            later = self.activity.extension_due(auth, headers)
            if later is not None:
                self.run_later(later)


def _place_namer(settings: Settings) -> Callable[[str], str] | None:
    """Names of places in the fleet's store, if there is one.

    The secret key takes part: what one app's key was told about a credential is no answer for another app.
    """
    if settings.redis_url is None:
        return None
    from moonkey_core._crypto import fleet_sealer

    sealer, key = fleet_sealer(settings, "place"), settings.secret_key.reveal()
    return lambda what: sealer.digest(f"{key} {what}")
