"""The provider Stytch for business apps: members of organizations (B2B)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from moonkey_core._plan import Fetch, Plan
from moonkey_core._provider import Capability, IntrospectionRequest, IntrospectionResult
from moonkey_core._verified import Body, decoded
from moonkey_core.errors import InvalidCredentials, PermissionDenied, ProviderUnavailable
from moonkey_core.models import AuthorizationCheck, Session, User
from moonkey_core.providers.stytch.b2b_wire import (
    MEMBERS,
    ORGANIZATION,
    kept_organization,
    organization_members,
    organization_of,
    parse_member,
    with_organization,
)
from moonkey_core.providers.stytch.claims import ORGANIZATION_CLAIM, SESSION_CLAIM, StytchClaims
from moonkey_core.providers.stytch.provider import JWT_MAX_AGE, StytchProvider
from moonkey_core.providers.stytch.rbac import OrganizationPolicies, Policy, policy_call
from moonkey_core.providers.stytch.replies import StytchError, refused_call
from moonkey_core.providers.stytch.wire import SessionFacts
from moonkey_core.settings import Secret
from moonkey_core.settings.arguments import suggests_arguments

_MEMBER_SECONDS = 600.0
"""For how long the organization of a member is remembered: a member belongs to one and the same."""


class MemberClaims(StytchClaims):
    """The reader of the session JWTs of members. The claim with the organization tells them from a consumer's."""

    members = MEMBERS

    def check_organization(self, payload: Mapping[str, Any]) -> None:
        """Check that it is the session JWT of a member of an organization.

        Raises:
            InvalidCredentials: It is not, or its organization cannot be read.
        """
        if ORGANIZATION_CLAIM not in payload:
            raise InvalidCredentials(
                reason="token_kind",
                evidence=f"It has no claim {ORGANIZATION_CLAIM}: it is of a consumer, and this provider is for "
                "members of organizations (B2B).",
            )
        try:
            organization_members(payload[ORGANIZATION_CLAIM])
        except ValueError:
            raise InvalidCredentials(
                reason="jwt_claims", evidence=f"Its claim {ORGANIZATION_CLAIM} names no organization."
            ) from None

    def _session_of(self, payload: Mapping[str, Any], expires_at: float) -> Mapping[str, Any]:
        """Return the session of a payload in the form of a reply, with its organization."""
        found = super()._session_of(payload, expires_at)
        return {**found, **organization_members(payload.get(ORGANIZATION_CLAIM))}


