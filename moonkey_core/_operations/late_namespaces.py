"""The namespaces of a client, such as ``client.sessions``, each made when it is first used.

Most processes verify requests only. They do not load the operations of signing in.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from moonkey_core._operations.running import Awaits, Runs

if TYPE_CHECKING:
    from moonkey_core._operations import namespaces as m
    from moonkey_core.redis.store import AsyncRedisStore, RedisStore


class HasNamespaces(Runs):
    """A blocking client, as far as it has namespaces."""

    _store: RedisStore | None

    @cached_property
    def sessions(self) -> m.Sessions:
        """Sessions: verify, list, revoke, rotate."""
        from moonkey_core._operations.namespaces import Sessions

        return Sessions(self._core, self._exchange)

    @cached_property
    def otps(self) -> m.Otps:
        """One-time passcodes by e-mail or text message."""
        from moonkey_core._operations.namespaces import Otps

        return Otps(self._core, self._exchange)

    @cached_property
    def magic_links(self) -> m.MagicLinks:
        """Magic links."""
        from moonkey_core._operations.namespaces import MagicLinks

        return MagicLinks(self._core, self._exchange)

    @cached_property
    def oauth(self) -> m.OAuth:
        """Sign-in with another provider."""
        from moonkey_core._operations.namespaces import OAuth

        return OAuth(self._core, self._exchange)

    @cached_property
    def totps(self) -> m.Totps:
        """Codes of authenticator apps."""
        from moonkey_core._operations.namespaces import Totps

        return Totps(self._core, self._exchange)

    @cached_property
    def wallets(self) -> m.Wallets:
        """Signatures of wallets."""
        from moonkey_core._operations.namespaces import Wallets

        return Wallets(self._core, self._exchange)

    @cached_property
    def passwords(self) -> m.Passwords:
        """Passwords, which are set and verified by the provider's own SDK: ``NotSupported`` here."""
        from moonkey_core._operations.namespaces import Passwords

        return Passwords(self._core, self._exchange)

    @cached_property
    def passkeys(self) -> m.Passkeys:
        """Passkeys (WebAuthn), which are begun by the provider's own SDK: ``NotSupported`` here."""
        from moonkey_core._operations.namespaces import Passkeys

        return Passkeys(self._core, self._exchange)

    @cached_property
    def biometrics(self) -> m.Biometrics:
        """Biometrics of a device, which are begun by the provider's own SDK: ``NotSupported`` here."""
        from moonkey_core._operations.namespaces import Biometrics

        return Biometrics(self._core, self._exchange)

    @cached_property
    def users(self) -> m.Users:
        """Users."""
        from moonkey_core._operations.namespaces import Users

        return Users(self._core, self._exchange)

    @cached_property
    def mfa(self) -> m.Mfa:
        """Second factors that users have verified, as far as the app has recorded that."""
        from moonkey_core._operations.namespaces import Mfa

        return Mfa(self._core, self._exchange, self._store)


class HasAsyncNamespaces(Awaits):
    """An asynchronous client, as far as it has namespaces."""

    _store: AsyncRedisStore | None

    @cached_property
    def sessions(self) -> m.AsyncSessions:
        """Sessions: verify, list, revoke, rotate."""
        from moonkey_core._operations.namespaces import AsyncSessions

        return AsyncSessions(self._core, self._exchange)

    @cached_property
    def otps(self) -> m.AsyncOtps:
        """One-time passcodes by e-mail or text message."""
        from moonkey_core._operations.namespaces import AsyncOtps

        return AsyncOtps(self._core, self._exchange)

    @cached_property
    def magic_links(self) -> m.AsyncMagicLinks:
        """Magic links."""
        from moonkey_core._operations.namespaces import AsyncMagicLinks

        return AsyncMagicLinks(self._core, self._exchange)

    @cached_property
    def oauth(self) -> m.AsyncOAuth:
        """Sign-in with another provider."""
        from moonkey_core._operations.namespaces import AsyncOAuth

        return AsyncOAuth(self._core, self._exchange)

    @cached_property
    def totps(self) -> m.AsyncTotps:
        """Codes of authenticator apps."""
        from moonkey_core._operations.namespaces import AsyncTotps

        return AsyncTotps(self._core, self._exchange)

    @cached_property
    def wallets(self) -> m.AsyncWallets:
        """Signatures of wallets."""
        from moonkey_core._operations.namespaces import AsyncWallets

        return AsyncWallets(self._core, self._exchange)

    @cached_property
    def passwords(self) -> m.AsyncPasswords:
        """Passwords, which are set and verified by the provider's own SDK: ``NotSupported`` here."""
        from moonkey_core._operations.namespaces import AsyncPasswords

        return AsyncPasswords(self._core, self._exchange)

    @cached_property
    def passkeys(self) -> m.AsyncPasskeys:
        """Passkeys (WebAuthn), which are begun by the provider's own SDK: ``NotSupported`` here."""
        from moonkey_core._operations.namespaces import AsyncPasskeys

        return AsyncPasskeys(self._core, self._exchange)

    @cached_property
    def biometrics(self) -> m.AsyncBiometrics:
        """Biometrics of a device, which are begun by the provider's own SDK: ``NotSupported`` here."""
        from moonkey_core._operations.namespaces import AsyncBiometrics

        return AsyncBiometrics(self._core, self._exchange)

    @cached_property
    def users(self) -> m.AsyncUsers:
        """Users."""
        from moonkey_core._operations.namespaces import AsyncUsers

        return AsyncUsers(self._core, self._exchange)

    @cached_property
    def mfa(self) -> m.AsyncMfa:
        """Second factors that users have verified, as far as the app has recorded that."""
        from moonkey_core._operations.namespaces import AsyncMfa

        return AsyncMfa(self._core, self._exchange, self._store)


NAMESPACES = tuple(name for name, one in vars(HasNamespaces).items() if isinstance(one, cached_property))
"""The names of the namespaces that either client has."""
