"""The wire form of records, as the service writes them into answers and JWTs."""

from __future__ import annotations

from moonkey_core.emulator.records import Json, Session, User


def session_body(session: Session, *, token: str | None = None) -> Json:
    """Return the session object, with both known spellings of the device; ``custom_claims`` if it has any.

    ``token`` adds the session token, as some answers of the service do.
    """
    body: Json = {
        "id": session.id,
        "user_id": session.user_id,
        "started_at": session.started_at,
        "expires_at": session.expires_at,
        "last_active_at": session.last_active_at,
        "factors": session.factors,
        "device_fingerprint": {"user_agent": session.user_agent, "ip": session.ip},
        "device_info": {"user_agent": session.user_agent, "ip_address": session.ip},
        "created_at": session.started_at,
        "updated_at": session.updated_at,
    }
    if session.custom_claims:
        body["custom_claims"] = session.custom_claims
    return body if token is None else {**body, "session_token": token}


def user_body(user: User) -> Json:
    """Return the user object of the users endpoints: the id is ``user_id``."""
    return {
        "user_id": user.user_id,
        "first_name": user.first_name,
        "middle_name": user.middle_name,
        "last_name": user.last_name,
        "status": user.status,
        "active": user.status == "active",
        "emails": user.emails,
        "phone_numbers": user.phone_numbers,
        "idp_providers": [_idp_provider(user, one) for one in user.idp_providers],
        "wallets": user.wallets,
        "totps": [public_totp(totp) for totp in user.totps],
        "webauthn_credentials": [],
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }


def user_summary(user: User) -> Json:
    """Return the user object that comes with a session: the id is ``id``, and there is one ``email``."""
    return {
        "id": user.user_id,
        "email": user.emails[0]["email"] if user.emails else "",
        "phone_number": user.phone_numbers[0]["phone_number"] if user.phone_numbers else "",
        "first_name": user.first_name,
        "middle_name": user.middle_name,
        "last_name": user.last_name,
        "created_at": user.created_at,
    }


def _idp_provider(user: User, identity: Json) -> Json:
    more = {"provider": identity["provider_type"], "idp_type": "oauth", "method_id": identity["id"]}
    return {
        **identity,
        **more,
        "method_type": "oauth",
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }


def public_totp(totp: Json) -> Json:
    """Return a TOTP registration without its secrets."""
    return {name: totp[name] for name in ("id", "user_id", "verified", "created_at", "updated_at")}
