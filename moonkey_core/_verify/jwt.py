"""The session JWT: strict reading of the compact form, and the rules on its header and claims.

No I/O, no clock of its own. Every refusal is an :class:`InvalidCredentials` with its own reason. PyJWT judges the
signature; which keys, algorithms and shapes come that far is decided here (RFC 7515, 7519, 8725).
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
from moonkey_core._verify.cache import Body
from moonkey_core.errors import InvalidCredentials, RevokedCredentials
from moonkey_core.models import Session, User, identifier
from moonkey_core.providers.moonkey.wire import build_session, check_session, is_deleted, session_start
from moonkey_core.settings import Settings

if TYPE_CHECKING:  # it takes 25 ms, which only those who verify JWTs here should pay
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt.algorithms import RSAAlgorithm

_MAX_KID_LENGTH = 256
# Registered claims (RFC 7519 section 4.1), and what a session is built from and judged by: that is said inside
# of the session claim or not at all.
_NO_CLAIMS = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "id", "user_id", "factors", "custom_claims"}
    | {"started_at", "created_at", "expires_at", "last_active_at", "updated_at", "deleted", "deleted_at"}
    | {"device_fingerprint", "device_info"}
)
_SOME_TIME = 2**48
# Base64url to base64; what only base64 has becomes a character that neither has.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", None, b"==", b"=")
# The last character of a part whose length leaves this remainder by 4: its unused bits are zero.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


@dataclass(slots=True, eq=False, repr=False)
class ParsedJwt:
    """A JWT whose form, header and age claims are in order. Nothing in it is proven yet.

    ``starts_at`` is the later one of ``iat`` and ``nbf``; ``head`` is the header, still encoded,
    ``body`` the decoded payload.
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
        """How old it is, for the operator."""
        issued, expires = ago(now - self.issued_at), ago(now - self.expires_at)
        return f"Its iat is {issued}, its exp {expires}, by the clock of this machine."

    def stale_at(self, settings: Settings) -> float:
        """When its time is over: past ``exp`` (with leeway), or older than our own maximum age."""
        return min(self.expires_at + settings.leeway, self.issued_at + settings.jwt_max_age)


@dataclass(slots=True, eq=False, repr=False)
class Claims:
    """Whom and what a JWT with a good signature, from the right issuer, is about. The times are its session's."""

    subject: str
    session_id: str
    started_at: float | None
    ends_at: float


def parse(token: str, now: float, settings: Settings, heads: Mapping[bytes, str] | None = None) -> ParsedJwt:
    """Read the compact form and check what needs no key: form, header, types of the times, not in the future.

    ``heads`` are headers that have been read before, with the key id that each names.
    """
    try:
        text = token.encode("ascii")
        head, middle, tail = text.split(b".", 3)
        kid = heads.get(head) if heads else None
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
    expires_at = math.floor(expires_at)  # never a fraction of a second longer than other readers grant
    signed = text[: -1 - len(tail)]
    return ParsedJwt(head, kid, body, payload, issued_at, starts_at, expires_at, signed, signature)


def prove(jwt: ParsedJwt, key: RSAPublicKey, settings: Settings) -> Claims:
    """Check the signature, then the claims that say whose and for whom it is (RFC 7519 section 7.2)."""
    if not _rs256().verify(jwt.signing_input, key, jwt.signature):
        raise _invalid("jwt_signature")
    issuer = jwt.payload.get("iss")
    if not isinstance(issuer, str) or issuer not in settings.jwt_issuer:  # a tuple: whole strings only
        raise _invalid("jwt_issuer", f"Its iss is {shown(issuer)}, jwt_issuer is {shown(settings.jwt_issuer)}.")
    _check_audience(jwt.payload.get("aud"), settings.jwt_audience)
    subject = _subject(jwt.payload, settings)
    claim = _session_claim(jwt.payload, settings)
    try:
        if is_deleted(claim):
            raise RevokedCredentials
        ends_at = check_session(claim, user_id=subject, expires_at=jwt.expires_at)
    except ValueError:
        raise _invalid("jwt_session") from None
    return Claims(subject, claim["id"], session_start(claim), ends_at)


@cache
def _rs256() -> RSAAlgorithm:
    from jwt.algorithms import RSAAlgorithm

    return RSAAlgorithm(RSAAlgorithm.SHA256)


class JwtReader:
    """Reads the payload of a JWT that has been proven."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def user(self, body: Body) -> User:
        """The user: a JWT says no more than the id."""
        return User(id=_decoded(body)["sub"])

    def session(self, body: Body) -> Session:
        """The session; what else the payload says is among its claims, but never replaces what it says itself."""
        payload = _decoded(body)
        custom = payload.get("custom_claims")
        said = {**payload, **custom} if isinstance(custom, dict) else payload
        kept_out = _NO_CLAIMS.union(self._settings.jwt_session_claims)
        beside = {name: value for name, value in said.items() if name not in kept_out}
        claim = {**beside, "user_id": payload["sub"], **_session_claim(payload, self._settings)}
        return build_session(claim, expires_at=math.floor(payload["exp"]))


def _decoded(body: Body) -> Mapping[str, Any]:
    return load_object(body) if isinstance(body, bytes) else body


def claimed_ids(jwt: ParsedJwt, settings: Settings) -> tuple[str | None, tuple[str, ...]]:
    """The session id, and the spellings of the user id, in an unproven JWT: to compare with the API's answer."""
    try:
        claim = _session_claim(jwt.payload, settings)
    except InvalidCredentials:
        claim = {}
    session_id = claim.get("id")
    users = (jwt.payload.get("sub"), claim.get("user_id"))
    return (
        session_id if isinstance(session_id, str) and session_id else None,
        tuple(user for user in users if isinstance(user, str) and user),
    )


def _decode(part: bytes) -> bytes:
    """Base64url without padding, in its one canonical spelling (RFC 7515 section 2)."""
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
    """A NumericDate: int or finite float, not bool (RFC 7519 section 2). ``None`` where it is absent."""
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


def _subject(payload: Mapping[str, Any], settings: Settings) -> str:
    try:
        subject = identifier(payload.get("sub"))
    except ValueError:
        raise _invalid("jwt_subject") from None
    if settings.strict_subject and _session_claim(payload, settings).get("user_id") != subject:
        raise _invalid("jwt_subject")
    return subject


def _session_claim(payload: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    for name in settings.jwt_session_claims:
        if name in payload:
            claim = payload[name]
            if isinstance(claim, dict):
                return claim
            break
    raise _invalid("jwt_session")


def _invalid(reason: str, evidence: str = "") -> InvalidCredentials:
    return InvalidCredentials(reason=reason, evidence=evidence)
