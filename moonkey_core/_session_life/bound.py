"""The tie of a connection that outlives its request to the session that it was begun with.

It ends with that session, and may go on with a newer credential of the same user and session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, Unpack

from moonkey_core._session_life.renewal import Renewal, Renewed
from moonkey_core._session_life.watch_policy import Reason, WatchedSession
from moonkey_core._session_life.watchers import AsyncSessionWatcher, SessionWatcher
from moonkey_core.auth import Auth
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import AS_FRESH_AS_POSSIBLE, RequirementOptions, Requirements, admit
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import renewed_headers
from moonkey_core.web.request import HeaderView, RequestInfo

OnRenewed = Callable[[Auth, HeaderView], None]
"""Is told of the new identity of a connection, and of the headers that present its new credential."""


class _Watcher(Protocol):
    def watch(self, auth: Auth, *, can_verify: bool, credentials: tuple[str, ...] = ()) -> WatchedSession: ...
    def renew(self, watched: WatchedSession, auth: Auth, credentials: tuple[str, ...]) -> None: ...


class _Bound:
    """The part of both kinds that decides."""

    def __init__(
        self,
        settings: Settings,
        watcher: _Watcher,
        digests: Callable[[HeaderView, RequestInfo | None], tuple[str, ...]],
        auth: Auth,
        headers: HeaderView | None,
        info: RequestInfo | None,
    ) -> None:
        self._settings = settings
        self._renewer = watcher
        self._digests = digests
        self._auth = auth
        self._headers = headers
        self._info = info
        self._watched = watcher.watch(
            auth,
            can_verify=headers is not None,
            credentials=() if headers is None else digests(headers, info),
        )
        self.on_renewed: OnRenewed | None = None
        self.renewal: Renewal | None = None  # of the messages that a WebSocket receives

    @property
    def auth(self) -> Auth:
        """The identity by the newest credential."""
        return self._auth

    def _headers_with(self, credential: str) -> HeaderView:
        return renewed_headers(self._headers, credential, self._settings)

    def _renewed(self, auth: Auth, headers: HeaderView, requirements: Requirements) -> Auth:
        """Take over the identity that a credential has proved, or raise why not."""
        if self._auth.is_machine:  # it has been admitted, and a user cannot take its place
            requirements = replace(requirements, allow_machines=True)
        admitted = admit(auth, requirements)
        self._renewer.renew(self._watched, auth, self._digests(headers, self._info))
        self._auth, self._headers = auth, headers
        if self.on_renewed is not None:
            self.on_renewed(auth, headers)
        return admitted


class BoundSession(_Bound):
    """The tie of a connection to its session, in blocking code. Made by :meth:`moonkey_core.MoonKey.bind`."""

    def __init__(
        self,
        settings: Settings,
        watcher: SessionWatcher,
        digests: Callable[[HeaderView, RequestInfo | None], tuple[str, ...]],
        authenticate: Callable[[HeaderView, Requirements | None, RequestInfo | None], Auth],
        auth: Auth,
        headers: HeaderView | None,
        info: RequestInfo | None,
    ) -> None:
        super().__init__(settings, watcher, digests, auth, headers, info)
        self._watcher = watcher
        self._authenticate = authenticate

    def renew(self, credential: str, **requirements: Unpack[RequirementOptions]) -> Auth:
        """Go on with a newer credential of the same user and session. The connection ends with it from now on.

        It is verified as one that stands in a request at the place of the present one. Where the present
        credential stood in cookies, a JWT is taken as one in a header.

        Args:
            credential: A session token or JWT.
            **requirements: What the new identity has to meet, as for a gate.

        Returns:
            The identity that it proves.

        Raises:
            MoonKeyError: It is refused, or cannot be verified now. The connection goes on as before.
        """
        headers, asked = self._headers_with(credential), Requirements(**requirements)
        return self._renewed(self._authenticate(headers, asked, self._info), headers, asked)

    def renew_by(self, renewal: Renewal, message: object) -> Renewed | None:
        """Go on with the credential in a message, and return what is sent back; ``None`` for any other message.

        Raises:
            ConfigurationError: A provider cannot give what the hook requires.
        """
        credential = renewal.credential_in(message)
        if credential is None:
            return None
        try:
            self.renew(credential, **renewal.requirements)
        except ConfigurationError:
            raise
        except MoonKeyError as error:
            return renewal.outcome(error)
        return renewal.outcome(None)

    def is_over(self) -> bool:
        """Return whether the session is over. A call is made only at its known end, or where news are missed."""
        verify = None if self._headers is None else self._verify
        return self._watcher.is_over(self._watched, verify)

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Have :meth:`is_over` learn of each revocation until the end of the block."""
        with self._watcher.watching_for(self._watched):
            yield

    def _verify(self) -> Auth:
        assert self._headers is not None
        return self._authenticate(self._headers, AS_FRESH_AS_POSSIBLE, self._info)


class AsyncBoundSession(_Bound):
    """The tie of a connection to its session. Made by :meth:`moonkey_core.AsyncMoonKey.bind`."""

    def __init__(
        self,
        settings: Settings,
        watcher: AsyncSessionWatcher,
        digests: Callable[[HeaderView, RequestInfo | None], tuple[str, ...]],
        authenticate: Callable[[HeaderView, Requirements | None, RequestInfo | None], Awaitable[Auth]],
        auth: Auth,
        headers: HeaderView | None,
        info: RequestInfo | None,
    ) -> None:
        super().__init__(settings, watcher, digests, auth, headers, info)
        self._watcher = watcher
        self._authenticate = authenticate

    async def renew(self, credential: str, **requirements: Unpack[RequirementOptions]) -> Auth:
        """Do the same as :meth:`BoundSession.renew`."""
        headers, asked = self._headers_with(credential), Requirements(**requirements)
        return self._renewed(await self._authenticate(headers, asked, self._info), headers, asked)

    async def renew_by(self, renewal: Renewal, message: object) -> Renewed | None:
        """Do the same as :meth:`BoundSession.renew_by`."""
        credential = renewal.credential_in(message)
        if credential is None:
            return None
        try:
            await self.renew(credential, **renewal.requirements)
        except ConfigurationError:
            raise
        except MoonKeyError as error:
            return renewal.outcome(error)
        return renewal.outcome(None)

    async def session_end(self) -> Reason:
        """Wait until the session is over, and return ``"expired"`` or ``"revoked"``. May be cancelled."""
        return await self._watcher.wait(self._watched, self._verify)

    async def _verify(self) -> Auth:
        if self._headers is None:
            return self._auth
        return await self._authenticate(self._headers, AS_FRESH_AS_POSSIBLE, self._info)
