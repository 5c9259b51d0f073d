"""The JWT: strict parsing of the compact form, and the rules for its header and claims.

Does no I/O and reads no clock. Every refusal is an :class:`InvalidCredentials` with its own reason. PyJWT verifies
the signature; this module decides by the rules of the provider which keys, algorithms and forms reach it (RFC
7515, 7519, 8725).
"""

from __future__ import annotations

import binascii
import math
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core._evidence import ago, seconds, shown
from moonkey_core._provider import JwtClaims, JwtRules, SessionClaims, check_issuer_and_audience, longest_use
from moonkey_core._strict_json import load_object
from moonkey_core._verify.jwks import SUPPORTED, SigningKey
from moonkey_core._verify.jwks_cache import KnownHeader
from moonkey_core.errors import ConfigurationError, InvalidCredentials

_MAX_KID_LENGTH = 256
# Base64url to base64; a character that only base64 has becomes one that neither has.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", None, b"==", b"=")
# By the remainder of a part's length divided by 4: the last characters whose unused bits are zero.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


class Judge:
    """The rules of one provider with the client's leeway, ready for use. All durations are seconds.

    Attributes:
        rules: The rules.
        verifies: Whether JWTs are verified here, and not only read.
        leeway: The clock difference that is allowed.
        max_age: The greatest age by ``iat``; infinite where there is none.
        longest_life: The most seconds from ``iat`` to ``exp``.
        oldest: The greatest age at which a JWT may still be accepted.
        longest_use: For how long a JWT may be accepted from now on: it may be dated ahead by the leeway.
        scopes: The scope of each issuer. Forms of one issuer have the same.
    """

    __slots__ = ("leeway", "longest_life", "longest_use", "max_age", "oldest", "rules", "scopes", "verifies")

    def __init__(self, rules: JwtRules, leeway: float, scopes: Mapping[str, str] | None = None) -> None:
        """Check the rules.

        Raises:
            ConfigurationError: They name an algorithm that is not supported, such as a symmetric one, or none.
        """
        unknown = sorted(set(rules.algorithms) - SUPPORTED)
        if unknown or not rules.algorithms:
            raise ConfigurationError(
                f"The rules of the provider name the algorithms {shown(rules.algorithms)}. Only asymmetric ones "
                f"are possible: {', '.join(sorted(SUPPORTED))}."
            )
        if not rules.longest_life > 0 or (rules.max_age is not None and not rules.max_age > 0):
            raise ConfigurationError(
                "The rules of the provider have a longest_life or max_age that is not positive."
            )
        self.rules: JwtRules = rules
        self.scopes: Mapping[str, str] = scopes or {}
        self.verifies: bool = bool(rules.issuers)
        self.leeway: float = leeway if rules.leeway is None else rules.leeway
        self.max_age: float = math.inf if rules.max_age is None else rules.max_age
        self.longest_life: float = rules.longest_life
        self.longest_use: float = longest_use(rules, leeway)
        self.oldest: float = self.longest_use - self.leeway

    def is_one_issuer(self, one: str, other: str) -> bool:
        """Return whether two issuers are forms of one."""
        scope = self.scopes.get(one)
        return scope is not None and scope == self.scopes.get(other)


