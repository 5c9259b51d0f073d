"""The records of the emulator: users, sessions, and the messages that it has sent. Times are Unix seconds."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


def random_text(length: int) -> str:
    """Return ``length`` random letters and digits."""
    found = ""
    while len(found) < length:  # mostly once. To draw each character by itself takes seventy times as long
        found += secrets.token_urlsafe(3 * (length // 4 + 4)).replace("-", "").replace("_", "")
    return found[:length]


def bare_token(token: str) -> str:
    """Return a session token as it is stored: the guides write it with and without ``session_``."""
    return token.removeprefix("session_") or token


def fictional_phone_number(is_taken: Callable[[str], bool]) -> str:
    """Return a phone number that no user has, in any service's emulator."""
    while True:
        # 555-0100 to 555-0199 are not assigned, in every area.
        value = f"+1{200 + secrets.randbelow(800)}55501{secrets.randbelow(100):02d}"
        if not is_taken(value):
            return value


def new_id(prefix: str) -> str:
    """Return an identifier as the service spells them, such as ``user_…``."""
    return f"{prefix}_{random_text(27)}"


@dataclass
class User:
    """One user. The lists hold wire objects; ``totps`` also holds secrets that never leave as they are."""

    user_id: str
    created_at: int
    updated_at: int
    first_name: str = ""
    middle_name: str = ""
    last_name: str = ""
    emails: list[Json] = field(default_factory=list)
    phone_numbers: list[Json] = field(default_factory=list)
    wallets: list[Json] = field(default_factory=list)
    totps: list[Json] = field(default_factory=list)
    idp_providers: list[Json] = field(default_factory=list)
    requires_verification: bool = False

    @property
    def status(self) -> str:
        """``pending`` while a contact has to be verified first, else ``active``."""
        verified = any(contact["verified"] for contact in (*self.emails, *self.phone_numbers))
        return "pending" if self.requires_verification and not verified else "active"


@dataclass
class Session:
    """One session. ``token`` is its current session token."""

    id: str
    user_id: str
    token: str = field(repr=False)
    started_at: int
    expires_at: int
    last_active_at: int
    updated_at: int
    factors: list[Json]
    user_agent: str = ""
    ip: str = ""
    custom_claims: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """A message that the service would have sent: ``kind`` is ``email_otp``, ``sms_otp`` or ``magic_link``."""

    kind: str
    to: str
    code: str
    link: str
    method_id: str
    user_id: str
    sent_at: int
    expires_at: int


@dataclass(frozen=True)
class SignedIn:
    """A fresh session, as ``Emulator.sign_in`` returns it."""

    user_id: str
    session_id: str
    session_token: str = field(repr=False)
    session_jwt: str = field(repr=False)


@dataclass
class Pending:
    """A code, link, token or challenge that has been issued. A verify call must contain ``proof``."""

    kind: str
    user_id: str
    method_id: str
    expires_at: int
    proof: str = field(default="", repr=False)
    tries_left: int = 5
    details: Json = field(default_factory=dict)
