"""The records of a B2B project: organizations and their members. Times are Unix nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from moonkey_core.emulator.records import Json


@dataclass
class StytchOrganization:
    """One organization. ``roles`` are those of its own RBAC policy."""

    organization_id: str
    name: str
    slug: str
    created_at: int
    external_id: str | None = None
    trusted_metadata: Json = field(default_factory=dict)
    roles: list[Json] = field(default_factory=list)


@dataclass
class StytchMember:
    """One member, who belongs to one organization."""

    member_id: str
    organization_id: str
    email_address: str
    created_at: int
    name: str = ""
    status: str = "active"
    email_verified: bool = True
    phone_number: str = ""
    totp_id: str = ""
    roles: list[str] = field(default_factory=lambda: ["stytch_member"])
    external_id: str | None = None
    trusted_metadata: Json = field(default_factory=dict)
    untrusted_metadata: Json = field(default_factory=dict)


@dataclass(frozen=True)
class MemberSignedIn:
    """A fresh session of a member, as ``StytchB2BEmulator.sign_in`` returns it.

    Attributes:
        member_id: The member's id.
        organization_id: The id of the organization.
        session_id: The id of the member session.
        session_token: The opaque token.
        session_jwt: A JWT, which lives for five minutes.
    """

    member_id: str
    organization_id: str
    session_id: str
    session_token: str = field(repr=False)
    session_jwt: str = field(repr=False)

    @property
    def user_id(self) -> str:
        """The member's id, which is that of the user in an app."""
        return self.member_id
