"""Factor objects: the ways in which users have proven their identity."""

from __future__ import annotations

from moonkey_core.emulator.records import Json, User, new_id

_WALLET_CHANNELS = {
    "ethereum": "eth_wallet",
    "eth": "eth_wallet",
    "solana": "sol_wallet",
    "sol": "sol_wallet",
}
WALLET_TYPES = frozenset(_WALLET_CHANNELS)
PROVIDERS = ("apple", "discord", "facebook", "github", "google", "microsoft", "okta", "slack")
_CHANNELS = (
    *("email", "sms", "magic_link", "totp_authenticator", "totp_recovery_code"),
    *("eth_wallet", "sol_wallet", "webauthn_credential"),
)
# The types of factors, and their other usual names.
_OTHER_NAMES = {
    "otp": "email",
    "email_otp": "email",
    "otp_email": "email",
    "email_magic_link": "magic_link",
    "sms_otp": "sms",
    "otp_sms": "sms",
    "phone": "sms",
    "phone_number": "sms",
    "totp": "totp_authenticator",
    "recovery_code": "totp_recovery_code",
    "oauth": "google_oauth",
    "wallet": "eth_wallet",
    "eth": "eth_wallet",
    "ethereum": "eth_wallet",
    "sol": "sol_wallet",
    "solana": "sol_wallet",
    "webauthn": "webauthn_credential",
    "passkey": "webauthn_credential",
}
FACTOR_NAMES = (*_CHANNELS, *(f"{provider}_oauth" for provider in PROVIDERS), *_OTHER_NAMES)


def contact_factor(kind: str, contact: Json, now: int, factor_type: str = "otp") -> Json:
    """Return the factor of a code or link sent to an ``email`` or ``phone_number``."""
    method = {f"{kind}_id": contact["id"], kind: contact[kind], "last_verified_at": now}
    channel = "email" if kind == "email" else "sms"
    return _factor(channel, factor_type, contact["id"], kind, method)


def totp_factor(totp_id: str, now: int, *, recovery: bool = False) -> Json:
    """Return the factor of an authenticator app, or of a recovery code for it."""
    channel = "totp_recovery_code" if recovery else "totp_authenticator"
    return _factor(channel, "totp", totp_id, "totp", {"totp_id": totp_id, "last_verified_at": now})


def oauth_factor(provider: str, identity: Json, now: int) -> Json:
    """Return the factor of a login at another provider."""
    method = {"provider_subject": identity["provider_subject"], "last_verified_at": now}
    return _factor(f"{provider}_oauth", "oauth", identity["id"], "oauth", method)


def wallet_factor(wallet: Json, now: int) -> Json:
    """Return the factor of a wallet signature."""
    method = {
        "wallet_id": wallet["id"],
        "wallet_type": wallet["wallet_type"],
        "wallet_public_address": wallet["public_address"],
        "last_verified_at": now,
    }
    return _factor(_WALLET_CHANNELS[wallet["wallet_type"].lower()], "wallet", wallet["id"], "wallet", method)


def channel_of(name: str) -> str:
    """Return the delivery channel of a name: its own, such as ``sms``, or another usual one, such as ``totp``.

    Raises:
        ValueError: The name is not a known one; the message names those that are.
    """
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    channel = _OTHER_NAMES.get(plain, f"{plain}_oauth" if plain in PROVIDERS else plain)
    if channel not in _CHANNELS and not (channel.endswith("_oauth") and 6 < len(channel) < 50):
        raise ValueError(f"unknown factor {name[:50]!r}; known are {', '.join(FACTOR_NAMES)}")
    return channel


def contact_kind(channel: str) -> str | None:
    """Return the kind of contact of a channel: ``email``, ``phone_number``, or none."""
    return {"email": "email", "magic_link": "email", "sms": "phone_number"}.get(channel)


def made_factor(channel: str, user: User, contact: Json | None, now: int) -> Json:
    """Return a plausible factor for a delivery channel that ``channel_of`` returned, with the user's own ids.

    ``contact`` is the user's, where the channel has one. A user without an authenticator app, wallet or the like
    gets an invented id.
    """
    kind = contact_kind(channel)
    if kind is not None and contact is not None:
        return contact_factor(kind, contact, now, "magic_link" if channel == "magic_link" else "otp")
    if channel.startswith("totp_"):
        totp_id = user.totps[0]["id"] if user.totps else new_id("totp")
        return totp_factor(totp_id, now, recovery=channel == "totp_recovery_code")
    if channel.endswith("_oauth"):
        provider = channel.removesuffix("_oauth")
        made = {"id": new_id("idp"), "provider_type": provider, "provider_subject": new_id(provider)}
        own = (one for one in user.idp_providers if one["provider_type"] == provider)
        return oauth_factor(provider, next(own, made), now)
    if channel.endswith("_wallet"):
        own = (one for one in user.wallets if _WALLET_CHANNELS.get(one["wallet_type"].lower()) == channel)
        wallet_type = "ethereum" if channel == "eth_wallet" else "solana"
        made = {"id": new_id("wlt"), "wallet_type": wallet_type, "public_address": "0xdemo"}
        return wallet_factor(next(own, made), now)
    return _factor(channel, "webauthn", new_id("wac"), "webauthn", {"last_verified_at": now})


def _factor(channel: str, factor_type: str, method_id: str, method_type: str, method: Json) -> Json:
    return {
        "delivery_channel": channel,
        "type": factor_type,
        "method": {"method_id": method_id, "method_type": method_type, **method},
    }
