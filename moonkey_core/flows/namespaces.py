"""The ready-made routes, as methods of the clients; apart, as many apps have no use for them."""

from __future__ import annotations

from moonkey_core._operations.namespaces import Awaits, Runs, awaiting, blocking
from moonkey_core.flows import OAuthStart
from moonkey_core.flows.dispatch import answer
from moonkey_core.flows.oauth import oauth_state


class Flows(Runs):
    """The ready-made session routes."""

    answer = blocking(answer)

    def oauth_state(self, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
        """Bind an OAuth sign-in that is about to begin to this browser, for ten minutes.

        ``next`` is the path of this site where the browser is to end up. Asks nobody. Raises
        ``ConfigurationError`` where cookies are not configured.
        """
        return oauth_state(self._core, next=next, remember_me=remember_me)


class AsyncFlows(Awaits):
    """The ready-made session routes."""

    answer = awaiting(answer)

    def oauth_state(self, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
        """The same as on the blocking client; nothing is awaited."""
        return oauth_state(self._core, next=next, remember_me=remember_me)
