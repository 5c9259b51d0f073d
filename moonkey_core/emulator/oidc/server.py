"""The emulated issuer as a running server."""

from __future__ import annotations

from collections.abc import Sequence

from moonkey_core.emulator.gateway import Gateway
from moonkey_core.emulator.listener import Listener
from moonkey_core.emulator.oidc import control_http, endpoints
from moonkey_core.emulator.oidc.control import OidcControl
from moonkey_core.emulator.oidc.state import OidcState


class OidcEmulator(Listener, OidcControl):
    """A small OpenID Connect issuer on a socket of this machine, with the control methods.

    It has the key set, discovery, token introspection and revocation, and makes tokens of the shapes of Auth0,
    Okta, Entra ID, Keycloak, Cognito, Firebase, Clerk, Supabase, WorkOS and others. Use it as a context manager,
    or call ``start`` and ``close``. Between them, ``stop`` and ``start`` make an outage: the port stays the same,
    and nothing is forgotten.

    Args:
        port: The port to listen on; 0 takes a free one.
        issuer: The ``iss`` of the generic preset, also in discovery; the emulator's own address if not given.
        algorithms: The algorithms whose keys are published from the beginning. Others are from their first use.
        client_secret: The secret of the client ``demo-api``; made if not given.
        host: The address to listen on.
        allow_remote: Must be true for a ``host`` that other machines can reach.

    Raises:
        ValueError: The host is not loopback and ``allow_remote`` is not set, or there is no such algorithm.
    """

    def __init__(
        self,
        port: int = 0,
        issuer: str | None = None,
        *,
        algorithms: Sequence[str] = ("RS256", "ES256", "EdDSA"),
        client_secret: str | None = None,
        host: str = "127.0.0.1",
        allow_remote: bool = False,
    ) -> None:
        if isinstance(algorithms, str) or not algorithms:
            raise ValueError('algorithms must be a list of names, such as ["RS256"]')
        Listener.__init__(self, host, port, allow_remote)
        OidcControl.__init__(self, OidcState(issuer, algorithms, client_secret))

    def _reached(self) -> None:
        self._state.base_url = self.base_url

    def _app(self, any_host: bool) -> Gateway:
        state = self._state
        return Gateway(state, endpoints.routes(state), control_http.routes(state, self), any_host)