class StytchB2B(StytchProvider):
    """Stytch for business apps: members, each of one organization, with sessions of their own.

    A session is one of a member in an organization: ``session.organization`` is its id. There are no sign-in
    pages, as members sign in with Stytch's own front ends.

    >>> StytchB2B("project-test-1", "secret-test-1").scopes
    mappingproxy({'stytch.com/project-test-1': 'stytch_b2b:project-test-1'})
    """

    members = MEMBERS
    sessions_path = "/v1/b2b/sessions"
    policy_path = "/v1/b2b/rbac/policy"
    capabilities: frozenset[Capability] = frozenset((
        "introspect", "refresh_jwt", "extend", "list_sessions", "revoke_session", "revoke_user", "get_user",
        "custom_claims", "authorization_check",
    ))  # fmt: skip

    @suggests_arguments
    def __init__(
        self,
        project_id: str,
        secret: str | Secret,
        *,
        base_url: str | None = None,
        custom_base_url: str | None = None,
        keys: Mapping[str, object] | str | None = None,
        jwks_url: str | None = None,
        leeway: float | None = None,
        jwt_max_age: float = JWT_MAX_AGE,
        organization_policies: bool = True,
        hydrate: Literal["session", "tokens"] = "session",
        cookies_by: Literal["server", "browser"] = "server",
        name: str = "stytch_b2b",
    ) -> None:
        """Make a provider. No network call is made before the first credential.

        Args:
            project_id: The id of the project. One that begins with ``project-live-`` is of the live environment.
            secret: A secret of the project.
            base_url: The address of the API, in the place of that of the environment.
            custom_base_url: The custom domain of the project: calls go there, and JWTs may name it as issuer.
            keys: A fixed key set (JWK set, as a mapping or JSON) or public key (PEM). Nothing is fetched.
            jwks_url: The address of the key set, in the place of the project's.
            leeway: The clock difference that is allowed, in seconds; by default the client's setting.
            jwt_max_age: The greatest age of a JWT that is accepted without asking, in seconds.
            organization_policies: Whether organizations may have roles of their own, beside those of the project.
            hydrate: What a front end gets of its session: ``session``, or with ``tokens`` the credentials too, for
                one that runs Stytch's own SDK.
            cookies_by: Who sets the session's cookies: ``server``, this app, or ``browser``, Stytch's own SDK.
            name: The name of the provider in events, metrics and errors.

        Raises:
            ConfigurationError: An argument is wrong.
        """
        super().__init__(
            project_id,
            secret,
            name=name,
            base_url=base_url,
            custom_base_url=custom_base_url,
            keys=keys,
            jwks_url=jwks_url,
            leeway=leeway,
            jwt_max_age=jwt_max_age,
            hydrate=hydrate,
            cookies_by=cookies_by,
        )
        self._organizations = OrganizationPolicies(self.policy, self._organization_call)
        self._has_policies = organization_policies

    def reader(self) -> MemberClaims:
        """Return the reader of the claims of its session JWTs."""
        return MemberClaims(self.scope)

    def checked_facts(self, body: Mapping[str, Any]) -> SessionFacts:
        """Return what is decided by of a reply: session, member and organization are those of each other.

        Raises:
            ValueError: The reply cannot be read.
            ProviderUnavailable: Its session is that of another member or organization.
        """
        facts = super().checked_facts(body)
        for name in (MEMBERS.user, ORGANIZATION):
            if body.get(name) is not None and organization_of(body[name]) != facts.organization_id:
                raise ProviderUnavailable(reason="api_mismatch")
        return facts

    @property
    def kept_members(self) -> tuple[str, ...]:
        """The members of a reply that are remembered."""
        return (*super().kept_members, ORGANIZATION)

    def without_credentials(self, body: Mapping[str, Any]) -> bytes:
        """Return session and member in a reply as JSON, and what is kept of the organization."""
        kept = kept_organization(body.get(ORGANIZATION)) or None
        return super().without_credentials({**body, ORGANIZATION: kept})

    def session(self, body: Body) -> Session:
        """Return the session in a checked reply, or in the payload of a JWT, which names the organization only."""
        answer, found = decoded(body), super().session(body)
        return found if SESSION_CLAIM in answer else with_organization(found, answer.get(ORGANIZATION))

    def parse_user(self, body: Mapping[str, Any]) -> User:
        """Return a member.

        Raises:
            ValueError: It cannot be read.
        """
        return parse_member(body)

    def check_question(self, check: AuthorizationCheck) -> None:
        """Check that a question to the roles can be asked here.

        Raises:
            ValueError: It names no organization.
        """
        if check.organization_id is None:
            raise ValueError("organization_id is missing: what a member may do is asked about in an organization.")

    def written_check(self, check: AuthorizationCheck) -> dict[str, str]:
        """Return a question to the roles as the API takes it."""
        return {**super().written_check(check), "organization_id": str(check.organization_id)}

    def _checked_result(
        self, request: IntrospectionRequest, body: Mapping[str, Any], asked_at: float
    ) -> IntrospectionResult:
        """Return the result in a reply, see :class:`StytchProvider`.

        Raises:
            PermissionDenied: The question is about another organization. The API would take its slug, too.
        """
        result, check = super()._checked_result(request, body, asked_at), request.authorization_check
        if check is not None and organization_of(body[MEMBERS.session]) != check.organization_id:
            raise PermissionDenied
        return result

    def allows(self, session: Session, check: AuthorizationCheck) -> Plan[bool]:
        """Return whether the roles of a session permit something, which they never do in another organization.

        Raises:
            ProviderError: The policy cannot be had.
        """
        if check.organization_id != session.organization:
            return False
        return (yield from super().allows(session, check))

    def known_policy(self, session: Session) -> Policy | None:
        """Return the policy in the organization of a session; ``None`` where it has to be loaded first."""
        if not self._has_policies:
            return super().known_policy(session)
        return self._organizations.current(str(session.organization))

    def load_policy(self, session: Session) -> Plan[Policy]:
        """Return the same, after the calls that load it.

        Raises:
            ProviderError: The policy cannot be had.
        """
        if not self._has_policies:
            return super().load_policy(session)
        return self._organizations.load(str(session.organization))

    def _organization_call(self, organization_id: str) -> Fetch:
        path = f"/v1/b2b/rbac/organizations/{quote(organization_id, safe='')}"
        return policy_call(self._get(path, "rbac.organization"), f"{self.scope}:{organization_id}")

    def list_sessions(self, user_id: str, *, pause: float | None = None) -> Plan[tuple[Session, ...]]:
        """Return the member's active sessions. The API wants the organization as well, which is asked for once.

        Raises:
            NotFound: There is no such member.
            RequestRefused: The API refused a call.
            ProviderError: The API cannot be reached or understood.
        """
        member = yield from self.remembered_user(user_id, _MEMBER_SECONDS)
        organization_id = organization_of(member.extra)
        query = f"organization_id={quote(organization_id, safe='')}&member_id={quote(user_id, safe='')}"
        sessions = yield from self.listed(query, user_id, pause)
        if any(session.organization != organization_id for session in sessions):
            raise ProviderUnavailable(reason="api_mismatch")
        return sessions

    def revoke_user(self, user_id: str, *, pause: float | None = None) -> Plan[None]:
        """End all sessions of a member, by one call.

        Raises:
            NotFound: There is no such member.
            MoonKeyError: It is not certain that the sessions have ended.
        """
        answer = yield from self.end({MEMBERS.user_id: user_id}, pause)
        if isinstance(answer, StytchError):
            raise refused_call(answer)

    def _user_call(self, user_id: str) -> Fetch:
        # The one call that finds a member by the id alone. The id comes from a verified session, or from the app.
        path = f"/v1/b2b/organizations/members/dangerously_get/{quote(user_id, safe='')}"
        return self._get(path, "users.get")

    def _user_in(self, user_id: str, body: Mapping[str, Any]) -> User:
        """Return the member in a reply about them.

        Raises:
            ValueError: It is about another one, or cannot be read.
        """
        member = body.get(MEMBERS.user)
        if not isinstance(member, Mapping):
            raise ValueError("no member")
        user = super()._user_in(user_id, member)
        organization_of(user.extra)
        return user
