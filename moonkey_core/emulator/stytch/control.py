"""The control interface of the service, as Python methods. ``control_http`` offers the same over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from moonkey_core.emulator import fields
from moonkey_core.emulator.conditions import ConditionsControl
from moonkey_core.emulator.keys import SigningKey
from moonkey_core.emulator.records import Json, Sent
from moonkey_core.emulator.stytch import exchanges, oauth, sessions, tokens, users
from moonkey_core.emulator.stytch.factors import CONTACTS, OAUTH_PROVIDERS, made_factor, plain_name
from moonkey_core.emulator.stytch.project import Project
from moonkey_core.emulator.stytch.rbac import checked_policy
from moonkey_core.emulator.stytch.records import StytchSession, StytchSignedIn, StytchUser
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.times import nanoseconds
from moonkey_core.emulator.totp import totp_code

DEMO_EMAIL = oauth.DEFAULT_EMAIL
DEFAULT_MINUTES = 10_080


def wanted_factors(minutes: float, factors: Sequence[str | Json] | None) -> list[str | Json]:
    """Return the factors that a session is to begin with: plain names, and whole objects.

    Args:
        minutes: The session's lifetime.
        factors: Names and objects, as they were passed; by default one email code.

    Raises:
        ValueError: The lifetime is out of range, or a factor is of another type.
    """
    if not 0 < minutes <= sessions.MAX_MINUTES:
        raise ValueError(f"minutes must be above 0 and at most {sessions.MAX_MINUTES}")
    if isinstance(factors, str) or not all(isinstance(one, str | dict) for one in factors or ()):
        raise ValueError('factors must be a list of names or factor objects, such as ["totp"]')
    return [plain_name(one) if isinstance(one, str) else one for one in factors or ["email"]]


class ProjectControl(ConditionsControl):
    """The methods that consumer and B2B projects have in common. Safe to call from any thread."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self._project = project
        self._foreign_key: SigningKey | None = None
        self.project_id: str = project.project_id
        self.secret: str = project.secret
        self.public_token: str = project.public_token
        self.m2m_client_id: str = project.m2m_client_id
        self.m2m_client_secret: str = project.m2m_client_secret

    @property
    def issuers(self) -> dict[str, str]:
        """Both issuer forms: ``project`` is ``stytch.com/<project id>``, ``domain`` a base URL without a slash."""
        return self._project.issuers

    @property
    def kid(self) -> str:
        """The id of the current signing key."""
        return self._project.keys.current.kid

    @property
    def private_key(self) -> RSAPrivateKey:
        """The current signing key, for tests that sign unusual tokens themselves."""
        return self._project.keys.current.private_key

    def outbox(self) -> list[Sent]:
        """Return the last 200 messages that the service sent, newest first."""
        with self._project.lock:
            return list(self._project.outbox)

    def jwks(self) -> Json:
        """Return the key set, as it is published now."""
        with self._project.lock:
            return self._project.key_set()

    def rotate_keys(self, keep_old: bool = True) -> str:
        """Sign with a new key from now on and return its id; ``keep_old`` still publishes the old ones."""
        with self._project.lock:
            self._project.keys.rotate(keep_old)
            return self.kid

    def issuer_form(self, form: str = "project") -> None:
        """Choose the ``iss`` of JWTs from now on: ``"project"``, or ``"domain"`` as of a custom domain."""
        if form not in self.issuers:
            raise ValueError('form must be "project" or "domain"')
        with self._project.lock:
            self._project.issuer_form = form

    def policy(self, policy: Mapping[str, Any] | None = None) -> Json:
        """Replace the RBAC policy, if one is given, and return the one that holds.

        Raises:
            ValueError: It is not a policy as the service has it.
        """
        with self._project.lock:
            if policy is not None:
                self._project.policy = checked_policy(policy)
            return self._project.policy

    def reserved_claims(self, refuse: bool = True) -> None:
        """Choose what becomes of custom claims with reserved names: refused, or else ignored, as usual."""
        with self._project.lock:
            self._project.refuses_reserved_claims = refuse

    def session_members(self, drop: Iterable[str] = (), **members: Any) -> None:
        """Replace members of the session object, in replies and JWTs, or leave some out, as older payloads do.

        Without arguments they are as usual again.
        """
        with self._project.lock:
            self._project.session_members = members
            self._project.dropped_members = frozenset(drop)

    def wrong_session(self, session_id: str | None = None) -> None:
        """Answer each authentication with this session, whichever was asked for; ``None`` stops that."""
        with self._project.lock:
            self._project.wrong_session = session_id

    def totp_code(self, secret: str) -> str:
        """Return the code that an authenticator app with this secret shows at the emulator's time."""
        return totp_code(secret, self._project.now())

    def _foreign(self) -> SigningKey:
        if self._foreign_key is None:
            self._foreign_key = SigningKey.generate()
        return self._foreign_key

    def _signed_about(
        self, session_id: str | None, wanted: tokens.Wish, begin: Callable[[], StytchSession]
    ) -> str:
        """Return a JWT about a session; without its id, about one that ``begin`` begins.

        Raises:
            ValueError: There is no session with this id.
        """
        with self._project.lock:
            about = begin() if session_id is None else self._project.sessions.get(session_id)
            if about is None:
                raise ValueError("no session has this session_id")
            return tokens.signed(self._project, about, wanted, self._foreign())

    def _end(self, session_id: str | None, user_id: str | None) -> None:
        """End a session, or else all of a user or member."""
        with self._project.lock:
            if session_id is not None:
                self._project.end(session_id)
            else:
                self._project.end_all(user_id or "")

    def reset(self) -> None:
        """Start over: no users, sessions, messages, faults or skew; settings and the current key remain."""
        with self._project.lock:
            self._project.reset()


