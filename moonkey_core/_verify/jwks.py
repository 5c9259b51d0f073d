"""Key sets: from the body of a reply to usable RSA public keys (RFC 7517). A broken key is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moonkey_core._strict_json import load_object

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that verify JWTs should spend
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_BYTES = 512 * 1024
_MAX_KEYS = 64
_MAX_KID_LENGTH = 256
_KEY_BITS = range(2048, 4097)


def parse_key_set(body: bytes) -> dict[str, RSAPublicKey]:
    """Return the usable keys in the body of a reply by ``kid``.

    Raises:
        ValueError: The body is not a key set, or holds no usable key.
    """
    return usable_keys(load_object(body))


def usable_keys(key_set: Mapping[str, Any]) -> dict[str, RSAPublicKey]:
    """Return the usable keys of a decoded key set by ``kid``.

    A ``kid`` that two different keys have is not usable (RFC 7517 section 4.5). The same key twice is one key,
    whatever the other members of its entries are.

    Raises:
        ValueError: It is not a key set, or holds no usable key.
    """
    entries = key_set.get("keys")
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError("not a key set, or too large a one")
    found: dict[str, RSAPublicKey] = {}
    ambiguous: set[str] = set()
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, Mapping) else None
        if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_LENGTH:
            continue
        key = _usable_key(entry)
        if key is None:
            continue
        if kid in found and found[kid].public_numbers() != key.public_numbers():
            ambiguous.add(kid)
        found.setdefault(kid, key)
    for kid in ambiguous:
        del found[kid]
    if not found:
        raise ValueError("no usable key (RSA, 2048 to 4096 bits, for RS256, with a kid of its own)")
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


def _usable_key(entry: Mapping[str, Any]) -> RSAPublicKey | None:
    if _is_secret(entry):
        return None
    operations = entry.get("key_ops", ["verify"])
    if (
        entry.get("kty") != "RSA"
        or entry.get("use", "sig") != "sig"
        or entry.get("alg", "RS256") != "RS256"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    # Only the numbers of the key are used: certificates and addresses in the entry are never read. A modulus of
    # 4096 bits is 683 characters; longer ones are not worth the CPU.
    modulus, exponent = entry.get("n"), entry.get("e")
    if not isinstance(modulus, str) or not isinstance(exponent, str) or len(modulus) > 700 or len(exponent) > 12:
        return None
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    try:
        key = PyJWK({"kty": "RSA", "n": modulus, "e": exponent}, algorithm="RS256").key
    except (PyJWTError, ValueError, TypeError):
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size not in _KEY_BITS:
        return None
    public_exponent = key.public_numbers().e
    return key if public_exponent >= 65537 and public_exponent % 2 == 1 else None
