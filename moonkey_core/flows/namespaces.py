"""``client.flows``: the ready-made routes as methods of the clients.

The clients import this module on first use, as many apps mount no routes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._operations.namespaces import Awaits, Runs, awaiting, blocking
from moonkey_core._plan import arun, run
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.flows import FlowRequest, MagicLinkStart, OAuthStart
from moonkey_core.flows.counting import awaiting_driver, blocking_driver
from moonkey_core.flows.dispatch import answer, answering_provider
from moonkey_core.flows.magic_link import magic_link_state
from moonkey_core.flows.oauth import oauth_state

if TYPE_CHECKING:
    from moonkey_core.redis.store import AsyncRedisStore, RedisStore

T = TypeVar("T")
F = TypeVar("F", "Flows", "AsyncFlows")


def _answering(
    lead: F, of_provider: Callable[[str], F | None], args: Sequence[Any], arguments: Mapping[str, Any]
) -> F:
    """Return the routes of the provider, of several, that answers the request in these arguments.

    Without cookies of its own, it has routes for clients that present their credential in a header only.
    """
    request = args[0] if args else arguments.get("request")
    if not isinstance(request, FlowRequest):
        return lead
    name = answering_provider(request)
    found = None if name is None else of_provider(name)
    if found is None or (request.mode == "cookies" and found._core.settings.cookies is None):
        return lead
    return found


class Flows(Runs):
    """The ready-made session routes."""

    def __init__(
        self,
        core: Core,
        exchange: SyncExchange,
        store: RedisStore | None,
        of_provider: Callable[[str], Flows | None] = lambda _: None,
    ) -> None:
        super().__init__(core, exchange)
        self._store = store
        self._of_provider = of_provider

    def _run(self, plan: Generator[Any, Any, T]) -> T:
        deadline = _clock.elapsed() + self._core.settings.timeout
        return run(plan, blocking_driver(self._exchange, self._store, deadline))

    def _owner(self, plan: object, args: Sequence[Any], arguments: Mapping[str, Any]) -> Flows:
        return _answering(self, self._of_provider, args, arguments)

    answer: Final = blocking(answer)

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
        of_provider: Callable[[str], AsyncFlows | None] = lambda _: None,
    ) -> None:
        super().__init__(core, exchange)
        self._store = store
        self._of_provider = of_provider

    async def _run(self, plan: Generator[Any, Any, T]) -> T:
        deadline = _clock.elapsed() + self._core.settings.timeout
        return await arun(plan, awaiting_driver(self._exchange, self._store, deadline))

    def _owner(self, plan: object, args: Sequence[Any], arguments: Mapping[str, Any]) -> AsyncFlows:
        return _answering(self, self._of_provider, args, arguments)

    answer: Final = awaiting(answer)

    def oauth_state(self, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
        """Bind an OAuth sign-in to this browser, as on the blocking client. There is nothing to await."""
        return oauth_state(self._core, next=next, remember_me=remember_me)

    def magic_link_state(
        self, *, email: str, next: str | None = None, remember_me: bool = False
    ) -> MagicLinkStart:
        """Bind a magic link to this browser, as on the blocking client. There is nothing to await."""
        return magic_link_state(self._core, email=email, next=next, remember_me=remember_me)
