"""What may go wrong with the provider, by its usual names. All of it is over at the end of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moonkey_core.errors import ConfigurationError

CLOSED_REDIS = "redis://127.0.0.1:9"
"""An address at which no Redis is."""


class Faults:
    """The faults of a test: each method begins one, and ``clear`` ends all.

    Each takes ``provider``, the name of the provider that fails; by default the first one of the app.
    """

    def __init__(self, kit: Any) -> None:
        self._kit = kit
        self._changed: list[Any] = []
        self._lost_feed = False

    def _emulator(self, provider: str | None) -> Any:
        emulator = self._kit.emulator(provider)
        self._changed.append(emulator)
        return emulator

    def slow(self, seconds: float, *, provider: str | None = None, times: int | None = None) -> None:
        """Let each answer take so many seconds."""
        self._emulator(provider).fault(delay=seconds, times=times)

    def down(self, *, provider: str | None = None, times: int | None = None) -> None:
        """Close each connection without an answer."""
        self._emulator(provider).fault(reset=True, times=times)

    def failing(self, status: int = 503, *, provider: str | None = None, times: int | None = None) -> None:
        """Answer with an error of the server."""
        self._emulator(provider).fault(status=status, times=times)

    def rate_limited(
        self, retry_after: float = 30, *, provider: str | None = None, times: int | None = None
    ) -> None:
        """Answer with 429, and ``Retry-After`` in seconds (RFC 6585 section 4)."""
        headers = {"retry-after": str(int(retry_after))}
        self._emulator(provider).fault(status=429, headers=headers, times=times)

    def garbage(
        self, body: str | bytes = "<html>no JSON</html>", *, provider: str | None = None, times: int | None = None
    ) -> None:
        """Answer with 200 and what is no answer."""
        self._emulator(provider).fault(status=200, body=body, times=times)

    def rotate_keys(self, *, keep_old: bool = False, provider: str | None = None) -> None:
        """Sign by a new key from now on. Without ``keep_old`` the keys of earlier JWTs are not published."""
        self._emulator(provider).rotate_keys(keep_old)

    def clock(self, ahead: float, *, provider: str | None = None) -> None:
        """Let the provider's clock go so many seconds ahead of the app's, or, negative, behind it."""
        self._emulator(provider).set_clock(ahead)

    def revoked(self, client: Any, *, told: bool = False) -> None:
        """End the session of a signed-in client at the provider.

        Args:
            client: The test client.
            told: Whether the app learns of it at once. Else a JWT is accepted for as long as the app's settings
                say, as in production.
        """
        if told:
            client.moonkey.revoke()
        else:
            from moonkey_core.testing import sign_ins

            sign_ins.revoke(client.moonkey._service, client.moonkey._issued)

    def feed_lost(self) -> None:
        """Lose the revocation feed: the app runs as with a Redis that cannot be reached. Opens sockets.

        Raises:
            ConfigurationError: The app verifies nothing by itself, so that it has no use for a feed.
        """
        self._kit.emulator()
        if not any(one.client.settings.jwt_issuer or one.client.settings.provider for one in self._kit._adopted):
            raise ConfigurationError(
                "This app verifies no JWT by itself (jwt_issuer is not set): it needs no feed."
            )
        from moonkey_core.settings.fields import Secret

        self._lost_feed = True
        self._kit.renew(redis_url=Secret(CLOSED_REDIS))

    def clear(self) -> None:
        """End all faults. The clients under test forget what they have learnt from them."""
        changed, self._changed = self._changed, []
        for emulator in changed:
            emulator.clear_faults()
            emulator.set_clock(0)
        if self._kit._adopted and (changed or self._lost_feed):
            self._lost_feed = False
            self._kit.renew(redis_url=None)

    @contextmanager
    def only_here(self) -> Iterator[Faults]:
        """End all faults at the end of a ``with`` block."""
        try:
            yield self
        finally:
            self.clear()
