"""The emulator of a Stytch consumer project as a running server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from moonkey_core.emulator.gateway import Gateway
from moonkey_core.emulator.guarded import Guarded
from moonkey_core.emulator.listener import Listener
from moonkey_core.emulator.records import Sent
from moonkey_core.emulator.stytch import api, control_http
from moonkey_core.emulator.stytch.control import StytchControl
from moonkey_core.emulator.stytch.state import StytchState


class StytchEmulator(Listener, StytchControl):
    """Stytch's API for consumer apps on a socket of this machine, with the control methods.

    It has sessions, the key set, the RBAC policy, users, one-time passcodes, magic links, OAuth logins and
    authenticator apps, and makes JWTs of any shape. Use it as a context manager, or call ``start`` and ``close``.
    Between them, ``stop`` and ``start`` make an outage: the port stays the same, and nothing is forgotten.

    Args:
        port: The port to listen on; 0 takes a free one.
        project_id: The project's id; one of the test environment is made if not given.
        secret: The secret to accept; made if not given.
        custom_domain: The base URL of the second issuer form; the emulator's own address if not given.
        host: The address to listen on.
        allow_remote: Must be true for a ``host`` that other machines can reach.
        on_sent: The function that is called with each code or link that the service sends.

    Raises:
        ValueError: The host is not loopback and ``allow_remote`` is not set.
    """

    def __init__(
        self,
        port: int = 0,
        project_id: str | None = None,
        secret: str | None = None,
        *,
        custom_domain: str | None = None,
        host: str = "127.0.0.1",
        allow_remote: bool = False,
        on_sent: Callable[[Sent], None] | None = None,
    ) -> None:
        Listener.__init__(self, host, port, allow_remote)
        StytchControl.__init__(self, StytchState(project_id, secret, custom_domain, on_sent))

    def _reached(self) -> None:
        self._state.base_url = self.base_url

    def _app(self, any_host: bool) -> Gateway:
        state = self._state
        guard = partial(Guarded, state, partial(api.refusal, state))
        return Gateway(state, api.api_routes(state), control_http.routes(state, self), any_host, guard)
