"""The seam between the verification of a credential and the provider that has issued it.

A provider answers an :class:`IntrospectionRequest` with an :class:`IntrospectionResult` (in the sense of RFC
7662), and reads what its JWTs claim. Both are frozen.
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
    """The question whether one credential is good.

    Attributes:
        kind: The kind of the credential.
        value: The credential.
        digest: Its keyed digest, which stands for it wherever it must not stand itself.
        minutes: To how many minutes from now its session is to be extended, on demand: the call is made for this
            request alone.
        extension: The same, by the way: the session is in use.
        session_id: The session that the credential itself names, if it names one.
        user_ids: The spellings of the user's id that the credential itself names.
        refresh: A JWT whose time is over is to be renewed.
        wants_jwt: A new JWT is welcome.
        shared_for: For how many seconds the answer to a refresh is shared.
        was_good: The credential was good before: it goes first where calls have to wait.
        max_staleness: How old a shared answer may be, in seconds; ``None``: as old as shared answers get.
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
        """To how many minutes from now the session is to be extended, if at all."""
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
    """The answer that a credential is good. All times are Unix seconds.

    Attributes:
        session_id: Its session.
        user_id: Its user, as the provider spells the id.
        started_at: When the session started, if the provider says so.
        ends_at: When the session ends.
        asked_at: When the provider was asked.
        body: The whole answer, with credentials.
        fresh_jwt: A new JWT of the same session, where one was asked for.
        extension_error: Why the session was not extended, where that was asked for and refused.
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
    """What the claims of a proven JWT say about its user and session. The times are Unix seconds."""

    user_id: str
    session_id: str
    started_at: float | None
    ends_at: float


class JwtClaims(BodyReader, Protocol):
    """Reads what the JWTs of a provider claim about a user and a session."""

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return what a payload says of its user and session.

        Args:
            payload: The payload of a JWT with a good signature, from the right issuer.
            expires_at: The JWT's own end (Unix seconds).

        Raises:
            InvalidCredentials: The payload names no user or no session, or the session has ended.
        """
        ...

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the session id, and the spellings of the user id, in a payload that nobody has proven yet."""
        ...


class Provider(BodyReader, Protocol):
    """A service that vouches for sessions."""

    @property
    def jwt_claims(self) -> JwtClaims:
        """How the claims of its JWTs are read."""
        ...

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Ask whether a credential is good.

        Raises:
            InvalidCredentials: The provider says that it is not.
            ProviderError: The provider could not be asked, or its answer is not about this credential.
        """
        ...

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return all of an answer, with its credentials, for the user under this id."""
        ...

    def without_credentials(self, body: Mapping[str, Any]) -> Body:
        """Return what a good answer says of its user and session, and no credential."""
        ...

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares and keeps the answer for the ``user_ttl`` setting."""
        ...

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two spellings of an id name one user."""
        ...
