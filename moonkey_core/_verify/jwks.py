"""Key sets: from the body of a reply, or PEM, to usable public keys (RFC 7517). A broken key is skipped.

A key fits only the algorithms of its own type, and of those only the ones that the provider's rules allow and its
own ``alg`` names (RFC 8725 section 3.1). No symmetric key is ever used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from moonkey_core._dataclass import dataclass
from moonkey_core._strict_json import load_object

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that verify JWTs should spend
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MAX_BYTES = 512 * 1024
_MAX_KEYS = 64
_MAX_KID_LENGTH = 256
_MAX_PEM_LENGTH = 32_768
_KEY_BITS = range(2048, 4097)
_RSA_FAMILY = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_EC_NAMES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_EDWARDS = ("Ed25519", "Ed448")
SUPPORTED = frozenset({*_RSA_FAMILY, *_CURVES.values(), "EdDSA", *_EDWARDS})
"""The algorithms that a provider's rules may name (RFC 7518 section 3.1, RFC 8037, RFC 9864)."""
# The members of a key, by its type, with the greatest length of each. Only these are read: certificates and
# addresses never are. A modulus of 4096 bits is 683 characters; longer ones are not worth the CPU.
_MEMBERS: Mapping[str, Mapping[str, int]] = {
    "RSA": {"n": 700, "e": 12},
    "EC": {"crv": 5, "x": 88, "y": 88},
    "OKP": {"crv": 7, "x": 76},
}


class Verifier(Protocol):
    """What checks a signature: an algorithm of PyJWT."""

    def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:
        """Return whether a signature is one of this key."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key, and the algorithms that it may be used with.

    Attributes:
        public_key: The key itself.
        encoded: The key in DER (RFC 5280 section 4.1.2.7), by which two are compared.
        algorithms: The names of the algorithms.
        issuer: The only issuer that it signs for, where the key set names one.
        verifiers: What checks a signature, by the name of the algorithm.
    """

    public_key: PublicKey = field(compare=False)
    encoded: bytes = field(repr=False)
    algorithms: frozenset[str]
    issuer: str | None = None
    verifiers: Mapping[str, Verifier] = field(default_factory=dict, compare=False, repr=False)


def parse_key_set(
    body: bytes, algorithms: Collection[str] = ("RS256",), *, needs_kid: bool = True
) -> dict[str, SigningKey]:
    """Return the usable keys in the body of a reply by ``kid``.

    Raises:
        ValueError: The body is not a key set, or holds no usable key.
    """
    return usable_keys(load_object(body), algorithms, needs_kid=needs_kid)


def usable_keys(
    key_set: Mapping[str, Any], algorithms: Collection[str] = ("RS256",), *, needs_kid: bool = True
) -> dict[str, SigningKey]:
    """Return the usable keys of a decoded key set by ``kid``.

    A ``kid`` that two different keys have is not usable (RFC 7517 section 4.5). The same key twice is one key,
    whatever the other members of its entries are.

    Args:
        key_set: The key set.
        algorithms: The algorithms that are accepted.
        needs_kid: Whether each key must have a ``kid``. Else the keys without one are returned under names that
            no ``kid`` has.

    Raises:
        ValueError: It is not a key set, or holds no usable key.
    """
    entries = key_set.get("keys")
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError("not a key set, or too large a one")
    named = (
        (kid, key)
        for place, entry in enumerate(entries)
        if isinstance(entry, Mapping)
        and (kid := _name_of(entry, place, needs_kid=needs_kid)) is not None
        and (key := _usable_key(entry, algorithms)) is not None
    )
    return _without_ambiguous(named, algorithms)


def keys_in_pem(pem: str | Mapping[str, str], algorithms: Collection[str]) -> dict[str, SigningKey]:
    """Return the usable keys in PEM: public keys or certificates, by ``kid``, or a single one under no name.

    Raises:
        ValueError: One of them is no usable public key.
    """
    found: dict[str, SigningKey] = {}
    for kid, text in ({"": pem} if isinstance(pem, str) else pem).items():
        key = _signing_key(_key_in_pem(text), algorithms)
        if key is None:
            raise ValueError(f"no usable key ({_wanted(algorithms)})")
        found[kid] = key
    if not found:
        raise ValueError("no key at all")
    return found


def _wanted(algorithms: Collection[str]) -> str:
    return f"for {', '.join(sorted(algorithms))}; RSA, 2048 to 4096 bits"


def _name_of(entry: Mapping[str, Any], place: int, *, needs_kid: bool) -> str | None:
    kid = entry.get("kid")
    if kid is None and not needs_kid:
        return f"\0{place}"  # no `kid` in a header is looked up that way
    return kid if isinstance(kid, str) and 0 < len(kid) <= _MAX_KID_LENGTH else None


