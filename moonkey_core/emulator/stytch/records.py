"""The records of the service: users and sessions. Times are Unix nanoseconds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from moonkey_core.emulator.records import Json


def stytch_id(kind: str, environment: str) -> str:
    """Return an identifier as the service spells them, such as ``user-test-…``."""
    return f"{kind}-{environment}-{uuid.uuid4()}"


@dataclass
class StytchUser:
    """One user. The lists hold wire objects; ``totps`` also holds secrets that never leave as they are."""

    user_id: str
    created_at: int
    name: Json = field(default_factory=dict)
    emails: list[Json] = field(default_factory=list)
    phone_numbers: list[Json] = field(default_factory=list)
    providers: list[Json] = field(default_factory=list)
    totps: list[Json] = field(default_factory=list)
    roles: list[str] = field(default_factory=lambda: ["stytch_user"])
    trusted_metadata: Json = field(default_factory=dict)
    untrusted_metadata: Json = field(default_factory=dict)
    external_id: str | None = None
    is_locked: bool = False
    starts_pending: bool = False

    @property
    def status(self) -> str:
        """``pending`` while a user who was created as such has proven no contact, else ``active``."""
        verified = any(contact["verified"] for contact in (*self.emails, *self.phone_numbers))
        return "pending" if self.starts_pending and not verified else "active"


@dataclass
class StytchSession:
    """One session. ``token`` is its session token, which stays the same for its life."""

    session_id: str
    user_id: str
    token: str = field(repr=False)
    started_at: int
    last_accessed_at: int
    expires_at: int
    factors: list[Json]
    roles: list[str]
    custom_claims: Json = field(default_factory=dict)
    ip_address: str = ""
    user_agent: str = ""


@dataclass(frozen=True)
class StytchSignedIn:
    """A fresh session, as ``StytchEmulator.sign_in`` returns it.

    Attributes:
        user_id: The user's id.
        session_id: The session's id.
        session_token: The opaque token.
        session_jwt: A JWT, which lives for five minutes.
    """

    user_id: str
    session_id: str
    session_token: str = field(repr=False)
    session_jwt: str = field(repr=False)
