"""The emulator of a Stytch B2B project as a running server."""

from __future__ import annotations

from functools import partial

from moonkey_core.emulator.gateway import Gateway
from moonkey_core.emulator.guarded import Guarded
from moonkey_core.emulator.listener import Listener
from moonkey_core.emulator.stytch import b2b_api, b2b_http
from moonkey_core.emulator.stytch.api import refusal
from moonkey_core.emulator.stytch.b2b_control import StytchB2BControl
from moonkey_core.emulator.stytch.b2b_state import B2BState


class StytchB2BEmulator(Listener, StytchB2BControl):
    """Stytch's API for business apps on a socket of this machine, with the control methods.

    It has member sessions, the key set, the RBAC policies of the project and of organizations, and members, and
    makes JWTs of any shape. It has no login steps. Use it as a context manager, or call ``start`` and ``close``.
    Between them, ``stop`` and ``start`` make an outage: the port stays the same, and nothing is forgotten.

    Args:
        port: The port to listen on; 0 takes a free one.
        project_id: The project's id; one of the test environment is made if not given.
        secret: The secret to accept; made if not given.
        custom_domain: The base URL of the second issuer form; the emulator's own address if not given.
        host: The address to listen on.
        allow_remote: Must be true for a ``host`` that other machines can reach.

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
    ) -> None:
        Listener.__init__(self, host, port, allow_remote)
        StytchB2BControl.__init__(self, B2BState(project_id, secret, custom_domain))

    def _reached(self) -> None:
        self._state.base_url = self.base_url

    def _app(self, any_host: bool) -> Gateway:
        state = self._state
        guard = partial(Guarded, state, partial(refusal, state))
        return Gateway(state, b2b_api.api_routes(state), b2b_http.routes(state, self), any_host, guard)
