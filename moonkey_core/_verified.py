"""What a verified credential is: the entry that the verification cache holds and that an ``Auth`` is made from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

from moonkey_core.models import Session, User, VerifiedSession, with_user_id

Body = bytes | Mapping[str, Any]
"""What the provider or a JWT says about a user and session: JSON, or its decoded form. It has been checked."""


class BodyReader(Protocol):
    """Builds models from a checked body."""

    def user(self, body: Body) -> User:
        """Return the user that the body is about."""
        ...

    def session(self, body: Body) -> Session:
        """Return the session that the body is about."""
        ...


@dataclasses.dataclass(slots=True, kw_only=True, repr=False, eq=False)
class CacheEntry:
    """A credential that was verified once, and what it proved.

    All times are Unix seconds. The user and session are built from ``body`` when they are read.

    Attributes:
        body: What the provider or the JWT said; it holds no credential.
        reader: Builds the models from ``body``.
        session_id: The session that the credential belongs to.
        user_id: The user, in the spelling that the credential proved.
        issued_at: When the credential was issued; what was revoked later does not pass. ``None``: not known.
        starts_at: The entry may be reused from here on, less the leeway.
        reusable_until: The entry may be reused until here.
        vouched_at: When the provider itself last vouched for the credential: when it was asked
            (``asked_at``), else when the JWT was issued.
        ends_at: When the session ends.
        last_accepted_at: When the credential was last found good.
        asked_at: When the provider was last asked about it; minus infinity for never.
        started_at: When the session started, if that is known.
        revocations_version: The version of the revocations that the entry has passed.
        kid: The name of the key that signed a JWT that was verified here.
        key: That key.
        key_set: The key set that this key was last seen in.
        needs_introspection: The provider has to vouch for it all the same.
        simple_user: The user of a JWT, which says no more than the id: one object serves all requests.
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

        What is dated ahead has not been vouched for yet.
        """
        return max_staleness > 0 and 0 <= now - self.vouched_at <= max_staleness
