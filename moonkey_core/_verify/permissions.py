"""The permissions that follow from the roles of a session, by a policy that its provider has to be asked for.

Only a route that asks for permissions needs them. So only for such a route is the policy loaded, and only there is
it an outage that it cannot be had.
"""

from __future__ import annotations

from collections.abc import Callable

from moonkey_core._dataclass import dataclass
from moonkey_core._plan import Plan
from moonkey_core._provider import AuthorizationChecker
from moonkey_core._verify.authenticator import Authenticator, Pending
from moonkey_core.auth import Auth, from_cookies, lacks_permissions, new_auth, peek_identity, set_permissions
from moonkey_core.errors import ProviderError
from moonkey_core.gate import Requirements
from moonkey_core.models import Session
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import PresentedCredentials, read_credentials
from moonkey_core.web.request import HeaderView, RequestInfo


@dataclass(slots=True, eq=False, repr=False)
class AwaitsPolicy(Pending):
    """A verification that was good, and waits for the policy of the roles.

    Attributes:
        session: The session that was verified.
        given: The credential of the request, where it was passed to ``begin``.
    """

    session: Session | None = None
    given: PresentedCredentials | None = None


class PermissionLoader:
    """The two halves of a verification, for a provider whose roles permit what a policy says."""

    def __init__(
        self,
        authenticator: Authenticator,
        roles: AuthorizationChecker,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        self._authenticator = authenticator
        self._roles = roles
        self._settings = settings
        self._clock = clock

    def begin(
        self,
        headers: HeaderView,
        requirements: Requirements | None,
        info: RequestInfo | None,
        now: float,
        presented: PresentedCredentials | None = None,
    ) -> Auth | Pending:
        """Authenticate a request as far as that is possible without a call, see :meth:`Authenticator.begin`."""
        found = self._authenticator.begin(headers, requirements, info, now, presented)
        if requirements is None or requirements.permissions is None or isinstance(found, Pending):
            return found
        if self._is_settled(found):
            return found
        verified = peek_identity(found)
        read = presented or read_credentials(headers, info, self._settings, check=False)
        return AwaitsPolicy(
            read,
            b"",
            b"",
            headers,
            requirements,
            info,
            session=None if verified is None else verified[1],
            given=presented,
        )

    def finish(self, pending: Pending, requirements: Requirements | None = None) -> Plan[Auth]:
        """Authenticate a request that :meth:`begin` could not decide, see :meth:`Authenticator.finish`.

        Where the permissions cannot be known, the identity is unavailable.
        """
        wanted = pending.requirements if requirements is None else requirements
        if isinstance(pending, AwaitsPolicy):
            auth = yield from self._finish_with_policy(pending, wanted)
        else:
            auth = yield from self._authenticator.finish(pending, requirements)
        if wanted.permissions is None or self._is_settled(auth):
            return auth
        verified = peek_identity(auth)
        assert verified is not None  # it lacks permissions
        try:
            set_permissions(auth, (yield from self._roles.load_grants(verified[1])))
        except ProviderError as error:
            return new_auth(error=error, from_cookies=from_cookies(auth))
        return auth

    def _finish_with_policy(self, pending: AwaitsPolicy, wanted: Requirements) -> Plan[Auth]:
        """Load the policy, then verify anew: the session may have been revoked meanwhile."""
        if pending.session is not None and wanted.permissions is not None:
            try:
                yield from self._roles.load_grants(pending.session)
            except ProviderError as error:
                return new_auth(error=error, from_cookies=pending.presented.from_cookies)
        found = self._authenticator.begin(pending.headers, wanted, pending.info, self._clock(), pending.given)
        return (yield from self._authenticator.finish(found)) if isinstance(found, Pending) else found

    def _is_settled(self, auth: Auth) -> bool:
        """Return whether nothing has to be loaded; set the permissions where they are known."""
        if not lacks_permissions(auth):
            return True
        verified = peek_identity(auth)
        grants = None if verified is None else self._roles.known_grants(verified[1])
        if grants is None:
            return False
        set_permissions(auth, grants)
        return True
