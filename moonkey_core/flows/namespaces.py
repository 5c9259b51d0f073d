"""``client.flows``: the ready-made routes as methods of the clients.

The clients import this module on first use, as many apps mount no routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._operations.running import Awaits, Runs
from moonkey_core._plan import arun, run
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.auth import Auth
from moonkey_core.flows import FlowRequest, FlowResponse, MagicLinkStart, OAuthStart
from moonkey_core.flows.counting import awaiting_driver, blocking_driver
from moonkey_core.flows.dispatch import OF_EACH_PROVIDER, answer, is_of_session
from moonkey_core.flows.magic_link import magic_link_state
from moonkey_core.flows.oauth import oauth_state

if TYPE_CHECKING:
    from moonkey_core.redis.store import AsyncRedisStore, RedisStore


F = TypeVar("F", "Flows", "AsyncFlows")


def _answering(lead: F, of_session: F, request: FlowRequest) -> F:
    """Return the routes that answer a request.

    Args:
        lead: The routes of the provider that signs users in.
        of_session: Those of the provider of the identity. Without cookies of its own, it has routes for clients
            that present their credential in a header only.
        request: The request.
    """
    has_routes = request.mode == "header" or of_session._core.settings.cookies is not None
    return of_session if is_of_session(request) and has_routes else lead


class Flows(Runs):
    """The ready-made session routes."""

    def __init__(
        self,
        core: Core,
        exchange: SyncExchange,
        store: RedisStore | None,
        of_provider: Callable[[Auth], Flows],
    ) -> None:
        super().__init__(core, exchange)
        self._store = store
        self._of_provider = of_provider  # those of the provider of an identity

    def answer(self, request: FlowRequest) -> FlowResponse:
        """Answer a request to one of the ready-made routes.

        Every error of the request or of the provider becomes a response, and is logged. With several providers, a
        sign-in is answered by the one that signs users in, and what is about a session by that of the session, if
        it has cookies of its own or the mode needs none. Of any other user the routes know ``session`` and
        ``sign_out`` only.

        Raises:
            ConfigurationError: Cookies are not configured, and the mode needs them.
        """
        of_session = self._of_provider(request.auth)
        flows = _answering(self, of_session, request)
        exchange = (of_session if request.route in OF_EACH_PROVIDER else flows)._exchange
        deadline = _clock.elapsed() + self._core.settings.timeout
        return run(answer(flows._core, request), blocking_driver(exchange, flows._store, deadline))

    def oauth_state(self, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
        """Bind an OAuth sign-in that is about to begin to this browser, for ten minutes.

        Makes no network call.

        Args:
            next: The path of this site where the browser ends up.
            remember_me: Whether the session lasts as long as ``SignInSettings.remember_me``.

        Raises:
            ConfigurationError: Cookies are not configured.
        """
        return oauth_state(self._core, next=next, remember_me=remember_me)

    def magic_link_state(
        self, *, email: str, next: str | None = None, remember_me: bool = False
    ) -> MagicLinkStart:
        """Bind a magic link that is about to be sent to this browser, for an hour, and name its account.

        Makes no network call.

        Args:
            email: The address that the link is sent to.
            next: The path of this site where the browser ends up.
            remember_me: Whether the session lasts as long as ``SignInSettings.remember_me``.

        Raises:
            ConfigurationError: Cookies are not configured.
        """
        return magic_link_state(self._core, email=email, next=next, remember_me=remember_me)


class AsyncFlows(Awaits):
    """The ready-made session routes."""

    def __init__(
        self,
        core: Core,
        exchange: AsyncExchange,
        store: AsyncRedisStore | None,
        of_provider: Callable[[Auth], AsyncFlows],
    ) -> None:
        super().__init__(core, exchange)
        self._store = store
        self._of_provider = of_provider  # those of the provider of an identity

    async def answer(self, request: FlowRequest) -> FlowResponse:
        """Answer a request to one of the ready-made routes.

        Every error of the request or of the provider becomes a response, and is logged. With several providers, a
        sign-in is answered by the one that signs users in, and what is about a session by that of the session, if
        it has cookies of its own or the mode needs none. Of any other user the routes know ``session`` and
        ``sign_out`` only.

        Raises:
            ConfigurationError: Cookies are not configured, and the mode needs them.
        """
        of_session = self._of_provider(request.auth)
        flows = _answering(self, of_session, request)
        exchange = (of_session if request.route in OF_EACH_PROVIDER else flows)._exchange
        deadline = _clock.elapsed() + self._core.settings.timeout
        return await arun(answer(flows._core, request), awaiting_driver(exchange, flows._store, deadline))

    def oauth_state(self, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
        """Bind an OAuth sign-in to this browser, as on the blocking client. There is nothing to await."""
        return oauth_state(self._core, next=next, remember_me=remember_me)

    def magic_link_state(
        self, *, email: str, next: str | None = None, remember_me: bool = False
    ) -> MagicLinkStart:
        """Bind a magic link to this browser, as on the blocking client. There is nothing to await."""
        return magic_link_state(self._core, email=email, next=next, remember_me=remember_me)
