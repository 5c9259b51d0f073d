"""The control interface of a B2B project, as Python methods. ``b2b_http`` offers the same over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.fields import age_of, clean_email
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import sessions, tokens
from moonkey_core.emulator.stytch.b2b_records import MemberSignedIn, StytchMember, StytchOrganization
from moonkey_core.emulator.stytch.b2b_state import ORGANIZATION_CLAIM, B2BState
from moonkey_core.emulator.stytch.control import DEFAULT_MINUTES, DEMO_EMAIL, ProjectControl, wanted_factors
from moonkey_core.emulator.stytch.factors import CONTACTS, made_factor
from moonkey_core.emulator.stytch.records import StytchSession, StytchUser
from moonkey_core.emulator.stytch.times import nanoseconds

DEMO_ORGANIZATION = "demo"
CONSUMER = "consumer"
"""The shape of a JWT like a consumer's: without the organization."""


class StytchB2BControl(ProjectControl):
    """The methods that read the state of a B2B project and change its behaviour, from any thread."""

    def __init__(self, state: B2BState) -> None:
        super().__init__(state)
        self._state = state

    @property
    def jwks_url(self) -> str:
        """The address of the key set."""
        return f"{self._state.base_url}/v1/b2b/sessions/jwks/{self.project_id}"

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the environment of an app that uses the project."""
        return {
            "MOONKEY_PROVIDER": "stytch_b2b",
            "MOONKEY_STYTCH_B2B_PROJECT_ID": self.project_id,
            "MOONKEY_STYTCH_B2B_SECRET": self.secret,
            "MOONKEY_STYTCH_B2B_BASE_URL": self._state.base_url,
        }

    def sign_in(
        self,
        email: str | None = None,
        organization: str = DEMO_ORGANIZATION,
        member_id: str | None = None,
        minutes: float = DEFAULT_MINUTES,
        factors: Sequence[str | Json] | None = None,
        claims: Mapping[str, Any] | None = None,
        roles: Sequence[str] | None = None,
        age: float = 0,
        factor_age: float | None = None,
    ) -> MemberSignedIn:
        """Start a session without a login.

        Args:
            email: The address of the member, who is made if need be. The default is ``demo@example.com``.
            organization: The slug of the organization, which is made if need be.
            member_id: The id of the member instead. The member must exist.
            minutes: The session's lifetime, above 0.
            factors: Names such as ``"totp"``, ``"sms"`` or ``"impersonated"``, or whole factor objects. The
                default is one email code.
            claims: The session's custom claims; none by default.
            roles: The roles that the member is given beside ``stytch_member``.
            age: How many seconds ago it began, as a part of its lifetime. Its JWT is issued now.
            factor_age: How many seconds ago the factors that are named were verified; by default when it began.

        Raises:
            ValueError: A value is out of range, or there is no member with this id.
        """
        with self._state.lock:
            session = self._session(
                email, organization, member_id, minutes, factors, claims, roles, age, factor_age
            )
            jwt, owner = sessions.issue_jwt(self._state, session), self._state.organization_of(session)
            return MemberSignedIn(session.user_id, owner.organization_id, session.session_id, session.token, jwt)

    def _session(
        self,
        email: str | None,
        organization: str,
        member_id: str | None,
        minutes: float,
        factors: Sequence[str | Json] | None,
        claims: Mapping[str, Any] | None,
        roles: Sequence[str] | None,
        age: float = 0,
        factor_age: float | None = None,
    ) -> StytchSession:
        if email is not None and member_id is not None:
            raise ValueError("name the member by email or by member_id, not by both")
        wanted = wanted_factors(minutes, factors)
        member = self._member(email, organization, member_id)
        if roles is not None:
            self._give(member, roles)
        verified_at = self._state.time() - nanoseconds(age_of(age if factor_age is None else factor_age))
        made = [self._factor(member, one, verified_at) if isinstance(one, str) else one for one in wanted]
        return sessions.start(self._state, member.member_id, minutes, made, member.roles, claims, age=age_of(age))

    def _member(self, email: str | None, organization: str, member_id: str | None) -> StytchMember:
        if member_id is not None:
            found = self._state.members.get(member_id)
            if found is None:
                raise ValueError("no member has this member_id")
            return found
        owner = self._state.organization_named(organization)
        return self._state.member_at(owner, clean_email(email or DEMO_EMAIL))

    def _give(self, member: StytchMember, roles: Sequence[str]) -> None:
        member.roles = ["stytch_member", *(one for one in roles if one != "stytch_member")]
        for session in self._state.of_user(member.member_id):
            session.roles = member.roles

    def _factor(self, member: StytchMember, name: str, verified_at: int) -> Json:
        user = StytchUser(member.member_id, member.created_at)
        if name in ("totp", "recovery_code"):
            member.totp_id = member.totp_id or self._state.new_id("member-totp")
            user.totps = [{"totp_id": member.totp_id}]
        contact: Json | None = None
        if CONTACTS.get(name) == "email":
            contact = {"email_id": self._state.new_id("email"), "email": member.email_address}
        elif name in CONTACTS:
            member.phone_number = member.phone_number or "+12025550100"
            contact = {"phone_id": self._state.new_id("phone-number"), "phone_number": member.phone_number}
        return made_factor(name, user, contact, verified_at)

    def token(
        self,
        shape: str = "session",
        *,
        email: str = DEMO_EMAIL,
        organization: str = DEMO_ORGANIZATION,
        session_id: str | None = None,
        algorithm: str = "RS256",
        life: float | None = None,
        age: float = 0,
        header: Mapping[str, Any] | None = None,
        key: str = "current",
        drop: Iterable[str] = (),
        session: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Return a JWT with arbitrary content: a session's, or one that only looks like it.

        The arguments are those of ``StytchEmulator.token``, and ``organization``, the slug of the member's.

        Raises:
            ValueError: There is no such shape, algorithm, key or session.
        """
        if shape == CONSUMER:
            shape, drop = "session", [*drop, ORGANIZATION_CLAIM]
        changes = {**(claims or {}), **more}
        wanted = tokens.Wish(shape, algorithm, life, age, header or {}, key, tuple(drop), session or {}, changes)
        return self._signed_about(
            session_id, wanted, lambda: self._session(email, organization, None, DEFAULT_MINUTES, None, None, None)
        )

    def shapes(self) -> tuple[str, ...]:
        """Return the names of the shapes that ``token`` makes."""
        return (*(one for one in tokens.SHAPES if one != "b2b"), CONSUMER)

    def revoke(self, session_id: str | None = None, *, member_id: str | None = None) -> None:
        """End a session, or all of a member, as if revoked elsewhere. One that does not exist is no error.

        Raises:
            ValueError: Not exactly one of them is named.
        """
        if (session_id is None) == (member_id is None):
            raise ValueError("name a session_id or a member_id")
        self._end(session_id, member_id)

    def set_roles(self, member_id: str, roles: Sequence[str]) -> None:
        """Give a member these roles beside ``stytch_member``; their sessions have them at once.

        Raises:
            ValueError: There is no member with this id.
        """
        with self._state.lock:
            self._give(self._member(None, "", member_id), list(roles))

    def member(self, member_id: str, **fields: Any) -> None:
        """Change fields of a member's record, such as ``email_verified`` or ``status``.

        Raises:
            ValueError: There is no member with this id, or no such field.
        """
        with self._state.lock:
            found = self._member(None, "", member_id)
            if not fields.keys() <= {*vars(found)} - {"member_id", "organization_id"}:
                raise ValueError("a member has no such field")
            vars(found).update(fields)

    def organization_policy(self, organization: str, roles: Sequence[Mapping[str, Any]] | None = None) -> Json:
        """Replace the roles of an organization's own RBAC policy, if some are given, and return that policy.

        Raises:
            ValueError: There is no such organization.
        """
        with self._state.lock:
            found = self._organization(organization)
            if roles is not None:
                found.roles = [dict(one) for one in roles]
            return {"roles": found.roles}

    def organization_policies(self, enabled: bool = True) -> None:
        """Choose whether organizations may have policies of their own, which a workspace has to be enabled for."""
        with self._state.lock:
            self._state.has_organization_policies = enabled

    def _organization(self, name: str) -> StytchOrganization:
        try:
            return self._state.organization(name)
        except ApiError:
            raise ValueError("there is no such organization") from None
