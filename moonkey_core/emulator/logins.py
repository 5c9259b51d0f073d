"""The other ways to sign in: OAuth, authenticator apps and wallets."""

from __future__ import annotations

import hashlib
import hmac

from moonkey_core.emulator import fields, sessions, totp, users
from moonkey_core.emulator.errors import ApiError, invalid
from moonkey_core.emulator.factors import WALLET_TYPES, oauth_factor, totp_factor, wallet_factor
from moonkey_core.emulator.records import Json, Pending, User, new_id, random_text
from moonkey_core.emulator.state import State
from moonkey_core.emulator.wallets import check_managed, keep_wallet, managed_wallet
from moonkey_core.emulator.wire import public_totp

PENDING_SECONDS = 300
RECOVERY_CODES = 8


def new_oauth_token(state: State, email: str, provider: str) -> str:
    """Return a token such as a redirect from ``provider`` has, for a user who is created if need be."""
    user, _ = users.find_or_create(state, "email", email)
    identity = next((one for one in user.idp_providers if one["provider_type"] == provider), None)
    if identity is None:
        identity = {"id": new_id("idp"), "provider_type": provider, "provider_subject": random_text(21)}
        user.idp_providers.append(identity)
        state.store.save_user(user)
    token = random_text(64)
    pending = Pending("oauth", user.user_id, identity["id"], int(state.now()) + PENDING_SECONDS, email)
    pending.details = identity
    state.await_proof(token, pending)
    return token


