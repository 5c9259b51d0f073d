"""CDP's own MFA: enrolled methods, and whether a sign-in has passed it. An app's server never sees the latter."""

from __future__ import annotations

import secrets

from moonkey_core.emulator.cdp.errors import mfa_error, unauthorized
from moonkey_core.emulator.cdp.records import Challenge, MfaKind, MfaStarted, SignIn, utc
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.records import random_text

FLOW_SECONDS = 5 * 60
SESSION_SECONDS = 15 * 60  # the service does not document it
KINDS: tuple[MfaKind, ...] = ("totp", "sms")


def begin(state: CdpState, refresh_token: str, kind: MfaKind, *, enroll: bool) -> MfaStarted:
    """Begin to enroll a method, or to verify an enrolled one.

    Raises:
        CdpError: The method is enrolled already, or is not; or the sign-in is over.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    user = state.users[_live(state, refresh_token).user_id]
    if enroll and kind in user.mfa:
        raise mfa_error("mfa_already_enrolled", "The MFA method is enrolled already.")
    if not enroll and kind not in user.mfa:
        raise mfa_error("mfa_not_enrolled", "The user has not enrolled this MFA method.")
    started = MfaStarted(random_text(24), f"{secrets.randbelow(1_000_000):06d}")
    ends_at = state.now() + FLOW_SECONDS
    state.keep_challenge(
        started.challenge_id, Challenge(refresh_token, kind, started.code, ends_at, enrolls=enroll)
    )
    return started


def complete(state: CdpState, refresh_token: str, challenge_id: str, code: str) -> None:
    """Complete a step by its code. MFA counts as done then, in this sign-in alone.

    With custom authentication it counts for the user, in all clients.

    Raises:
        CdpError: The code is wrong, the step too old or unknown, or the sign-in is over.
    """
    sign_in = _live(state, refresh_token)
    challenge = state.challenges.get(challenge_id)
    if challenge is None or challenge.refresh_token != refresh_token:
        raise mfa_error("mfa_challenge_not_found", "There is no such MFA challenge.")
    if challenge.expires_at <= state.now():
        raise mfa_error("mfa_flow_expired", "The MFA flow has expired.")
    if challenge.tries_left <= 0 or not secrets.compare_digest(challenge.code.encode(), code.encode()):
        challenge.tries_left -= 1
        raise mfa_error("mfa_invalid_code", "The MFA code is not valid.")
    del state.challenges[challenge_id]
    if challenge.enrolls:
        state.users[sign_in.user_id].mfa[challenge.kind] = {"enrolledAt": utc(state.now())}
    for one in _sharing(state, sign_in):
        one.mfa_until = state.now() + SESSION_SECONDS


def protected(state: CdpState, refresh_token: str) -> None:
    """Do what needs MFA, such as a transfer.

    Raises:
        CdpError: MFA has to be done first. A user without any method passes.
    """
    sign_in = _live(state, refresh_token)
    enrolled = any(kind in state.users[sign_in.user_id].mfa for kind in KINDS)
    if enrolled and sign_in.mfa_until <= state.now():
        raise mfa_error("mfa_required", "MFA verification is required for this operation.")


def _sharing(state: CdpState, sign_in: SignIn) -> list[SignIn]:
    if sign_in.auth_type != "jwt":
        return [sign_in]
    return [one for one in state.sign_ins.values() if one.user_id == sign_in.user_id]


def _live(state: CdpState, refresh_token: str) -> SignIn:
    found = state.sign_in_of(refresh_token)
    if found is None or found.user_id not in state.users:
        raise unauthorized()
    return found
