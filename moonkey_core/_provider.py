"""The interface between the verification of a credential and the provider that has issued it.

A provider answers an :class:`IntrospectionRequest` with an :class:`IntrospectionResult` (in the sense of RFC
7662), and reads the claims of its JWTs. Both are frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from moonkey_core._plan import Plan
from moonkey_core._verified import Body, BodyReader
from moonkey_core.errors import MoonKeyError
from moonkey_core.lag import REFRESH_SECONDS
from moonkey_core.models import User, VerifiedSession
from moonkey_core.web.credentials import CredentialKind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IntrospectionRequest:
    """A request to the provider to validate one credential.

    Attributes:
        kind: The kind of the credential.
        value: The credential.
        digest: Its keyed digest, for keys and names, in which no credential may occur.
        minutes: The new lifetime of its session in minutes from now, where the app demands an extension. The call
            is made for this request alone.
        extension: The same, where the session is extended because it is in use.
        session_id: The session that the credential itself names, if any.
        user_ids: The spellings of the user's id that the credential itself names.
        refresh: Whether the credential is an expired JWT that is to be refreshed.
        wants_jwt: Whether a new JWT is of use.
        shared_for: The seconds for which the result of a refresh is shared.
        was_good: Whether the credential was valid before. Its call then goes first where calls have to wait.
        max_staleness: The greatest age of a shared result, in seconds; ``None``: whatever sharing allows.
    """

    kind: CredentialKind
    value: str = field(repr=False)
    digest: bytes = field(repr=False)
    minutes: int | None = None
    extension: int | None = None
    session_id: str | None = None
    user_ids: tuple[str, ...] = ()
    refresh: bool = False
    wants_jwt: bool = False
    shared_for: float = REFRESH_SECONDS
    was_good: bool = False
    max_staleness: float | None = None

    @property
    def extends_by(self) -> int | None:
        """The new lifetime of the session in minutes from now; ``None`` where it is not extended."""
        return self.extension if self.minutes is None else self.minutes

    @property
    def coalesce_key(self) -> str:
        """The name under which requests with the same credential share one call."""
        return introspection_key(self.digest)


def introspection_key(digest: bytes) -> str:
    """Return the name under which requests with the credential of this digest share one call."""
    return f"verify:{digest.hex()}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IntrospectionResult:
    """The provider's reply that a credential is valid. All times are Unix seconds.

    Attributes:
        session_id: Its session.
        user_id: Its user, in the provider's spelling.
        started_at: When the session started; ``None`` where the reply does not contain it.
        ends_at: When the session ends.
        asked_at: When the provider was called.
        body: The whole reply, with credentials.
        fresh_jwt: A new JWT of the same session, where one was requested.
        extension_error: The provider's refusal to extend the session, where an extension was requested.
    """

    session_id: str
    user_id: str
    started_at: float | None
    ends_at: float
    asked_at: float
    body: Mapping[str, Any] = field(repr=False)
    fresh_jwt: str | None = field(default=None, repr=False)
    extension_error: MoonKeyError | None = None


class SessionClaims(NamedTuple):
    """The user and session that the claims of a verified JWT name. The times are Unix seconds."""

    user_id: str
    session_id: str
    started_at: float | None
    ends_at: float


class JwtClaims(BodyReader, Protocol):
    """The reader of the claims of a provider's JWTs about a user and a session."""

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return the user and session that a payload names.

        Args:
            payload: The payload of a JWT with a valid signature, from the right issuer.
            expires_at: The JWT's ``exp`` (Unix seconds).

        Raises:
            InvalidCredentials: The payload names no user or no session, or the session has ended.
        """
        ...

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the session id, and the spellings of the user id, in a payload that is not verified yet."""
        ...


class Provider(BodyReader, Protocol):
    """A service that issues sessions and validates their credentials."""

    @property
    def jwt_claims(self) -> JwtClaims:
        """The reader of the claims of its JWTs."""
        ...

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the provider to validate a credential.

        Raises:
            InvalidCredentials: The provider refuses the credential.
            ProviderError: The provider cannot be reached, or its reply is not about this credential.
        """
        ...

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return the whole of a result, with its credentials, for the user under this id."""
        ...

    def without_credentials(self, body: Mapping[str, Any]) -> Body:
        """Return the part of a reply that describes its user and session, without any credential."""
        ...

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares and keeps the result for the time of the ``user_ttl`` setting."""
        ...

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two spellings of an id name the same user."""
        ...
