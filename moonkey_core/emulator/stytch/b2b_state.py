"""The state of a B2B project: its organizations and their members, beside what every project has."""

from __future__ import annotations

from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import b2b_wire
from moonkey_core.emulator.stytch.b2b_records import StytchMember, StytchOrganization
from moonkey_core.emulator.stytch.project import SESSION_CLAIM, Project
from moonkey_core.emulator.stytch.records import StytchSession

ORGANIZATION_CLAIM = "https://stytch.com/organization"
MAX_MEMBERS = 10_000


def member_not_found() -> ApiError:
    """Return the answer to an unknown member."""
    return ApiError(404, "member_not_found", "Member could not be found.")


def organization_not_found() -> ApiError:
    """Return the answer to an unknown organization."""
    return ApiError(404, "organization_not_found", "Organization could not be found.")


class B2BState(Project):
    """The memory of a B2B project. Hold ``lock`` while using it."""

    def _begin(self) -> None:
        super()._begin()
        self.organizations: dict[str, StytchOrganization] = {}
        self.members: dict[str, StytchMember] = {}
        self.has_organization_policies: bool = True

    def usual_policy(self) -> Json:
        """Return a policy with three roles over one resource."""
        return b2b_wire.usual_policy()

    def session_body(self, session: StytchSession) -> Json:
        """Return the session object of a reply."""
        return self.changed(b2b_wire.member_session_body(session, self.organization_of(session)))

    def jwt_claims(self, session: StytchSession) -> Json:
        """Return the session claim, that of the organization, and the custom claims."""
        return {
            **session.custom_claims,
            SESSION_CLAIM: self.changed(b2b_wire.session_claim(session)),
            ORGANIZATION_CLAIM: b2b_wire.organization_claim(self.organization_of(session)),
        }

    def policy_of(self, session: StytchSession) -> Json:
        """Return the policy of the project, with the roles of the organization added to its own."""
        return {**self.policy, "roles": [*self.policy["roles"], *self.organization_of(session).roles]}

    def has_user(self, user_id: str) -> bool:
        """Return whether there is a member with this id."""
        return user_id in self.members

    def organization_of(self, session: StytchSession) -> StytchOrganization:
        """Return the organization that a session is for."""
        return self.organizations[self.members[session.user_id].organization_id]

    def organization(self, name: str) -> StytchOrganization:
        """Return an organization by its id, its slug or its external id.

        Raises:
            ApiError: There is none.
        """
        for one in self.organizations.values():
            if name and name in (one.organization_id, one.slug, one.external_id):
                return one
        raise organization_not_found()

    def organization_named(self, slug: str) -> StytchOrganization:
        """Return the organization with this slug, which is made if need be."""
        found = next((one for one in self.organizations.values() if one.slug == slug), None)
        if found is None:
            found = StytchOrganization(self.new_id("organization"), slug.capitalize(), slug, self.time())
            self.organizations[found.organization_id] = found
        return found

    def member(self, name: str, organization_id: str | None = None) -> StytchMember:
        """Return a member by id or external id; one of this organization, if it is given.

        Raises:
            ApiError: There is none.
        """
        for one in self.members.values():
            if (
                name
                and name in (one.member_id, one.external_id)
                and organization_id in (None, one.organization_id)
            ):
                return one
        raise member_not_found()

    def member_at(self, organization: StytchOrganization, email: str) -> StytchMember:
        """Return the member of an organization with this address, who is made if need be."""
        for one in self.members.values():
            if (one.organization_id, one.email_address) == (organization.organization_id, email):
                return one
        made = StytchMember(self.new_id("member"), organization.organization_id, email, self.time())
        self.members[made.member_id] = made
        if len(self.members) > MAX_MEMBERS:
            self.drop_member(next(iter(self.members)))
        return made

    def drop_member(self, member_id: str) -> None:
        """Forget a member and all of their sessions."""
        self.end_all(member_id)
        del self.members[member_id]