def _without_ambiguous(
    named: Iterable[tuple[str, SigningKey]], algorithms: Collection[str]
) -> dict[str, SigningKey]:
    found: dict[str, SigningKey] = {}
    ambiguous: set[str] = set()
    for kid, key in named:
        old = found.get(kid)
        if old is None:
            found[kid] = key
        elif (old.encoded, old.issuer) != (key.encoded, key.issuer):
            ambiguous.add(kid)
        else:
            found[kid] = _with_algorithms(key.public_key, old.algorithms | key.algorithms, key.issuer)
    for kid in ambiguous:
        del found[kid]
    if not found:
        raise ValueError(f"no usable key ({_wanted(algorithms)}, with a kid of its own)")
    return found


def body_holds_secret(body: bytes) -> bool:
    """Return :func:`holds_secret` for the body of a reply; false for a body that is no key set."""
    try:
        return holds_secret(load_object(body))
    except ValueError:
        return False


def holds_secret(key_set: Mapping[str, Any]) -> bool:
    """Return whether a key set contains a private or symmetric key, of which the operator must be warned."""
    entries = key_set.get("keys")
    return isinstance(entries, list) and any(isinstance(one, Mapping) and _is_secret(one) for one in entries)


def _is_secret(entry: Mapping[str, Any]) -> bool:
    return "d" in entry or entry.get("kty") == "oct"


def _usable_key(entry: Mapping[str, Any], algorithms: Collection[str]) -> SigningKey | None:
    operations = entry.get("key_ops", ["verify"])
    kind, algorithm = entry.get("kty"), entry.get("alg")
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if (
        _is_secret(entry)
        or members is None
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    if "alg" in entry:
        algorithms = [one for one in algorithms if _is_same_algorithm(one, algorithm)]
        if not algorithms:
            return None
    numbers: dict[str, str] = {"kty": str(kind)}
    for name, longest in members.items():
        value = entry.get(name)
        if not isinstance(value, str) or len(value) > longest:
            return None
        numbers[name] = value
    issuer = entry.get("issuer")
    fixed = issuer if isinstance(issuer, str) and "{" not in issuer else None  # not a template for many issuers
    return _signing_key(_key_of(numbers), algorithms, fixed)


def _is_same_algorithm(name: str, stated: object) -> bool:
    """Return whether a key's ``alg`` allows an algorithm; ``EdDSA`` has a name for each curve (RFC 9864)."""
    return name == stated or (stated == "EdDSA" and name in _EDWARDS) or (name == "EdDSA" and stated in _EDWARDS)


def _key_of(numbers: dict[str, str]) -> object:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    algorithm = {"RSA": "RS256", "OKP": "EdDSA"}.get(numbers["kty"]) or _EC_NAMES.get(numbers["crv"])
    if algorithm is None:
        return None
    try:
        return PyJWK(numbers, algorithm=algorithm).key
    except (PyJWTError, ValueError, TypeError):
        return None


def _key_in_pem(text: str) -> object:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if not text.isascii() or len(text) > _MAX_PEM_LENGTH:
        raise ValueError("not PEM")
    data = text.strip().encode()
    if b"PRIVATE KEY" in data:
        raise ValueError("a private key; only the public one belongs here")
    try:
        if b"BEGIN CERTIFICATE" in data:
            return load_pem_x509_certificate(data).public_key()
        return load_pem_public_key(data)
    except Exception:  # ValueError, UnsupportedAlgorithm and what OpenSSL raises for odd data
        raise ValueError("not a public key or certificate in PEM") from None


def _signing_key(key: object, algorithms: Collection[str], issuer: str | None = None) -> SigningKey | None:
    """Return a key with those of the accepted algorithms that it fits, or ``None`` where there are none."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    fitting: Collection[str] = ()
    if isinstance(key, RSAPublicKey):
        exponent = key.public_numbers().e
        if key.key_size in _KEY_BITS and exponent >= 65537 and exponent % 2 == 1:
            fitting = _RSA_FAMILY
    elif isinstance(key, EllipticCurvePublicKey):
        fitting = (_CURVES.get(key.curve.name, ""),)
    elif isinstance(key, Ed25519PublicKey):
        fitting = ("EdDSA", "Ed25519")
    elif isinstance(key, Ed448PublicKey):
        fitting = ("EdDSA", "Ed448")
    else:
        return None
    chosen = frozenset(algorithms).intersection(fitting)
    return _with_algorithms(key, chosen, issuer) if chosen else None


def _with_algorithms(key: PublicKey, algorithms: frozenset[str], issuer: str | None) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    known = _verifiers()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(key, encoded, algorithms, issuer, {name: known[name]() for name in algorithms})


@cache
def _verifiers() -> Mapping[str, Callable[[], Verifier]]:
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

    makers: dict[str, Callable[[], Verifier]] = {
        f"{family}{bits}": cache(lambda made=made, bits=bits: made(getattr(made, f"SHA{bits}")))
        for family, made in (("RS", RSAAlgorithm), ("PS", RSAPSSAlgorithm), ("ES", ECAlgorithm))
        for bits in (256, 384, 512)
    }
    return makers | dict.fromkeys(("EdDSA", *_EDWARDS), cache(OKPAlgorithm))
