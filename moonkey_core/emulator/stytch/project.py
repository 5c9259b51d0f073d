"""One project of the service: its keys, its sessions, its RBAC policy, and how it writes answers."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.keys import SigningKeys
from moonkey_core.emulator.messages import Messages
from moonkey_core.emulator.oidc.errors import OAuthError
from moonkey_core.emulator.records import Json, Sent, random_text
from moonkey_core.emulator.stytch import times
from moonkey_core.emulator.stytch.errors import BAD_REQUEST, ERRORS_URL, INJECTED, session_not_found
from moonkey_core.emulator.stytch.keys import jwk
from moonkey_core.emulator.stytch.records import StytchSession, stytch_id

MAX_SESSIONS = 20_000
SESSION_CLAIM = "https://stytch.com/session"
TOKEN_LENGTH = 44
LIVE_PREFIX = "project-live-"


class Project(Messages):
    """The memory that consumer and B2B projects have in common. Hold ``lock`` while using it.

    Args:
        project_id: The project's id; made for the test environment if not given.
        secret: The secret to accept; made if not given.
        custom_domain: The base URL of the second issuer form; the emulator's own address if not given.
        on_sent: The function that is called with each code or link that the service sends.
    """

    def __init__(
        self,
        project_id: str | None = None,
        secret: str | None = None,
        custom_domain: str | None = None,
        on_sent: Callable[[Sent], None] | None = None,
    ) -> None:
        super().__init__(on_sent)
        self.project_id: str = project_id or f"project-test-{uuid.uuid4()}"
        self.environment: str = "live" if self.project_id.startswith(LIVE_PREFIX) else "test"
        self.secret: str = secret or f"secret-{self.environment}-{random_text(44)}"
        self.public_token: str = self.new_id("public-token")
        self.base_url: str = ""  # known once the server listens
        self.given_domain: str | None = custom_domain
        self.keys: SigningKeys = SigningKeys()
        self.m2m_client_id: str = self.new_id("m2m-client")
        self.m2m_client_secret: str = random_text(44)
        self.m2m_scopes: list[str] = ["read:documents", "write:documents"]
        self._begin()

    def _begin(self) -> None:
        self.sessions: dict[str, StytchSession] = {}
        self._by_token: dict[str, str] = {}
        self.policy: Json = self.usual_policy()
        self.issuer_form: str = "project"
        self.refuses_reserved_claims: bool = False
        self.session_members: Json = {}
        self.dropped_members: frozenset[str] = frozenset()
        self.wrong_session: str | None = None

    @abstractmethod
    def usual_policy(self) -> Json:
        """Return the RBAC policy of a project that has just been made."""

    @abstractmethod
    def session_body(self, session: StytchSession) -> Json:
        """Return the session object of a reply."""

    @abstractmethod
    def jwt_claims(self, session: StytchSession) -> Json:
        """Return the claims of a JWT that are this session's: its own claim, and what stands beside it."""

    def policy_of(self, session: StytchSession) -> Json:
        """Return the RBAC policy that the roles of a session are of."""
        return self.policy

    def new_id(self, kind: str) -> str:
        """Return a new identifier, such as ``session-test-…``."""
        return stytch_id(kind, self.environment)

    def time(self) -> int:
        """Return the emulator's time in Unix nanoseconds."""
        return times.nanoseconds(self.now())

    @property
    def custom_domain(self) -> str:
        """The base URL whose issuer form is the second one, without a slash at its end."""
        return (self.given_domain or self.base_url).rstrip("/")

    @property
    def issuers(self) -> dict[str, str]:
        """The two issuer forms that are accepted, by name."""
        return {"project": f"stytch.com/{self.project_id}", "domain": self.custom_domain}

    def success(self, body: Mapping[str, Any]) -> Json:
        """Return the body of a good answer."""
        return {"status_code": 200, "request_id": self.new_id("request-id"), **body}

    def error_body(self, error: ApiError) -> Json:
        """Return the body of an error answer. The OAuth endpoints have names of their own for its members."""
        reply: Json = {"status_code": error.status, "request_id": self.new_id("request-id")}
        kind = BAD_REQUEST if error.kind == "invalid_request" else error.kind
        url = f"{ERRORS_URL}/{error.status}#{kind}"
        if isinstance(error, OAuthError):
            return {**reply, **error.body(), "error_uri": url}
        return {**reply, "error_type": kind, "error_message": error.message, "error_url": url}

    def injected_error(self, status: int) -> ApiError:
        """Return the service's own error of this status."""
        kind, message = INJECTED.get(status, ("internal_server_error", "Something went wrong."))
        return ApiError(status, kind, message)

    def key_set(self) -> Json:
        """Return the key set as it is published now."""
        return {"keys": [jwk(key) for key in self.keys.all()]}

    def keep(self, session: StytchSession) -> None:
        """Keep a session. The oldest is dropped when there are too many."""
        self.sessions[session.session_id] = session
        self._by_token[session.token] = session.session_id
        if len(self.sessions) > MAX_SESSIONS:
            self.end(next(iter(self.sessions)))

    def end(self, session_id: str) -> None:
        """Forget a session. One that does not exist is no error."""
        session = self.sessions.pop(session_id, None)
        if session is not None:
            self._by_token.pop(session.token, None)

    def end_all(self, user_id: str) -> None:
        """Forget all sessions of a user."""
        for one in self.of_user(user_id):
            self.end(one.session_id)

    def of_user(self, user_id: str) -> list[StytchSession]:
        """Return the live sessions of a user, the oldest first."""
        now = self.time()
        return [one for one in self.sessions.values() if one.user_id == user_id and one.expires_at > now]

    def live(self, session_id: str) -> StytchSession:
        """Return a session.

        Raises:
            ApiError: It is unknown, revoked or over.
        """
        found = self.sessions.get(session_id)
        if found is None or found.expires_at <= self.time():
            raise session_not_found()
        return found

    def by_token(self, token: str) -> StytchSession:
        """Return the session of a session token. The errors are those of ``live``."""
        return self.live(self._by_token.get(token, ""))

    def changed(self, members: Json) -> Json:
        """Return the members of a session object with what a test has replaced or left out."""
        kept = {**members, **{name: value for name, value in self.session_members.items() if name in members}}
        return {name: value for name, value in kept.items() if name not in self.dropped_members}

    def reset(self) -> None:
        """Start over: only the settings, the clock of the machine and the current key remain."""
        super().reset()
        self.keys.drop_old()
        self._begin()