def verify_oauth(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/oauth/verify``; takes ``token`` or ``code``, once."""
    _, token = fields.exactly_one(body, ("token", "code"), 512)
    pending = state.pending("oauth", token)
    if pending is None:
        raise ApiError(400, "invalid_oauth_token", "The token is wrong, used or expired")
    user = state.store.users[pending.user_id]
    wanted = sessions.demand(state, body, user.user_id)
    state.forget_pending("oauth", token)
    provider = pending.details["provider_type"]
    if any(contact["email"] == pending.proof for contact in user.emails):  # it may have been deleted meanwhile
        users.verify_contact(state, user, "email", pending.proof)
    granted = sessions.grant(state, wanted, user, oauth_factor(provider, pending.details, int(state.now())))
    return {
        "provider": provider,
        "provider_subject": pending.details["provider_subject"],
        "user_id": user.user_id,
        "idp_session": {"access_token": random_text(40), "refresh_token": ""},
        **granted,
    }


def create_totp(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/totps/create``. One verified registration a user."""
    user = users.existing(state, fields.text(body, "user_id", 64))
    if any(one["verified"] for one in user.totps):
        raise ApiError(409, "duplicate_totp", "The user has an authenticator app")
    now = int(state.now())
    registration = {
        "id": new_id("totp"),
        "user_id": user.user_id,
        "verified": False,
        "created_at": now,
        "updated_at": now,
        "secret": totp.new_secret(),
        "recovery_codes": [random_text(12) for _ in range(RECOVERY_CODES)],
        "last_step": 0,
    }
    user.totps = [registration]
    state.store.save_user(user)
    given = {name: registration[name] for name in ("secret", "recovery_codes")}
    return {
        "user_id": user.user_id,
        "totp_id": registration["id"],
        "qr_base64": totp.qr_base64(user, str(given["secret"])),
        **given,
    }


def _registration(state: State, body: Json) -> tuple[User, Json]:
    user = users.existing(state, fields.text(body, "user_id", 64))
    if not user.totps:
        raise ApiError(404, "totp_not_found", "The user has no authenticator app")
    return user, user.totps[0]


def _totp_login(state: State, wanted: sessions.Demand, user: User, registration: Json, *, recovery: bool) -> Json:
    state.store.save_user(user)
    factor = totp_factor(registration["id"], int(state.now()), recovery=recovery)
    granted = sessions.grant(state, wanted, user, factor)
    return {"user_id": user.user_id, "totp_id": registration["id"], **granted}


def verify_totp(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/totps/verify``; a code is accepted one step around now, and once."""
    user, registration = _registration(state, body)
    code = fields.text(body, "totp", 16)
    wanted = sessions.demand(state, body, user.user_id)
    step = totp.matching_step(registration["secret"], code, state.now())
    if step is None or step <= registration["last_step"]:
        raise ApiError(400, "invalid_totp", "The code is wrong or was used")
    registration.update(last_step=step, verified=True, updated_at=int(state.now()))
    return _totp_login(state, wanted, user, registration, recovery=False)


def totp_recovery_codes(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/totps/recovery_codes``: those not used yet."""
    user, registration = _registration(state, body)
    return {
        "user_id": user.user_id,
        "totps": [{**public_totp(registration), "recovery_codes": registration["recovery_codes"]}],
    }


def recover_totp(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/totps/recovery``; the code comes as ``recovery_code`` or ``totp``, and works once."""
    user, registration = _registration(state, body)
    _, code = fields.exactly_one(body, ("recovery_code", "totp"), 64)
    wanted = sessions.demand(state, body, user.user_id)
    if code not in registration["recovery_codes"]:
        raise ApiError(400, "invalid_recovery_code", "The recovery code is wrong or was used")
    registration["recovery_codes"].remove(code)
    return _totp_login(state, wanted, user, registration, recovery=True)


def sign_wallet(state: State, challenge: str) -> str:
    """Return the demo signature of a challenge: HMAC-SHA256 under the demo wallet key, in hex.

    No blockchain's own signature is checked here; every demo wallet signs with the one demo key.
    """
    return "0x" + hmac.new(bytes.fromhex(state.wallet_key), challenge.encode(), hashlib.sha256).hexdigest()


def _wallet_named(body: Json) -> tuple[str, str]:
    wallet_type = fields.text(body, "wallet_type", 20)
    if wallet_type.lower() not in WALLET_TYPES:
        raise invalid("wallet_type must be ethereum or solana")
    return wallet_type, fields.text(body, "public_address", 128)


def _wallet_owner(state: State, body: Json, address: str) -> User:
    for user in state.store.users.values():
        if any(wallet["public_address"] == address for wallet in user.wallets):
            return user
    user_id = fields.optional_text(body, "user_id", 64)
    return users.existing(state, user_id) if user_id else users.new_user(state)


def begin_wallet(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/wallets/registrations/begin`` with a challenge to sign."""
    wallet_type, address = _wallet_named(body)
    user = _wallet_owner(state, body, address)
    now = int(state.now())
    challenge = f"Sign in to the MoonKey emulator as {address}. Nonce: {random_text(24)}"
    pending = Pending("wallet", user.user_id, new_id("wlt"), now + PENDING_SECONDS, challenge)
    state.await_proof(f"{wallet_type.lower()}:{address}", pending)
    return {
        "id": pending.method_id,
        "app_id": state.app_id,
        "user_id": user.user_id,
        "public_address": address,
        "wallet_type": wallet_type,
        "challenge": challenge,
        "created_at": now,
        "updated_at": now,
    }


def verify_wallet(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/wallets/verify``; the signature is the demo one, see ``sign_wallet``."""
    wallet_type, address = _wallet_named(body)
    signature = fields.text(body, "signature", 256)
    key = f"{wallet_type.lower()}:{address}"
    pending = state.pending("wallet", key)
    if pending is None or not hmac.compare_digest(
        sign_wallet(state, pending.proof).removeprefix("0x").encode(), signature.removeprefix("0x").encode()
    ):
        raise ApiError(400, "invalid_signature", "The signature is wrong, or no registration was begun")
    user = state.store.users[pending.user_id]
    wanted = sessions.demand(state, body, user.user_id)
    state.forget_pending("wallet", key)
    wallet = keep_wallet(state, user, pending.method_id, wallet_type, address)
    granted = sessions.grant(state, wanted, user, wallet_factor(wallet, int(state.now())))
    return {**wallet, "is_read_only": False, "is_imported": False, **granted}


def create_wallet(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/wallets/create``: a wallet that the service keeps; one of a type for each user."""
    wallet_type = fields.text(body, "wallet_type", 20)
    check_managed(wallet_type)
    wallet = managed_wallet(state, users.existing(state, fields.text(body, "user_id", 64)), wallet_type)
    return {**wallet, "verified": True, "is_read_only": False, "is_imported": False}
