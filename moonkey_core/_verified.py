"""The record of a verified credential: the cache keeps it, and an ``Auth`` is made from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

from moonkey_core.models import Session, User, VerifiedSession, with_user_id

Body = bytes | Mapping[str, Any]
"""The user and session in a provider's reply or a JWT: JSON, or its decoded form. It has been checked."""


class BodyReader(Protocol):
    """The builder of models from a checked body."""

    def user(self, body: Body) -> User:
        """Return the user in the body."""
        ...

    def session(self, body: Body) -> Session:
        """Return the session in the body."""
        ...


@dataclasses.dataclass(slots=True, kw_only=True, repr=False, eq=False)
class CacheEntry:
    """The user and session of a credential that was verified once, and how long it may be reused.

    All times are Unix seconds. The user and session are built from ``body`` when they are read.

    Attributes:
        body: The provider's reply or the payload of the JWT; it holds no credential.
        reader: Builds the models from ``body``.
        session_id: The session that the credential belongs to.
        user_id: The user, in the spelling that the credential proved.
        issued_at: When the credential was issued. A revocation applies to what was issued up to its own time.
            ``None`` where unknown.
        starts_at: The time from which on the entry may be reused, less the leeway.
        reusable_until: The time up to which the entry may be reused.
        vouched_at: When the provider itself last vouched for the credential: its last call (``asked_at``), else
            the time when the JWT was issued.
        ends_at: When the session ends.
        last_accepted_at: When the credential was last accepted.
        asked_at: When the provider was last called about it; minus infinity where it never was.
        started_at: When the session started; ``None`` where unknown.
        revocations_version: The version of the revocations that the entry was last checked against.
        kid: The key id of a JWT that was verified here.
        key: The key that verified it.
        key_set: The key set that this key was last found in.
        needs_introspection: Whether the provider has to confirm the credential on each use.
        simple_user: The user of a JWT, which has no field but the id. All requests share the object.
    """

    body: Body
    reader: BodyReader
    session_id: str
    user_id: str
    issued_at: float | None
    starts_at: float
    reusable_until: float
    vouched_at: float
    ends_at: float
    last_accepted_at: float
    asked_at: float = -math.inf
    started_at: float | None = None
    revocations_version: int = -1
    kid: str | None = None
    key: object = None
    key_set: object = None
    needs_introspection: bool = False
    simple_user: User | None = None

    def user(self) -> User:
        """Return the user, under the id that the credential proved."""
        if self.simple_user is not None:
            return self.simple_user
        user = with_user_id(self.reader.user(self.body), self.user_id)
        if self.key is not None:
            self.simple_user = user
        return user

    def session(self) -> Session:
        """Return the session."""
        return self.reader.session(self.body)

    def verified_session(self) -> VerifiedSession:
        """Return the user and the session."""
        return VerifiedSession(self.user(), self.session())

    def is_fresh(self, now: float, max_staleness: float) -> bool:
        """Return whether the provider vouched for it at most ``max_staleness`` seconds before ``now``.

        A credential that is dated ahead of ``now`` has not been vouched for yet.
        """
        return max_staleness > 0 and 0 <= now - self.vouched_at <= max_staleness
