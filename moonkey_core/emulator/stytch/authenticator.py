"""Authenticator apps (TOTP) and their recovery codes."""

from __future__ import annotations

from moonkey_core.emulator import fields, totp
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json, random_text
from moonkey_core.emulator.stytch import logins
from moonkey_core.emulator.stytch.errors import bad
from moonkey_core.emulator.stytch.factors import recovery_factor, totp_factor
from moonkey_core.emulator.stytch.records import StytchUser
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.wire import user_body

RECOVERY_CODES = 10
PENDING_MINUTES = 1_440


def _user(state: StytchState, body: Json) -> StytchUser:
    return state.user(fields.text(body, "user_id", 128))


def create(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/totps``. One verified registration a user; one that was never used is replaced."""
    user = _user(state, body)
    minutes = fields.whole_number(body, "expiration_minutes", 5, PENDING_MINUTES) or PENDING_MINUTES
    if any(one["verified"] for one in user.totps):
        raise bad("active_totp_exists", "There is already an active TOTP for this user.")
    made: Json = {
        "totp_id": state.new_id("totp"),
        "verified": False,
        "secret": totp.new_secret(),
        "recovery_codes": ["-".join(random_text(4).lower() for _ in range(3)) for _ in range(RECOVERY_CODES)],
        "last_step": 0,
        "usable_until": state.now() + minutes * 60,
    }
    user.totps = [made]
    return {
        "totp_id": made["totp_id"],
        "secret": made["secret"],
        "qr_code": totp.qr_base64(user, str(made["secret"])),
        "recovery_codes": made["recovery_codes"],
        "user": user_body(user),
        "user_id": user.user_id,
    }


def _registration(state: StytchState, body: Json) -> tuple[StytchUser, Json]:
    user = _user(state, body)
    if not user.totps:
        raise ApiError(404, "totps_not_found_for_user", "No TOTPs were found for this user.")
    found = user.totps[0]
    if not found["verified"] and found["usable_until"] <= state.now():
        raise ApiError(401, "expired_totp", "The TOTP was not authenticated in time.")
    return user, found


def authenticate(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/totps/authenticate``; a code is accepted one step around now, and once."""
    user, found = _registration(state, body)
    code = fields.text(body, "totp_code", 16)
    wanted = logins.demand(state, body, user)
    step = totp.matching_step(found["secret"], code, state.now())
    if step is None:
        raise ApiError(401, "unable_to_authenticate_totp", "The TOTP code could not be authenticated.")
    if step <= found["last_step"]:
        raise ApiError(401, "totp_code_already_authenticated", "The TOTP code was already authenticated.")
    found.update(last_step=step, verified=True)
    factor = totp_factor(found["totp_id"], state.time())
    return {"totp_id": found["totp_id"], **logins.grant(state, wanted, user, factor)}


def recovery_codes(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/totps/recovery_codes``: those not used yet."""
    user, found = _registration(state, body)
    shown = {name: found[name] for name in ("totp_id", "verified", "recovery_codes")}
    return {"user_id": user.user_id, "totps": [shown]}


def recover(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/totps/recover``; a recovery code works once."""
    user, found = _registration(state, body)
    code = fields.text(body, "recovery_code", 64)
    wanted = logins.demand(state, body, user)
    if code not in found["recovery_codes"]:
        raise ApiError(
            401, "unable_to_authenticate_recovery_code", "The recovery code could not be authenticated."
        )
    found["recovery_codes"].remove(code)
    factor = recovery_factor(state.new_id("totp-recovery-code"), state.time())
    return {"totp_id": found["totp_id"], **logins.grant(state, wanted, user, factor)}
