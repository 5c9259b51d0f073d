"""Factor objects: how a user has proven who they are."""

from __future__ import annotations

from moonkey_core.emulator.records import Json, User, new_id

_WALLET_CHANNELS = {
    "ethereum": "eth_wallet",
    "eth": "eth_wallet",
    "solana": "sol_wallet",
    "sol": "sol_wallet",
}
WALLET_TYPES = frozenset(_WALLET_CHANNELS)


def contact_factor(kind: str, contact: Json, now: int, factor_type: str = "otp") -> Json:
    """Return the factor of a code or link sent to an `email` or `phone_number`."""
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


def named_factor(channel: str, user: User, now: int) -> Json:
    """Return a plausible factor for a delivery channel, such as `sms` or `github_oauth`.

    Raises:
        ValueError: the channel is not a known one.
    """
    if channel == "email" and user.emails:
        return contact_factor("email", user.emails[0], now)
    if channel in ("email", "sms"):
        kind, value = ("email", "demo@example.com") if channel == "email" else ("phone_number", "+14155550100")
        return contact_factor(kind, {"id": new_id("em" if channel == "email" else "pn"), kind: value}, now)
    if channel in ("totp_authenticator", "totp_recovery_code"):
        return totp_factor(new_id("totp"), now, recovery=channel == "totp_recovery_code")
    if channel.endswith("_oauth") and len(channel) < 50:
        provider = channel.removesuffix("_oauth")
        return oauth_factor(provider, {"id": new_id("idp"), "provider_subject": new_id(provider)}, now)
    if channel in ("eth_wallet", "sol_wallet"):
        wallet_type = "ethereum" if channel == "eth_wallet" else "solana"
        wallet = {"id": new_id("wlt"), "wallet_type": wallet_type, "public_address": "0xdemo"}
        return wallet_factor(wallet, now)
    if channel == "webauthn_credential":
        method = {"last_verified_at": now}
        return _factor(channel, "webauthn", new_id("wac"), "webauthn", method)
    raise ValueError(f"unknown factor {channel[:50]!r}; use a delivery channel such as 'email' or 'sms'")


def _factor(channel: str, factor_type: str, method_id: str, method_type: str, method: Json) -> Json:
    return {
        "delivery_channel": channel,
        "type": factor_type,
        "method": {"method_id": method_id, "method_type": method_type, **method},
    }
