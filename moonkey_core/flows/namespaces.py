"""``client.flows``: the ready-made routes as methods of the clients.

The clients import this module on first use, as many apps mount no routes.
"""

from __future__ import annotations

from typing import Final

from moonkey_core._operations.namespaces import Awaits, Runs, awaiting, blocking
from moonkey_core.flows import OAuthStart
from moonkey_core.flows.dispatch import answer
from moonkey_core.flows.oauth import oauth_state


class Flows(Runs):
    """The ready-made session routes."""

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


class AsyncFlows(Awaits):
    """The ready-made session routes."""

    answer: Final = awaiting(answer)

    def oauth_state(self, *, next: str | None = None, remember_me: bool = False) -> OAuthStart:
        """Bind an OAuth sign-in to this browser, as on the blocking client. There is nothing to await."""
        return oauth_state(self._core, next=next, remember_me=remember_me)
