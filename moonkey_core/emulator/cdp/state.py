"""The state of the emulated CDP, under one lock, with its clock."""

from __future__ import annotations

import uuid
from typing import Any

from moonkey_core.emulator.cdp.errors import CdpError, error_body
from moonkey_core.emulator.cdp.records import ApiKeyRecord, Challenge, EndUser, SignIn
from moonkey_core.emulator.conditions import Conditions
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.oidc.keys import IssuerKeys
from moonkey_core.emulator.records import Json

MAX_USERS = 10_000
MAX_SIGN_INS = 20_000
MAX_CHALLENGES = 1_000
MAX_REVOKED = 20_000
MAX_API_KEYS = 100

_KINDS = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "rate_limit_exceeded",
    502: "bad_gateway",
    503: "service_unavailable",
}


class CdpState(Conditions):
    """Its memory. Hold ``lock`` while using it. The oldest records are dropped when there are too many.

    Args:
        project_id: The id of the project; made if not given.
    """

    def __init__(self, project_id: str | None) -> None:
        super().__init__()
        self.project_id: str = project_id or str(uuid.uuid4())
        self.keys: IssuerKeys = IssuerKeys(("ES256",))
        self.first_api_key: ApiKeyRecord | None = None
        self._begin()

    def _begin(self) -> None:
        self.users: dict[str, EndUser] = {}
        self.sign_ins: dict[str, SignIn] = {}
        self.challenges: dict[str, Challenge] = {}
        self.revoked: dict[str, None] = {}
        self.api_keys: dict[str, ApiKeyRecord] = {}
        self.end_user_members: Json = {}
        if self.first_api_key is not None:
            self.add_api_key(self.first_api_key)

    def error_body(self, error: ApiError) -> Json:
        """Return the body of an error answer, as CDP writes it."""
        return error_body(error)

    def injected_error(self, status: int) -> ApiError:
        """Return the error that an injected fault of this status shows, as CDP writes it."""
        return CdpError(
            status, _KINDS.get(status, "internal_server_error"), "A fault that the emulator was told to show"
        )

    def add_api_key(self, key: ApiKeyRecord) -> None:
        """Add an API key, or replace the one with its id.

        Raises:
            ValueError: There are too many.
        """
        if key.key_id not in self.api_keys and len(self.api_keys) >= MAX_API_KEYS:
            raise ValueError(f"there may be at most {MAX_API_KEYS} API keys")
        self.api_keys[key.key_id] = key

    def keep_user(self, user: EndUser) -> None:
        """Remember a user."""
        self.users[user.user_id] = user
        _bound(self.users, MAX_USERS)

    def keep_sign_in(self, refresh_token: str, sign_in: SignIn) -> None:
        """Remember a sign-in under its refresh token."""
        self.sign_ins[refresh_token] = sign_in
        _bound(self.sign_ins, MAX_SIGN_INS)

    def keep_challenge(self, challenge_id: str, challenge: Challenge) -> None:
        """Remember a step of MFA."""
        self.challenges[challenge_id] = challenge
        _bound(self.challenges, MAX_CHALLENGES)

    def revoke_token(self, token_id: str) -> None:
        """Call an access token invalid from now on."""
        self.revoked[token_id] = None
        _bound(self.revoked, MAX_REVOKED)

    def sign_in_of(self, refresh_token: str) -> SignIn | None:
        """Return the sign-in of a refresh token that is neither over nor signed out."""
        found = self.sign_ins.get(refresh_token)
        return None if found is None or found.ends_at <= self.now() else found

    def reset(self) -> None:
        """Start over: only the settings, the clock of the machine, and the current keys remain."""
        super().reset()
        self.keys.drop_old()
        self._begin()


def _bound(table: dict[str, Any], most: int) -> None:
    while len(table) > most:
        del table[next(iter(table))]
