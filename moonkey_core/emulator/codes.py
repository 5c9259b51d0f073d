"""Codes and links sent to an email address or phone: one-time passcodes and magic links."""

from __future__ import annotations

import hmac
import secrets

from moonkey_core.emulator import fields, sessions, users
from moonkey_core.emulator.errors import ApiError, invalid, not_found
from moonkey_core.emulator.factors import contact_factor
from moonkey_core.emulator.records import Json, Pending, Sent, User, random_text
from moonkey_core.emulator.redirects import with_query
from moonkey_core.emulator.state import State

_DEFAULT_LINK = "http://localhost/authenticate"
_REDIRECTS = ("login_redirect_url", "registration_redirect_url", "invite_redirect_url")
_LINK_MINUTES = ("login_expires_in", "registration_expires_in", "invite_expires_in", "expires_in")
DEFAULT_LINK_MINUTES = 60
MAX_LINK_MINUTES = 10_080


def _address(body: Json, kind: str) -> str:
    return fields.email(body) if kind == "email" else fields.phone_number(body)


def _recipient(state: State, kind: str, value: str, body: Json, create: bool) -> tuple[User, bool]:
    if create:
        return users.find_or_create(state, kind, value, body)
    user = users.find_by_contact(state, kind, value)
    if user is None:
        raise not_found("user")
    return user, False


def _sent_body(user: User, kind: str, contact: Json, created: bool) -> Json:
    return {
        "user_id": user.user_id,
        "method_id": contact["id"],
        f"{kind}_id": contact["id"],
        "user_created": created,
        "status": user.status,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }


def _verified(state: State, user: User, kind: str, method_id: str) -> Json:
    """Mark the contact that received the code as verified, and return it."""
    contact = next((one for one in users.contacts(user, kind) if one["id"] == method_id), None)
    if contact is None:
        raise not_found(kind)
    contact["verified"] = True
    state.store.save_user(user)
    return contact


def send_otp(state: State, body: Json, kind: str, create: bool) -> Json:
    """Answer ``POST /v1/auth/otps/{email|sms}/{send|login_or_create}``; a code lives 1 to 10 minutes."""
    value = _address(body, kind)
    minutes = fields.whole_number(body, "expires_in", 1, 10) or 1
    fields.device(body)
    user, created = _recipient(state, kind, value, body, create)
    contact = users.contact_of(user, kind, value)
    code = f"{secrets.randbelow(1_000_000):06d}"
    now = int(state.now())
    pending = Pending("otp", user.user_id, contact["id"], now + minutes * 60, code, details={"kind": kind})
    state.await_proof(contact["id"], pending)
    channel = "email_otp" if kind == "email" else "sms_otp"
    state.send(Sent(channel, value, code, "", contact["id"], user.user_id, now, pending.expires_at))
    return _sent_body(user, kind, contact, created)


def _otp_method(state: State, body: Json) -> tuple[str, str]:
    """Return the method id and the code of either body: ``{method_id, otp}`` or ``{code, email}``."""
    if body.get("method_id") or body.get("otp"):
        return fields.text(body, "method_id", 64), fields.text(body, "otp", 16)
    code, email = fields.text(body, "code", 16), fields.email(body)
    user = users.find_by_contact(state, "email", email)
    return (users.contact_of(user, "email", email)["id"] if user else "", code)


def verify_otp(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/otps/verify``; the fifth wrong try ends a code."""
    method_id, code = _otp_method(state, body)
    sessions.expires_in(state, body)
    fields.device(body)
    pending = state.pending("otp", method_id)
    wrong = ApiError(400, "invalid_otp", "The code is wrong or has expired")
    if pending is None:
        raise wrong
    if not hmac.compare_digest(pending.proof.encode(), code.encode()):
        pending.tries_left -= 1
        if pending.tries_left <= 0:
            state.forget_pending("otp", method_id)
        raise wrong
    user = state.store.users[pending.user_id]
    wanted = sessions.demand(state, body, user.user_id)
    state.forget_pending("otp", method_id)
    kind = pending.details["kind"]
    factor = contact_factor(kind, _verified(state, user, kind, method_id), int(state.now()))
    granted = sessions.grant(state, wanted, user, factor)
    return {"method_id": method_id, "method_type": kind, "user_id": user.user_id, **granted}


def _link_options(body: Json) -> tuple[int, str]:
    given = [fields.whole_number(body, name, 1, MAX_LINK_MINUTES) for name in _LINK_MINUTES]
    minutes = next((one for one in given if one is not None), DEFAULT_LINK_MINUTES)
    urls = [fields.optional_text(body, name, 2_000) for name in _REDIRECTS]
    return minutes, next((url for url in urls if url), _DEFAULT_LINK)


def _new_link(state: State, user: User, contact: Json, minutes: int) -> tuple[str, int]:
    token = random_text(64)
    expires_at = int(state.now()) + minutes * 60
    state.await_proof(token, Pending("magic_link", user.user_id, contact["id"], expires_at))
    return token, expires_at


def send_magic_link(state: State, body: Json, create: bool) -> Json:
    """Answer ``POST /v1/auth/magic_links/{email/send, email/login_or_create, email/invite}``."""
    email = fields.email(body)
    minutes, url = _link_options(body)
    fields.device(body)
    user, created = _recipient(state, "email", email, body, create)
    contact = users.contact_of(user, "email", email)
    token, expires_at = _new_link(state, user, contact, minutes)
    link = with_query(url, token=token)
    now = int(state.now())
    state.send(Sent("magic_link", email, token, link, contact["id"], user.user_id, now, expires_at))
    return _sent_body(user, "email", contact, created)


def create_magic_link(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/magic_links/create``: a token for the app to send by itself."""
    user = users.existing(state, fields.text(body, "user_id", 64))
    if not user.emails:
        raise invalid("The user has no email address")
    token, _ = _new_link(state, user, user.emails[0], _link_options(body)[0])
    return {"user_id": user.user_id, "token": token}


def verify_magic_link(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/magic_links/verify``; a link works once."""
    token = fields.text(body, "token", 256)
    pending = state.pending("magic_link", token)
    if pending is None:
        raise ApiError(400, "invalid_magic_token", "The magic token is wrong, used or expired")
    user = state.store.users[pending.user_id]
    wanted = sessions.demand(state, body, user.user_id)
    state.forget_pending("magic_link", token)
    contact = _verified(state, user, "email", pending.method_id)
    factor = contact_factor("email", contact, int(state.now()), "magic_link")
    granted = sessions.grant(state, wanted, user, factor)
    return {"method_id": pending.method_id, "method_type": "email", "user_id": user.user_id, **granted}
