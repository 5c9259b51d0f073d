"""Time-based one-time passwords: RFC 6238 with SHA-1, six digits and 30-second steps."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import secrets
from typing import Protocol
from urllib.parse import quote, urlencode

import segno

from moonkey_core.emulator.records import Json

STEP_SECONDS = 30
_ISSUER = "MoonKey emulator"


class Enrolling(Protocol):
    """A user of any service. Their first contact is what an authenticator app shows."""

    user_id: str
    emails: list[Json]
    phone_numbers: list[Json]


def new_secret() -> str:
    """Return a new shared secret of 160 bits, in base32 as authenticator apps read it."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def enrolment_uri(user: Enrolling, secret: str) -> str:
    """Return the Key URI that authenticator apps read, with the defaults left out."""
    contacts = [*(one["email"] for one in user.emails), *(one["phone_number"] for one in user.phone_numbers)]
    label = quote(f"{_ISSUER}:{contacts[0] if contacts else user.user_id}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': _ISSUER}, quote_via=quote)}"


def qr_base64(user: Enrolling, secret: str) -> str:
    """Return the QR code of the enrolment, a PNG, in base64."""
    picture = io.BytesIO()
    segno.make(enrolment_uri(user, secret), micro=False).save(picture, kind="png", scale=5)
    return base64.b64encode(picture.getvalue()).decode()


def totp_code(secret: str, at: float) -> str:
    """Return the code of a base32 secret at a time in Unix seconds."""
    return _code(secret, int(at) // STEP_SECONDS)


def matching_step(secret: str, code: str, at: float) -> int | None:
    """Return the step with this code, one step early or late at most; else ``None``."""
    now = int(at) // STEP_SECONDS
    for step in (now, now - 1, now + 1):
        if hmac.compare_digest(_code(secret, step).encode(), code.encode()):
            return step
    return None


def _code(secret: str, step: int) -> str:
    digest = hmac.new(base64.b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"
