"""The emulated CDP as a running server."""

from __future__ import annotations

from functools import partial

from moonkey_core.emulator.cdp import api_keys, control_http, endpoints
from moonkey_core.emulator.cdp.control import CdpControl
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.gateway import Gateway
from moonkey_core.emulator.guarded import Guarded
from moonkey_core.emulator.listener import Listener


class CdpEmulator(Listener, CdpControl):
    """The API of Coinbase CDP for end users, on a socket of this machine, with the control methods.

    It validates access tokens, lists and looks up users, checks the JWT of an API key, renews access tokens as the
    SDK in a browser has them renewed, and knows MFA. Use it as a context manager, or call ``start`` and ``close``.
    Between them, ``stop`` and ``start`` make an outage: the port stays the same, and nothing is forgotten.

    Args:
        port: The port to listen on; 0 takes a free one.
        project_id: The id of the project; made if not given.
        algorithm: That of the first API key: ``ES256`` or ``EdDSA``.
        host: The address to listen on.
        allow_remote: Must be true for a ``host`` that other machines can reach.

    Raises:
        ValueError: The host is not loopback and ``allow_remote`` is not set, or there is no such algorithm.
    """

    def __init__(
        self,
        port: int = 0,
        project_id: str | None = None,
        *,
        algorithm: str = "ES256",
        host: str = "127.0.0.1",
        allow_remote: bool = False,
    ) -> None:
        Listener.__init__(self, host, port, allow_remote)
        CdpControl.__init__(self, CdpState(project_id), api_keys.new_key(algorithm))

    def _reached(self) -> None:
        self._base_url = self.base_url

    def _app(self, any_host: bool) -> Gateway:
        state = self._state
        guard = partial(Guarded, state, partial(api_keys.refusal, state))
        return Gateway(state, endpoints.routes(state), control_http.routes(state, self), any_host, guard)
