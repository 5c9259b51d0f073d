"""The wire form of records, as the service writes them into answers and JWTs."""

from __future__ import annotations

from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch.records import StytchSession, StytchUser
from moonkey_core.emulator.stytch.times import rfc3339


def _shared(session: StytchSession) -> Json:
    return {
        "started_at": rfc3339(session.started_at),
        "last_accessed_at": rfc3339(session.last_accessed_at),
        "expires_at": rfc3339(session.expires_at),
        "attributes": {"ip_address": session.ip_address, "user_agent": session.user_agent},
        "authentication_factors": session.factors,
        "roles": session.roles,
    }


def session_body(session: StytchSession) -> Json:
    """Return the session object."""
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        **_shared(session),
        "custom_claims": session.custom_claims,
    }


def session_claim(session: StytchSession) -> Json:
    """Return the claim of a JWT that describes its session. The user is the ``sub`` of the JWT."""
    return {"id": session.session_id, **_shared(session)}


def user_body(user: StytchUser) -> Json:
    """Return the user object."""
    return {
        "user_id": user.user_id,
        "name": {"first_name": "", "middle_name": "", "last_name": "", **user.name},
        "emails": user.emails,
        "phone_numbers": user.phone_numbers,
        "providers": user.providers,
        "totps": [{"totp_id": one["totp_id"], "verified": one["verified"]} for one in user.totps],
        "webauthn_registrations": [],
        "crypto_wallets": [],
        "biometric_registrations": [],
        "password": None,
        "status": user.status,
        "is_locked": user.is_locked,
        "lock_created_at": None,
        "lock_expires_at": None,
        "roles": user.roles,
        "created_at": rfc3339(user.created_at),
        "trusted_metadata": user.trusted_metadata,
        "untrusted_metadata": user.untrusted_metadata,
        "external_id": user.external_id,
    }
