"""The records of the emulated CDP: end users, their sign-ins, API keys. Times are Unix seconds."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from moonkey_core.emulator.records import Json

MfaKind = Literal["totp", "sms"]


@dataclass(frozen=True)
class CdpSignedIn:
    """A fresh sign-in, as ``CdpEmulator.sign_in`` returns it.

    Attributes:
        user_id: The id of the end user.
        token_id: The ``jti`` of the access token. Each renewal has another.
        access_token: A signed JWT of 15 minutes.
        refresh_token: For ``refresh``, for 7 days. Only the SDK in a browser has it.
    """

    user_id: str
    token_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class MfaStarted:
    """A step of MFA that has begun. ``code`` is what the user would read in their app or message."""

    challenge_id: str
    code: str = field(repr=False)


@dataclass
class EndUser:
    """One end user. The lists hold wire objects."""

    user_id: str
    created_at: float
    methods: list[Json] = field(default_factory=list)
    mfa: dict[str, Json] = field(default_factory=dict)
    evm: list[Json] = field(default_factory=list)
    evm_smart: list[Json] = field(default_factory=list)
    solana: list[Json] = field(default_factory=list)

    def wire(self) -> Json:
        """Return it as the API writes it, with the deprecated lists of plain addresses."""
        lists = {"evm": self.evm, "evmSmart": self.evm_smart, "solana": self.solana}
        return {
            "userId": self.user_id,
            "authenticationMethods": self.methods,
            **({"mfaMethods": self.mfa} if self.mfa else {}),
            **{f"{name}Accounts": [one["address"] for one in found] for name, found in lists.items()},
            **{f"{name}AccountObjects": found for name, found in lists.items()},
            "createdAt": utc(self.created_at),
        }


@dataclass
class SignIn:
    """One sign-in in one browser, which a refresh token renews.

    Attributes:
        user_id: The end user.
        auth_type: How the user signed in.
        ends_at: When the refresh token ends.
        mfa_until: Until when MFA counts as done. It carries over to renewed access tokens.
    """

    user_id: str
    auth_type: str
    ends_at: float
    mfa_until: float = 0.0


@dataclass
class Challenge:
    """A step of MFA that waits for its code."""

    refresh_token: str
    kind: MfaKind
    code: str
    expires_at: float
    enrolls: bool
    tries_left: int = 5


@dataclass(frozen=True)
class ApiKeyRecord:
    """An API key of a developer, with both halves: the emulator gives the private one to the app.

    Attributes:
        key_id: Its id.
        secret: The private key, as CDP's portal gives it.
        public_key: The public key.
        algorithm: ``ES256`` or ``EdDSA``.
        audience: What the ``aud`` of its JWTs must contain; ``None``: it is not looked at.
    """

    key_id: str
    secret: str = field(repr=False)
    public_key: Any
    algorithm: str
    audience: str | None = None


def utc(moment: float) -> str:
    """Return a time in RFC 3339, as the API writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def base64_pair(seed: bytes, public: bytes) -> str:
    """Return an Ed25519 key as CDP's portal gives it: seed and public key, in base64."""
    return base64.b64encode(seed + public).decode()
