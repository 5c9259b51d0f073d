"""Session JWTs and replies of a Stytch project, as Stytch documents them; and what looks like them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from support.signed_tokens import signed

PROJECT = "project-test-11111111-2222-4333-8444-555555555555"
SECRET = "stytch-secret-that-is-hidden"
ISSUER = f"stytch.com/{PROJECT}"
USER = "user-test-e3795c81-f849-4167-bfda-e4a6e9c280fd"
SESSION = "session-test-fe6c042b-6286-479f-8a4f-b046a6c46509"
TOKEN = "mZAYn5aLEqKUlZ_Ad9U_fWr38GaAQ1oFhhT8ds245v7Q"
CLAIM = "https://stytch.com/session"
ORGANIZATION = "https://stytch.com/organization"

Payload = dict[str, Any]


def at(moment: float, nanoseconds: int = 0) -> str:
    """A time as Stytch writes it: whole seconds, or with nine digits after them."""
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(moment))).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanoseconds:09}Z" if nanoseconds else f"{text}Z"


def changed(found: Mapping[str, Any], changes: Mapping[str, Any]) -> Payload:
    """The members with these changes; one to ``...`` leaves a member out."""
    return {name: value for name, value in {**found, **changes}.items() if value is not ...}


def factor(now: float, kind: str = "otp", method: str = "sms", **members: Any) -> Payload:
    usual = {"phone_number_factor": {"phone_id": "phone-number-test-1", "phone_number": "+14155550100"}}
    return {
        "type": kind,
        "delivery_method": method,
        "last_authenticated_at": at(now),
        **(members or (usual if kind == "otp" else {})),
    }


def impersonated(now: float) -> Payload:
    inside = {"impersonator_id": "member-of-the-dashboard", "impersonator_email_address": "eve@example.test"}
    return factor(now, "impersonated", "impersonation", impersonated_factor=inside)


def session(now: float, **changes: Any) -> Payload:
    """A session in a reply."""
    usual: Payload = {
        "session_id": SESSION,
        "user_id": USER,
        "started_at": at(now - 600),
        "last_accessed_at": at(now - 10, 123_456_789),
        "expires_at": at(now + 3600),
        "attributes": {"ip_address": "203.0.113.7", "user_agent": "curl/8"},
        "authentication_factors": [factor(now - 600)],
        "custom_claims": {},
        "roles": ["stytch_user"],
    }
    return changed(usual, changes)


def user(**changes: Any) -> Payload:
    usual: Payload = {
        "user_id": USER,
        "emails": [
            {"email_id": "email-test-0", "email": "old@example.test", "verified": False},
            {"email_id": "email-test-1", "email": "ada@example.test", "verified": True},
        ],
        "phone_numbers": [{"phone_id": "phone-number-test-1", "phone_number": "+14155550100", "verified": True}],
        "name": {"first_name": "Ada", "middle_name": "", "last_name": "Lovelace"},
        "status": "active",
        "created_at": "2026-01-02T03:04:05Z",
        "webauthn_registrations": [],
        "providers": [],
        "totps": [{"totp_id": "totp-test-1", "verified": True}],
        "crypto_wallets": [],
        "biometric_registrations": [],
        "is_locked": False,
        "roles": ["stytch_user"],
    }
    return changed(usual, changes)


def reply(now: float, **changes: Any) -> Payload:
    """What ``sessions/authenticate`` answers."""
    usual: Payload = {
        "status_code": 200,
        "request_id": "request-id-test-1",
        "session": session(now),
        "session_token": TOKEN,
        "session_jwt": jwt(now),
        "user": user(),
    }
    return changed(usual, changes)


def refusal(status: int, error_type: str | None, message: str = "No.") -> Payload:
    return {
        "status_code": status,
        "request_id": "request-id-test-1",
        "error_type": error_type,
        "error_message": message,
        "error_url": f"https://stytch.com/docs/api/errors/{status}",
    }


def session_claim(now: float, **changes: Any) -> Payload:
    """The session claim of a JWT."""
    found = session(now)
    del found["user_id"], found["custom_claims"]
    return changed({"id": found.pop("session_id"), **found}, changes)


def payload(now: float, /, **changes: Any) -> Payload:
    """The payload of a session JWT that was issued now."""
    usual: Payload = {
        "iss": ISSUER,
        "aud": [PROJECT],
        "sub": USER,
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + 300,
        CLAIM: session_claim(now),
    }
    return changed(usual, changes)


def jwt(now: float, /, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    return signed(payload(now, **changes), {"typ": "JWT", **(header or {})}, "RS256")


LOOK_ALIKES: dict[str, tuple[Payload, str]] = {
    "M2M": ({CLAIM: ..., "sub": "m2m-client-test-1", "scope": "read:users"}, "jwt_session"),
    "connected app": ({CLAIM: ..., "scope": "openid profile", "client_id": "connected-app-1"}, "jwt_session"),
    "member of an organization": (
        {ORGANIZATION: {"organization_id": "organization-1", "slug": "o"}},
        "token_kind",
    ),
    "organization null": ({ORGANIZATION: None}, "token_kind"),
    "another project by aud": ({"aud": ["project-test-another"]}, "jwt_audience"),
    "another project by iss": ({"iss": "stytch.com/project-test-another"}, "jwt_issuer"),
    "issuer with a scheme": ({"iss": f"https://stytch.com/{PROJECT}"}, "jwt_issuer"),
    "issuer with a slash": ({"iss": f"{ISSUER}/"}, "jwt_issuer"),
    "no aud": ({"aud": ...}, "jwt_audience"),
    "no iss": ({"iss": ...}, "jwt_issuer"),
    "no nbf": ({"nbf": ...}, "jwt_claims"),
    "no iat": ({"iat": ...}, "jwt_claims"),
    "no exp": ({"exp": ...}, "jwt_claims"),
    "no sub": ({"sub": ...}, "jwt_subject"),
    "session claim of another type": ({CLAIM: "session-test-1"}, "jwt_session"),
    "session claim null": ({CLAIM: None}, "jwt_session"),
    "bound to a key": ({"cnf": {"jkt": "thumbprint"}}, "sender_constrained"),
}
"""Changes to the payload of a good JWT, validly signed by the right key, and the reason why each is refused."""
