"""The session JWT: strict parsing of the compact form, and the rules for its header and claims.

Does no I/O and reads no clock. Every refusal is an :class:`InvalidCredentials` with its own reason. PyJWT verifies
the signature; this module decides which keys, algorithms and forms reach it (RFC 7515, 7519, 8725).
"""

from __future__ import annotations

import binascii
import math
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from moonkey_core._evidence import ago, seconds, shown
from moonkey_core._strict_json import load_object
from moonkey_core.errors import InvalidCredentials
from moonkey_core.settings import Settings

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that verify JWTs should spend
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt.algorithms import RSAAlgorithm

_MAX_KID_LENGTH = 256
_SOME_TIME = 2**48
# Base64url to base64; a character that only base64 has becomes one that neither has.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", None, b"==", b"=")
# By the remainder of a part's length divided by 4: the last characters whose unused bits are zero.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


@dataclass(slots=True, eq=False, repr=False)
class ParsedJwt:
    """A JWT whose form, header and time claims are valid. Its signature has not been verified.

    All times are Unix seconds.

    Attributes:
        head: The header, still encoded.
        kid: The key id in the header.
        body: The payload, decoded from base64url.
        payload: The claims.
        issued_at: Its ``iat``.
        starts_at: The later one of ``iat`` and ``nbf``.
        expires_at: Its ``exp``, in whole seconds.
        signing_input: The signed bytes (RFC 7515 section 5.1).
        signature: The signature.
    """

    head: bytes = field(repr=False)
    kid: str
    body: bytes = field(repr=False)
    payload: Mapping[str, Any] = field(repr=False)
    issued_at: float
    starts_at: float
    expires_at: float
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def age(self, now: float) -> str:
        """Return a sentence about its age, for the operator; ``now`` is in Unix seconds."""
        issued, expires = ago(now - self.issued_at), ago(now - self.expires_at)
        return f"Its iat is {issued}, its exp {expires}, by the clock of this machine."

    def stale_at(self, settings: Settings) -> float:
        """Return when it expires here (Unix seconds): at ``exp`` plus leeway, or at the maximum age of a JWT."""
        return min(self.expires_at + settings.leeway, self.issued_at + settings.jwt_max_age)


def parse(
    token: str, now: float, settings: Settings, known_headers: Mapping[bytes, str] | None = None
) -> ParsedJwt:
    """Parse the compact form, and check all that needs no key: form, header, and times that are not in the future.

    Args:
        token: The JWT.
        now: The current time in Unix seconds.
        settings: The settings; of them the leeway counts here.
        known_headers: Encoded headers that have been checked before, each with the ``kid`` that it names.

    Raises:
        InvalidCredentials: The JWT is malformed or not valid yet.
    """
    try:
        text = token.encode("ascii")
        head, middle, tail = text.split(b".", 3)
        kid = known_headers.get(head) if known_headers else None
        header = load_object(_decode(head)) if kid is None else None
        body = _decode(middle)
        payload, signature = load_object(body), _decode(tail)
    except ValueError:
        raise _invalid("jwt_form") from None
    issued_at, expires_at = _number(payload, "iat"), _number(payload, "exp")
    if issued_at is None or expires_at is None:
        raise _invalid("jwt_claims")
    not_before = _number(payload, "nbf")
    if not isinstance(payload.get("jti", ""), str):
        raise _invalid("jwt_claims")
    starts_at = not_before if not_before is not None and not_before > issued_at else issued_at
    if starts_at > now + settings.leeway:
        name = "iat" if starts_at == issued_at else "nbf"
        ahead = f"Its {name} is {seconds(starts_at - now)} ahead of the clock of this machine"
        raise _invalid("jwt_not_yet_valid", f"{ahead} (leeway: {seconds(settings.leeway)}).")
    if kid is None:
        kid = _key_id(header or {})
    expires_at = math.floor(expires_at)  # other libraries ignore fractions: never accept it longer than they do
    signed = text[: -1 - len(tail)]
    return ParsedJwt(head, kid, body, payload, issued_at, starts_at, expires_at, signed, signature)


def verify_signature(jwt: ParsedJwt, key: RSAPublicKey) -> None:
    """Check that the signature is one of this key.

    Raises:
        InvalidCredentials: It is not.
    """
    if not _rs256().verify(jwt.signing_input, key, jwt.signature):
        raise _invalid("jwt_signature")


def check_issuer_and_audience(payload: Mapping[str, Any], settings: Settings) -> None:
    """Check the issuer and the audience of a JWT (RFC 7519 sections 4.1.1 and 4.1.3).

    Raises:
        InvalidCredentials: One of them is not configured.
    """
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or issuer not in settings.jwt_issuer:  # a tuple: whole strings only
        raise _invalid("jwt_issuer", f"Its iss is {shown(issuer)}, jwt_issuer is {shown(settings.jwt_issuer)}.")
    _check_audience(payload.get("aud"), settings.jwt_audience)


@cache
def _rs256() -> RSAAlgorithm:
    from jwt.algorithms import RSAAlgorithm

    return RSAAlgorithm(RSAAlgorithm.SHA256)


def _decode(part: bytes) -> bytes:
    """Decode base64url without padding, in its one canonical spelling (RFC 7515 section 2).

    Raises:
        ValueError: It is anything else.
    """
    over = len(part) % 4
    padding = _PADDING[over]
    if not part or padding is None or (over and part[-1] not in _LAST[over]):
        raise ValueError("not canonical base64url")
    try:
        return a2b_base64(part.translate(_TO_BASE64) + padding, strict_mode=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _key_id(header: Mapping[str, Any]) -> str:
    """Check the header and return its ``kid``; no other member is ever read (RFC 8725 sections 3.1 and 3.10)."""
    if header.get("alg") != "RS256":
        raise _invalid("jwt_algorithm")
    if "crit" in header or header.get("b64", True) is not True:
        raise _invalid("jwt_critical")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.upper() not in ("JWT", "APPLICATION/JWT"):
        raise _invalid("jwt_type")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_LENGTH:
        raise _invalid("jwt_key_id")
    return kid


def _number(payload: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate: an int or a finite float, not a bool (RFC 7519 section 2); ``None`` if absent."""
    if name not in payload:
        return None
    value = payload[name]
    if type(value) is int and 0 <= value < _SOME_TIME:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid("jwt_claims")
    try:
        number = float(value)
    except OverflowError:
        raise _invalid("jwt_claims") from None
    if not math.isfinite(number):
        raise _invalid("jwt_claims")
    return number


def _check_audience(audience: object, allowed: tuple[str, ...]) -> None:
    if not allowed:
        return
    found = [audience] if isinstance(audience, str) else audience
    if (
        not isinstance(found, list)
        or not all(isinstance(item, str) for item in found)
        or not any(item in allowed for item in found)
    ):
        raise _invalid("jwt_audience", f"Its aud is {shown(audience)}, jwt_audience is {shown(allowed)}.")


def _invalid(reason: str, evidence: str = "") -> InvalidCredentials:
    return InvalidCredentials(reason=reason, evidence=evidence)
