"""The control interface, as Python methods. ``control_http`` offers the same over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from moonkey_core.emulator import fields, logins, sessions, users
from moonkey_core.emulator.conditions import ConditionsControl
from moonkey_core.emulator.errors import Shape
from moonkey_core.emulator.factors import channel_of, contact_kind, made_factor
from moonkey_core.emulator.keys import SigningKey
from moonkey_core.emulator.records import Json, Sent, Session, SignedIn, User, new_id
from moonkey_core.emulator.state import State
from moonkey_core.emulator.totp import totp_code

DEMO_EMAIL = "demo@example.com"
DEFAULT_MINUTES = 10_080


class Control(ConditionsControl):
    """The methods that read the state of an emulator and change its behaviour. Safe to call from any thread."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._state = state
        self._foreign_key: SigningKey | None = None
        self.secret_key: str = state.secret_key
        self.issuer: str = state.issuer
        self.app_id: str = state.app_id
        self.public_token: str = state.public_token
        self.wallet_key: str = state.wallet_key

    @property
    def kid(self) -> str:
        """The id of the current signing key."""
        return self._state.keys.current.kid

    @property
    def private_key(self) -> RSAPrivateKey:
        """The current signing key, for tests that sign unusual tokens themselves."""
        return self._state.keys.current.private_key

    def sign_in(
        self,
        email: str | None = None,
        user_id: str | None = None,
        minutes: float = DEFAULT_MINUTES,
        factors: Sequence[str | Json] | None = None,
        claims: Mapping[str, Any] | None = None,
        age: float = 0,
        factor_age: float | None = None,
    ) -> SignedIn:
        """Start a session without a login.

        Args:
            email: The address of the user, who is created if need be; it counts as verified. The default is
                ``demo@example.com``.
            user_id: The id of the user instead, with or without its ``user_``. The user must exist.
            minutes: The session's lifetime, above 0.
            factors: Names such as ``"totp"``, ``"sms"`` or ``"github_oauth"``, or whole factor objects, whose
                ``last_verified_at`` (in their ``method``, Unix seconds) can be of any age. The default is one
                email code. A user without a phone gets one for ``"sms"``.
            claims: The session's ``custom_claims``, which API answers and JWTs carry; none by default.
            age: How many seconds ago it began, as a part of its lifetime. Its JWT is issued now.
            factor_age: How many seconds ago the factors that are named were verified; by default when it began.

        Raises:
            ValueError: A value is out of range, or there is no user with this id.
        """
        if not 0 < minutes <= sessions.MAX_MINUTES:
            raise ValueError(f"minutes must be above 0 and at most {sessions.MAX_MINUTES}")
        if email is not None and user_id is not None:
            raise ValueError("name the user by email or by user_id, not by both")
        state = self._state
        if isinstance(factors, str) or not all(isinstance(one, str | dict) for one in factors or ()):
            raise ValueError('factors must be a list of names or factor objects, such as ["totp"]')
        wanted = [
            channel_of(one) if isinstance(one, str) else one for one in (["email"] if factors is None else factors)
        ]
        with state.lock:
            user = self._user(email, user_id)
            verified_at = state.now() - fields.age_of(age if factor_age is None else factor_age)
            made = [self._factor(user, one, verified_at) if isinstance(one, str) else one for one in wanted]
            session = sessions.start(state, user, minutes, made, ("", ""), claims, fields.age_of(age))
            token = state.spelled(session.token)
            return SignedIn(user.user_id, session.id, token, sessions.issue_jwt(state, session))

    def _user(self, email: str | None, user_id: str | None) -> User:
        if user_id is not None:
            found = self._state.store.users.get(f"user_{user_id.removeprefix('user_')}")
            if found is None:
                raise ValueError("no user has this user_id")
            return found
        address = fields.clean_email(email or DEMO_EMAIL)
        user, _ = users.find_or_create(self._state, "email", address)
        users.verify_contact(self._state, user, "email", address)
        return user

    def _factor(self, user: User, channel: str, verified_at: float) -> Json:
        kind = contact_kind(channel)
        contact = users.proven_contact(self._state, user, kind) if kind else None
        return made_factor(channel, user, contact, int(verified_at))

    def revoke(self, session_id: str) -> None:
        """End a session, as if deleted elsewhere. A session that does not exist any more is no error."""
        with self._state.lock:
            session = self._state.store.sessions.get(session_id)
            if session:
                self._state.store.drop_session(session)

    def outbox(self) -> list[Sent]:
        """Return the last 200 messages that the service sent, newest first."""
        with self._state.lock:
            return list(self._state.outbox)

    def oauth_token(self, email: str = DEMO_EMAIL, provider: str = "google") -> str:
        """Return a token for ``oauth/verify``, such as a redirect from the provider has."""
        if not (provider.isidentifier() and provider.isascii() and len(provider) <= 30):
            raise ValueError("provider must be a short name such as google")
        with self._state.lock:
            return logins.new_oauth_token(self._state, fields.clean_email(email), provider)

    def sign_wallet(self, challenge: str) -> str:
        """Return the demo wallet's signature of a challenge: HMAC-SHA256 under ``wallet_key``."""
        return logins.sign_wallet(self._state, challenge)

    def totp_code(self, secret: str) -> str:
        """Return the code that an authenticator app with this secret shows at the emulator's time."""
        return totp_code(secret, self._state.now())

    def rotate_keys(self, keep_old: bool = True) -> str:
        """Sign with a new key from now on and return its id; ``keep_old`` still publishes the old ones."""
        with self._state.lock:
            self._state.keys.rotate(keep_old)
            self._state.save_keys()
            return self.kid

    def dead_session(self, status: int = 404, coded: bool = True) -> None:
        """Choose the answer to a dead session: 400, 401 or 404, with the code ``invalid_session`` or without.

        An uncoded 401 is the same answer as that to a wrong API key.
        """
        if status not in (400, 401, 404):
            raise ValueError("status must be 400, 401 or 404")
        with self._state.lock:
            self._state.dead_session_answer = (status, coded)

    def token_prefix(self, on: bool = True) -> None:
        """Choose how session tokens are written from now on: with the prefix ``session_``, or without.

        Both spellings are the same token, and both are always accepted.
        """
        with self._state.lock:
            self._state.token_prefix = on

    def error_shape(self, shape: Shape | None = None) -> None:
        """Give all errors shape ``"A"`` (flat) or ``"B"`` (nested); ``None`` for the usual one, which is A."""
        if shape not in (None, "A", "B"):
            raise ValueError('shape must be "A", "B" or None')
        with self._state.lock:
            self._state.error_shape = shape

    def max_session_minutes(self, minutes: int | None = None) -> None:
        """Refuse longer sessions than this (minutes) with 400; ``None`` for the service's own bound."""
        if minutes is not None and not sessions.MIN_MINUTES <= minutes <= sessions.MAX_MINUTES:
            raise ValueError(f"minutes must be from {sessions.MIN_MINUTES} to {sessions.MAX_MINUTES}")
        with self._state.lock:
            self._state.max_session_minutes = minutes

    def mint(
        self,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        *,
        key: str = "current",
        session_id: str | None = None,
        drop: Iterable[str] = (),
    ) -> str:
        """Return a JWT with arbitrary content, always signed RS256.

        Args:
            claims: The claims that replace those of a valid JWT.
            header: The members that replace those of its header.
            key: ``"current"``, or ``"foreign"`` for one that is not published.
            session_id: The session whose JWT is the base; by default one that does not exist.
            drop: The names of claims and header members to leave out.

        Raises:
            ValueError: The key is neither, or no session has this id.
        """
        if key not in ("current", "foreign"):
            raise ValueError('key must be "current" or "foreign"')
        with self._state.lock:
            signing = self._state.keys.current if key == "current" else self._foreign()
            base = sessions.jwt_claims(self._state, self._session_like(session_id))
        left_out = set(drop)
        parts = ({**signing.header(), **(header or {})}, {**base, **(claims or {})})
        kept = [{name: part[name] for name in part if name not in left_out} for part in parts]
        return signing.sign(*kept)

    def _foreign(self) -> SigningKey:
        if self._foreign_key is None:
            self._foreign_key = SigningKey.generate()
        return self._foreign_key

    def _session_like(self, session_id: str | None) -> Session:
        if session_id is not None:
            if session_id not in self._state.store.sessions:
                raise ValueError("no session has this session_id")
            return self._state.store.sessions[session_id]
        now = int(self._state.now())
        return Session(new_id("sess"), new_id("user"), "", now, now + 86_400, now, now, [])

    def reset(self) -> None:
        """Start over: no users, sessions, messages, faults or skew; settings and the current key remain."""
        with self._state.lock:
            self._state.reset()