@dataclass(slots=True, eq=False, repr=False)
class ParsedJwt:
    """A JWT whose form, header and time claims are valid. Its signature has not been verified.

    All times are Unix seconds.

    Attributes:
        head: The header, still encoded.
        kid: The key id in the header; empty where it is absent.
        algorithm: The algorithm in the header, one of those that the rules allow.
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
    algorithm: str
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

    def stale_at(self, judge: Judge) -> float:
        """Return when it expires here (Unix seconds): at ``exp`` plus leeway, or at the maximum age of a JWT."""
        return min(self.expires_at + judge.leeway, self.issued_at + judge.max_age)


def parse(
    token: str, now: float, judge: Judge, known_headers: Mapping[bytes, KnownHeader] | None = None
) -> ParsedJwt:
    """Parse the compact form, and check all that needs no key: form, header, and times that are not in the future.

    Args:
        token: The JWT.
        now: The current time in Unix seconds.
        judge: The rules.
        known_headers: Encoded headers that have been checked before.

    Raises:
        InvalidCredentials: The JWT is malformed, not valid yet, or valid for too long.
    """
    try:
        text = token.encode("ascii")
        head, middle, tail = text.split(b".", 3)
        known = known_headers.get(head) if known_headers else None
        header = load_object(decode_part(head)) if known is None else None
        body = decode_part(middle)
        payload, signature = load_object(body), decode_part(tail)
    except ValueError:
        raise unreadable(token) from None
    issued_at, expires_at = _number(payload, "iat"), _number(payload, "exp")
    if "jti" in payload and not isinstance(payload["jti"], str):
        raise _invalid("jwt_claims", "Its jti is no text.")
    starts_at = max(issued_at, _number(payload, "nbf")) if "nbf" in payload else issued_at
    if starts_at > now + judge.leeway:
        name = "iat" if starts_at == issued_at else "nbf"
        ahead = f"Its {name} is {seconds(starts_at - now)} ahead of the clock of this machine"
        raise _invalid("jwt_not_yet_valid", f"{ahead} (leeway: {seconds(judge.leeway)}).")
    kid, algorithm = known[:2] if known else _named_key(header or {}, judge.rules)
    if type(expires_at) is not int:  # other libraries ignore fractions: never accept it longer than they do
        expires_at = math.floor(expires_at)
    if expires_at - issued_at > judge.longest_life:
        life = f"Its exp is {seconds(expires_at - issued_at)} after its iat"
        raise _invalid("jwt_lifetime", f"{life} (longest life: {seconds(judge.longest_life)}).")
    signed = text[: -1 - len(tail)]
    return ParsedJwt(head, kid, algorithm, body, payload, issued_at, starts_at, expires_at, signed, signature)


def verify_signature(jwt: ParsedJwt, key: SigningKey) -> None:
    """Check that the signature is one of this key, with an algorithm that the key fits.

    Raises:
        InvalidCredentials: It is not.
    """
    verifier = key.verifiers.get(jwt.algorithm)
    if verifier is None:
        raise _invalid("jwt_algorithm", f"Its alg is {shown(jwt.algorithm)}, which its key is not for.")
    if not verifier.verify(jwt.signing_input, key.public_key, jwt.signature):
        raise wrong_signature()


def wrong_signature() -> InvalidCredentials:
    """Return the error for a JWT whose signature is not one of the key that it names."""
    return _invalid("jwt_signature")


def proven_claims(jwt: ParsedJwt, key: SigningKey, judge: Judge, claims: JwtClaims) -> SessionClaims:
    """Check the signature, the issuer and the audience of a JWT, and return the user and session that it names.

    Raises:
        InvalidCredentials: The JWT is not genuine, or names no user or no session.
    """
    verify_signature(jwt, key)
    payload = jwt.payload
    issuer = check_issuer_and_audience(payload, judge.rules)
    if key.issuer is not None and key.issuer != issuer and not judge.is_one_issuer(key.issuer, issuer):
        raise _invalid("jwt_issuer", f"Its iss is {shown(issuer)}, its key is one of {shown(key.issuer)}.")
    return claims.session_claims(payload, jwt.expires_at)


def unreadable(token: str) -> InvalidCredentials:
    """Return the error for a token without the form of a signed one. It may be an encrypted one (RFC 7516)."""
    head, *rest = token.split(".", 5)
    try:
        is_encrypted = len(rest) == 4 and "enc" in load_object(decode_part(head.encode("ascii")))
    except ValueError:
        is_encrypted = False
    if not is_encrypted:
        return _invalid("jwt_form")
    return _invalid("jwt_encrypted", "It has five parts. Clients must request access tokens for this API.")


def decode_part(part: bytes) -> bytes:
    """Decode a part: base64url without padding, in its one canonical spelling (RFC 7515 section 2).

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


def _named_key(header: Mapping[str, Any], rules: JwtRules) -> tuple[str, str]:
    """Check the header, and return its ``kid`` and ``alg``.

    No other member is ever used (RFC 8725 sections 3.1 and 3.10).
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise _invalid("jwt_algorithm", f"Its alg is {shown(algorithm)}, not one of {shown(rules.algorithms)}.")
    if "crit" in header or header.get("b64", True) is not True:
        raise _invalid("jwt_critical")
    kind = header.get("typ")
    if "typ" in header and not isinstance(kind, str):
        raise _invalid("jwt_type")
    if (None if kind is None else kind.lower().removeprefix("application/")) not in rules.types:
        raise _invalid("jwt_type", f"Its typ is {shown(kind)}.")
    kid = header.get("kid")
    if kid is None and "kid" not in header and not rules.needs_kid:
        return "", algorithm
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_LENGTH:
        raise _invalid("jwt_key_id")
    return kid, algorithm


def _number(payload: Mapping[str, Any], name: str) -> float:
    """Return a NumericDate: an int or a finite float, not a bool (RFC 7519 section 2)."""
    value: Any = payload.get(name)
    if type(value) is int and not value >> 48:  # from 0 to 2**48 - 1
        return value
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        number = float(value) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        fault = "is no time" if name in payload else "is missing"
        raise _invalid("jwt_claims", f"Its {name} {fault}.")
    return number


def _invalid(reason: str, evidence: str = "") -> InvalidCredentials:
    return InvalidCredentials(reason=reason, evidence=evidence)
