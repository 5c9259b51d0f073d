"""The emulator of MoonKey's API as a running server."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from moonkey_core.emulator import control_http, keyed
from moonkey_core.emulator.api import api_routes
from moonkey_core.emulator.control import Control
from moonkey_core.emulator.gateway import Gateway
from moonkey_core.emulator.guarded import Guarded
from moonkey_core.emulator.listener import Listener
from moonkey_core.emulator.records import Sent
from moonkey_core.emulator.state import SESSION_CLAIM, State


class Emulator(Listener, Control):
    """MoonKey's API on a socket of this machine, with the control methods.

    Use it as a context manager, or call ``start`` and ``close``. Between them, ``stop`` and ``start`` make an
    outage: the port stays the same, and nothing is forgotten.

    Args:
        port: The port to listen on; 0 takes a free one.
        state: A SQLite file for the state, or ``None`` for memory alone.
        secret_key: The API key to accept; made, or read from the file, if not given.
        issuer: The ``iss`` of the JWTs; likewise.
        host: The address to listen on.
        allow_remote: Must be true for a ``host`` that other machines can reach.
        session_claim: The name of the JWT claim that holds the session object.
        on_sent: The function that is called with each code or link that the service sends.

    Raises:
        ValueError: The host is not loopback and ``allow_remote`` is not set.
        StateFileError: The file cannot be used.
    """

    def __init__(
        self,
        port: int = 0,
        state: str | os.PathLike[str] | None = None,
        secret_key: str | None = None,
        issuer: str | None = None,
        *,
        host: str = "127.0.0.1",
        allow_remote: bool = False,
        session_claim: str = SESSION_CLAIM,
        on_sent: Callable[[Sent], None] | None = None,
    ) -> None:
        Listener.__init__(self, host, port, allow_remote)
        path = None if state is None else os.fspath(state)
        Control.__init__(self, State(path, secret_key, issuer, session_claim, on_sent))

    def stand_in(
        self,
        *,
        secret_key: str | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        session_claim: str | None = None,
    ) -> None:
        """Take the place of the service that an app is configured for; what is not given stays as it is.

        Args:
            secret_key: The API key to accept.
            issuer: The ``iss`` of the JWTs.
            audience: The ``aud`` of the JWTs; an empty text for none.
            session_claim: The name of the JWT claim that holds the session object.
        """
        state = self._state
        with state.lock:
            state.secret_key = secret_key or state.secret_key
            state.issuer = issuer or state.issuer
            state.audience = state.audience if audience is None else audience
            state.session_claim = session_claim or state.session_claim
            self.secret_key: str = state.secret_key
            self.issuer: str = state.issuer

    def _app(self, any_host: bool) -> Gateway:
        state = self._state
        guard = partial(Guarded, state, partial(keyed.refusal, state))
        return Gateway(state, api_routes(state), control_http.routes(state, self), any_host, guard)

    def _closed(self) -> None:
        with self._state.lock:
            self._state.store.close()