class StytchControl(ProjectControl):
    """The methods that read the state of a consumer project and change its behaviour, from any thread."""

    def __init__(self, state: StytchState) -> None:
        super().__init__(state)
        self._state = state

    @property
    def jwks_url(self) -> str:
        """The address of the key set."""
        return f"{self._state.base_url}/v1/sessions/jwks/{self.project_id}"

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the environment of an app that uses the project."""
        return {
            "MOONKEY_PROVIDER": "stytch",
            "MOONKEY_STYTCH_PROJECT_ID": self.project_id,
            "MOONKEY_STYTCH_SECRET": self.secret,
            "MOONKEY_STYTCH_PUBLIC_TOKEN": self.public_token,
            "MOONKEY_STYTCH_BASE_URL": self._state.base_url,
        }

    def sign_in(
        self,
        email: str | None = None,
        user_id: str | None = None,
        minutes: float = DEFAULT_MINUTES,
        factors: Sequence[str | Json] | None = None,
        claims: Mapping[str, Any] | None = None,
        roles: Sequence[str] | None = None,
        age: float = 0,
        factor_age: float | None = None,
    ) -> StytchSignedIn:
        """Start a session without a login.

        Args:
            email: The address of the user, who is made if need be; it counts as verified. The default is
                ``demo@example.com``.
            user_id: The id of the user instead. The user must exist.
            minutes: The session's lifetime, above 0.
            factors: Names such as ``"totp"``, ``"sms"`` or ``"impersonated"``, or whole factor objects, whose
                ``last_authenticated_at`` can be of any age. The default is one email code.
            claims: The session's custom claims; none by default.
            roles: The roles that the user is given beside ``stytch_user``.
            age: How many seconds ago it began, as a part of its lifetime. Its JWT is issued now.
            factor_age: How many seconds ago the factors that are named were verified; by default when it began.

        Raises:
            ValueError: A value is out of range, or there is no user with this id.
        """
        with self._state.lock:
            session = self._session(email, user_id, minutes, factors, claims, roles, age, factor_age)
            jwt = sessions.issue_jwt(self._state, session)
            return StytchSignedIn(session.user_id, session.session_id, session.token, jwt)

    def _session(
        self,
        email: str | None,
        user_id: str | None,
        minutes: float,
        factors: Sequence[str | Json] | None,
        claims: Mapping[str, Any] | None,
        roles: Sequence[str] | None,
        age: float = 0,
        factor_age: float | None = None,
    ) -> StytchSession:
        if email is not None and user_id is not None:
            raise ValueError("name the user by email or by user_id, not by both")
        wanted = wanted_factors(minutes, factors)
        user = self._user(email, user_id)
        if roles is not None:
            users.set_roles(self._state, user, list(roles))
        verified_at = self._state.time() - nanoseconds(fields.age_of(age if factor_age is None else factor_age))
        made = [self._factor(user, one, verified_at) if isinstance(one, str) else one for one in wanted]
        return sessions.start(self._state, user.user_id, minutes, made, user.roles, claims, age=fields.age_of(age))

    def _user(self, email: str | None, user_id: str | None) -> StytchUser:
        if user_id is not None:
            found = self._state.users.get(user_id)
            if found is None:
                raise ValueError("no user has this user_id")
            return found
        address = fields.clean_email(email or DEMO_EMAIL)
        user, _ = users.find_or_create(self._state, "email", address)
        users.contact_of(self._state, user, "email", address)["verified"] = True
        return user

    def _factor(self, user: StytchUser, name: str, verified_at: int) -> Json:
        kind = CONTACTS.get(name)
        contact = users.proven_contact(self._state, user, kind) if kind else None
        return made_factor(name, user, contact, verified_at)

    def token(
        self,
        shape: str = "session",
        *,
        email: str = DEMO_EMAIL,
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

        Args:
            shape: ``"session"``, or a look-alike: ``"m2m"``, ``"connected-app"``, ``"b2b"``, ``"other-project"``
                and more: ``shapes()`` names them.
            email: The user's address. A session is begun for it.
            session_id: The session that it is about instead.
            algorithm: The signature; also ``"HS256"`` and ``"none"``.
            life: The seconds from ``iat`` to ``exp``; the shape's if not given.
            age: How many seconds ago it was issued.
            header: The members that replace those of its header.
            key: ``"current"``; ``"foreign"`` for one that is not published; ``"imposter"`` for that one under the
                key id of the current one.
            drop: The names of claims and header members to leave out.
            session: The members that replace those inside the session claim.
            claims: The claims that replace the usual ones.
            more: The same, as arguments: ``token(iss="https://evil.example")``.

        Raises:
            ValueError: There is no such shape, algorithm, key or session.
        """
        changes = {**(claims or {}), **more}
        wanted = tokens.Wish(shape, algorithm, life, age, header or {}, key, tuple(drop), session or {}, changes)
        return self._signed_about(
            session_id, wanted, lambda: self._session(email, None, DEFAULT_MINUTES, None, None, None)
        )

    def shapes(self) -> tuple[str, ...]:
        """Return the names of the shapes that ``token`` makes."""
        return tuple(tokens.SHAPES)

    def revoke(self, session_id: str | None = None, *, user_id: str | None = None) -> None:
        """End a session, or all of a user, as if revoked elsewhere. One that does not exist is no error.

        Raises:
            ValueError: Not exactly one of them is named.
        """
        if (session_id is None) == (user_id is None):
            raise ValueError("name a session_id or a user_id")
        self._end(session_id, user_id)

    def set_roles(self, user_id: str, roles: Sequence[str]) -> None:
        """Give a user these roles beside ``stytch_user``; their sessions have them at once.

        Raises:
            ValueError: There is no user with this id.
        """
        with self._state.lock:
            users.set_roles(self._state, self._user(None, user_id), list(roles))

    def impersonation_token(self, email: str = DEMO_EMAIL) -> str:
        """Return a token with which the service begins a session of an impersonator of this user."""
        with self._state.lock:
            return exchanges.new_impersonation_token(self._state, self._user(email, None))

    def oauth_token(self, email: str = DEMO_EMAIL, provider: str = "google") -> str:
        """Return a token for ``oauth/authenticate``, such as a redirect from the provider has.

        Raises:
            ValueError: The provider is not a known one.
        """
        if provider not in OAUTH_PROVIDERS:
            raise ValueError(f"provider must be one of {', '.join(OAUTH_PROVIDERS)}")
        with self._state.lock:
            return oauth.new_token(self._state, fields.clean_email(email), provider)
