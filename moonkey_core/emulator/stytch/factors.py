"""Authentication factors: the ways in which users have proven their identity, or did not."""

from __future__ import annotations

import uuid
from typing import Any

from moonkey_core.emulator.records import Json, random_text
from moonkey_core.emulator.stytch.records import StytchUser
from moonkey_core.emulator.stytch.times import rfc3339

OAUTH_PROVIDERS = ("amazon", "apple", "discord", "facebook", "github", "google", "microsoft", "slack")
CONTACTS = {"email": "email", "magic_link": "email", "sms": "phone_number", "whatsapp": "phone_number"}
"""The kind of contact that a code or link goes to, by its name here."""

_OTHER: dict[str, tuple[str, str, str | None]] = {
    "password": ("password", "knowledge", None),
    "webauthn": ("webauthn", "webauthn_registration", "webauthn_factor"),
    "biometric": ("signature_challenge", "biometric", "biometric_factor"),
    "crypto": ("crypto", "crypto_wallet", "crypto_wallet_factor"),
    "imported": ("imported", "imported_auth0", None),
    "trusted_auth_token": ("trusted_auth_token", "trusted_token_exchange", "trusted_auth_token_factor"),
}
_OTHER_NAMES = {
    "otp": "email",
    "email_otp": "email",
    "phone": "sms",
    "sms_otp": "sms",
    "oauth": "google",
    "passkey": "webauthn",
    "wallet": "crypto",
    "recovery": "recovery_code",
    "impersonation": "impersonated",
}
FACTOR_NAMES = (*CONTACTS, "totp", "recovery_code", "impersonated", *_OTHER, *OAUTH_PROVIDERS, *_OTHER_NAMES)


def factor(kind: str, delivery: str, now: int, **details: Any) -> Json:
    """Return a factor object. ``details`` is its one ``…_factor`` object."""
    at = rfc3339(now)
    times = {"last_authenticated_at": at, "created_at": at, "updated_at": at}
    return {"type": kind, "delivery_method": delivery, **times, **details}


def contact_factor(name: str, contact: Json, now: int) -> Json:
    """Return the factor of a code or link: ``email``, ``magic_link``, ``sms`` or ``whatsapp``."""
    kind = "magic_link" if name == "magic_link" else "otp"
    if CONTACTS[name] == "email":
        details = {"email_id": contact["email_id"], "email_address": contact["email"]}
        return factor(kind, "email", now, email_factor=details)
    details = {"phone_id": contact["phone_id"], "phone_number": contact["phone_number"]}
    return factor(kind, name, now, phone_number_factor=details)


def totp_factor(totp_id: str, now: int) -> Json:
    """Return the factor of an authenticator app."""
    return factor("totp", "authenticator_app", now, authenticator_app_factor={"totp_id": totp_id})


def recovery_factor(code_id: str, now: int) -> Json:
    """Return the factor of a recovery code."""
    return factor("recovery_codes", "recovery_code", now, recovery_code_factor={"totp_recovery_code_id": code_id})


def oauth_factor(registration: Json, email_id: str | None, now: int) -> Json:
    """Return the factor of a login at another provider."""
    provider = str(registration["provider_type"]).lower()
    details = {
        "id": registration["oauth_user_registration_id"],
        "provider_subject": registration["provider_subject"],
        "email_id": email_id,
    }
    return factor("oauth", f"oauth_{provider}", now, **{f"{provider}_oauth_factor": details})


def impersonated_factor(now: int) -> Json:
    """Return the factor of a session that another person has begun in the user's name."""
    details = {
        "impersonator_id": f"member-test-{uuid.uuid4()}",
        "impersonator_email_address": "support@example.com",
    }
    return factor("impersonated", "impersonation", now, impersonated_factor=details)


def oauth_registration(provider: str, registration_id: str) -> Json:
    """Return a user's registration at another provider, as the user object has it."""
    return {
        "oauth_user_registration_id": registration_id,
        "provider_type": provider.capitalize(),
        "provider_subject": random_text(21),
        "profile_picture_url": "",
        "locale": "",
    }


def plain_name(name: str) -> str:
    """Return the name of a factor here: its own, such as ``sms``, or another usual one, such as ``otp``.

    Raises:
        ValueError: The name is not a known one; the message names those that are.
    """
    plain = name.strip().lower().replace("-", "_").replace(" ", "_").removesuffix("_oauth")
    found = _OTHER_NAMES.get(plain, plain)
    if found not in FACTOR_NAMES:
        raise ValueError(f"unknown factor {name[:50]!r}; known are {', '.join(FACTOR_NAMES)}")
    return found


def made_factor(name: str, user: StytchUser, contact: Json | None, now: int) -> Json:
    """Return a plausible factor for a name that ``plain_name`` returned, with the user's own ids.

    ``contact`` is the user's, where the factor has one.
    """
    if contact is not None:
        return contact_factor(name, contact, now)
    if name in ("totp", "recovery_code"):
        totp_id = user.totps[0]["totp_id"] if user.totps else f"totp-test-{uuid.uuid4()}"
        return totp_factor(totp_id, now) if name == "totp" else recovery_factor(totp_id, now)
    if name == "impersonated":
        return impersonated_factor(now)
    if name in OAUTH_PROVIDERS:
        return oauth_factor(oauth_registration(name, f"oauth-user-test-{uuid.uuid4()}"), None, now)
    kind, delivery, details_name = _OTHER[name]
    details: dict[str, Json] = {
        "webauthn_factor": {"webauthn_registration_id": f"webauthn-test-{uuid.uuid4()}", "domain": "localhost"},
        "biometric_factor": {"biometric_registration_id": f"biometric-test-{uuid.uuid4()}"},
        "crypto_wallet_factor": {
            "crypto_wallet_id": f"crypto-wallet-test-{uuid.uuid4()}",
            "crypto_wallet_address": "0xdemo",
            "crypto_wallet_type": "ethereum",
        },
        "trusted_auth_token_factor": {"token_id": random_text(20)},
    }
    return factor(kind, delivery, now, **({} if details_name is None else {details_name: details[details_name]}))
