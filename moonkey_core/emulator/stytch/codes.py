"""Codes and links sent to an email address or phone: one-time passcodes and magic links."""

from __future__ import annotations

import hmac
import secrets

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.pkce import proves
from moonkey_core.emulator.records import Json, Pending, Sent, random_text
from moonkey_core.emulator.redirects import redirect_url, with_query
from moonkey_core.emulator.stytch import logins, users
from moonkey_core.emulator.stytch.errors import bad
from moonkey_core.emulator.stytch.factors import CONTACTS, contact_factor
from moonkey_core.emulator.stytch.records import StytchUser
from moonkey_core.emulator.stytch.state import StytchState

DEFAULT_LINK = "http://localhost/authenticate"
CODE_MINUTES = 2
LOGIN_LINK_MINUTES, SIGNUP_LINK_MINUTES = 60, 10_080


def _minutes(body: Json, name: str, low: int, high: int, usual: int) -> int:
    try:
        return fields.whole_number(body, name, low, high) or usual
    except ApiError as error:
        raise bad("invalid_expiration", error.message) from None


def _recipient(state: StytchState, body: Json, kind: str, *, create: bool) -> tuple[StytchUser, Json, bool]:
    """Return the user and the contact that something is sent to, and whether the user was made for it."""
    value = users.address(body, kind)
    pending = fields.flag(body, "create_user_as_pending")
    made = False
    if create:
        user, made = users.find_or_create(state, kind, value, pending=pending)
    else:
        found = users.named(state, body) or users.find_by_contact(state, kind, value)
        if found is None:
            raise ApiError(404, f"{kind}_not_found", f"The {kind} could not be found.")
        user = found
    return user, users.contact_of(state, user, kind, value), made


def _sent(user: StytchUser, kind: str, contact: Json, made: bool) -> Json:
    name = users.id_name(kind)
    return {"user_id": user.user_id, name: contact[name], "user_created": made}


def send_otp(state: StytchState, body: Json, channel: str, create: bool) -> Json:
    """Answer ``POST /v1/otps/{email|sms|whatsapp}/{send|login_or_create}``; a code lives 1 to 10 minutes."""
    kind = CONTACTS[channel]
    minutes = _minutes(body, "expiration_minutes", 1, 10, CODE_MINUTES)
    logins.device(body)
    user, contact, made = _recipient(state, body, kind, create=create)
    method_id = users.contact_id(kind, contact)
    code, now = f"{secrets.randbelow(1_000_000):06d}", int(state.now())
    pending = Pending("otp", user.user_id, method_id, now + minutes * 60, code, details={"channel": channel})
    state.await_proof(method_id, pending)
    state.send(Sent(f"{channel}_otp", contact[kind], code, "", method_id, user.user_id, now, pending.expires_at))
    return _sent(user, kind, contact, made)


def authenticate_otp(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/otps/authenticate``; the fifth wrong try ends a code."""
    method_id, code = fields.text(body, "method_id", 64), fields.text(body, "code", 16)
    pending = state.pending("otp", method_id)
    if pending is None:
        message = "The passcode could not be authenticated because it was either already used or expired."
        raise ApiError(401, "unable_to_auth_otp_code", message)
    if not hmac.compare_digest(pending.proof.encode(), code.encode()):
        pending.tries_left -= 1
        if pending.tries_left <= 0:
            state.forget_pending("otp", method_id)
        raise ApiError(404, "otp_code_not_found", "The passcode could not be found.")
    user, channel = state.users[pending.user_id], pending.details["channel"]
    wanted = logins.demand(state, body, user)
    state.forget_pending("otp", method_id)
    contact = _verified(user, CONTACTS[channel], method_id)
    factor = contact_factor(channel, contact, state.time())
    return {"method_id": method_id, **logins.grant(state, wanted, user, factor)}


def _verified(user: StytchUser, kind: str, method_id: str) -> Json:
    """Mark the contact that got a code or link as verified, and return it."""
    found = (one for one in users.contacts(user, kind) if users.contact_id(kind, one) == method_id)
    contact = next(found)  # contacts are never taken away here
    contact["verified"] = True
    return contact


def send_magic_link(state: StytchState, body: Json, create: bool) -> Json:
    """Answer ``POST /v1/magic_links/email/{send|login_or_create}``."""
    urls = {name: redirect_url(body, f"{name}_magic_link_url") for name in ("login", "signup")}
    login_minutes = _minutes(body, "login_expiration_minutes", 5, 10_080, LOGIN_LINK_MINUTES)
    signup_minutes = _minutes(body, "signup_expiration_minutes", 5, 10_080, SIGNUP_LINK_MINUTES)
    challenge = fields.optional_text(body, "code_challenge", 128)
    logins.device(body)
    user, contact, made = _recipient(state, body, "email", create=create)
    url = (urls["signup"] if made else urls["login"]) or urls["login"] or urls["signup"] or DEFAULT_LINK
    token, now = random_text(44), int(state.now())
    until = now + (signup_minutes if made else login_minutes) * 60
    details = {"code_challenge": challenge}
    state.await_proof(token, Pending("magic_link", user.user_id, contact["email_id"], until, details=details))
    link = with_query(url, stytch_token_type="magic_links", token=token)  # noqa: S106 a type, not a token
    state.send(Sent("magic_link", contact["email"], token, link, contact["email_id"], user.user_id, now, until))
    return _sent(user, "email", contact, made)


def check_verifier(body: Json, challenge: str) -> None:
    """Check the PKCE verifier of a request against the challenge that began it.

    Raises:
        ApiError: One is there without the other, or they do not belong together.
    """
    verifier = fields.optional_text(body, "code_verifier", 256)
    if challenge and not verifier:
        raise bad("pkce_expected_code_verifier", "A code_verifier is required.")
    if verifier and not challenge:
        raise bad("pkce_did_not_expect_code_verifier", "No code_verifier is expected.")
    if challenge and not proves(verifier, challenge):
        raise ApiError(401, "pkce_mismatch", "The code_verifier does not match the code_challenge.")


def authenticate_magic_link(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/magic_links/authenticate``; a link works once."""
    token = fields.text(body, "token", 256)
    pending = state.pending("magic_link", token)
    if pending is None:
        message = "The magic link could not be authenticated because it was either already used or expired."
        raise ApiError(401, "unable_to_auth_magic_link", message)
    check_verifier(body, pending.details["code_challenge"])
    user = state.users[pending.user_id]
    wanted = logins.demand(state, body, user)
    state.forget_pending("magic_link", token)
    contact = _verified(user, "email", pending.method_id)
    factor = contact_factor("magic_link", contact, state.time())
    return {"method_id": pending.method_id, **logins.grant(state, wanted, user, factor)}
