"""The signing keys of the issuer, one for each algorithm, and the key set that publishes them."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from jwt import get_algorithm_by_name

from moonkey_core.emulator.records import Json, random_text

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
MAX_KEYS_PER_ALGORITHM = 8


def _new_rsa() -> PrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), _new_rsa),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
ALGORITHMS: tuple[str, ...] = tuple(_MAKERS)
SECRET_ALGORITHMS: tuple[str, ...] = ("HS256", "HS384", "HS512")
"""Those with a shared secret. No key set has it, so that a resource server must refuse them all."""


def base64url(raw: bytes) -> str:
    """Return the unpadded base64url of bytes (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact_jws(header: Mapping[str, Any], claims: Mapping[str, Any], signature: Callable[[bytes], bytes]) -> str:
    """Return a compact JWS of any header and claims. They may contradict the signature, on purpose."""
    parts = [base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    return ".".join([*parts, base64url(signature(".".join(parts).encode()))])


def secret_signature(algorithm: str, secret: bytes) -> Callable[[bytes], bytes]:
    """Return what signs by HMAC with a shared secret, or not at all for ``none``."""
    if algorithm == "none":
        return lambda _: b""
    return lambda signed: get_algorithm_by_name(algorithm).sign(signed, secret)


@dataclass(frozen=True)
class IssuerKey:
    """One private key, its id, and the algorithm that it is for."""

    kid: str
    algorithm: str
    private_key: PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, algorithm: str) -> IssuerKey:
        """Make a new key. An RSA key takes 50 to 100 ms.

        Raises:
            ValueError: There is no such algorithm here.
        """
        if algorithm not in _MAKERS:
            raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}")
        return cls(f"{algorithm.lower()}-{random_text(16)}", algorithm, _MAKERS[algorithm]())

    def sign(self, signed: bytes) -> bytes:
        """Return the signature of bytes by this key and its algorithm."""
        return get_algorithm_by_name(self.algorithm).sign(signed, self.private_key)

    def pem(self) -> str:
        """Return the public key as PEM (SubjectPublicKeyInfo)."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private_key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def jwk(self) -> Json:
        """Return the public key as an entry of a key set (RFC 7517)."""
        # PyJWT types it for the key of one algorithm each.
        to_jwk: Callable[..., Json] = get_algorithm_by_name(self.algorithm).to_jwk
        numbers = to_jwk(self.private_key.public_key(), as_dict=True)
        return {**numbers, "kid": self.kid, "use": "sig", "alg": self.algorithm}


class IssuerKeys:
    """The current key of each algorithm, and the earlier ones that are still published.

    Args:
        algorithms: Those whose keys are published from the beginning. Others are from their first use.
    """

    def __init__(self, algorithms: Sequence[str]) -> None:
        self.first: str = algorithms[0]
        self.secret: bytes = secrets.token_bytes(64)
        self._keys: dict[str, list[IssuerKey]] = {name: [IssuerKey.generate(name)] for name in algorithms}
        self._foreign: dict[str, IssuerKey] = {}

    def current(self, algorithm: str) -> IssuerKey:
        """Return the key that signs by this algorithm now."""
        if algorithm not in self._keys:
            self._keys[algorithm] = [IssuerKey.generate(algorithm)]
        return self._keys[algorithm][0]

    def foreign(self, algorithm: str) -> IssuerKey:
        """Return a key that is not published."""
        if algorithm not in self._foreign:
            self._foreign[algorithm] = IssuerKey.generate(algorithm)
        return self._foreign[algorithm]

    def rotate(self, keep_old: bool, algorithm: str | None) -> None:
        """Sign with new keys from now on, of one algorithm or all; ``keep_old`` still publishes the old ones."""
        for name in list(self._keys) if algorithm is None else [algorithm]:
            old = self._keys.get(name, []) if keep_old else []
            self._keys[name] = [IssuerKey.generate(name), *old][:MAX_KEYS_PER_ALGORITHM]

    def drop_old(self) -> None:
        """Publish the current keys alone."""
        self._keys = {name: keys[:1] for name, keys in self._keys.items()}

    def published(self) -> list[IssuerKey]:
        """Return all published keys."""
        return [key for keys in self._keys.values() for key in keys]


def encrypted_jwt(key: IssuerKey, claims: Json, kid: str) -> str:
    """Return claims as a JWE of five parts (RFC 7516), encrypted to the public half of an RSA key."""
    if not isinstance(key.private_key, rsa.RSAPrivateKey):
        raise ValueError("an encrypted token needs an RSA key")
    header = base64url(json.dumps({"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT", "kid": kid}).encode())
    content_key, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    wrapped = key.private_key.public_key().encrypt(content_key, oaep)
    sealed = AESGCM(content_key).encrypt(nonce, json.dumps(claims).encode(), header.encode())
    return ".".join([header, *map(base64url, (wrapped, nonce, sealed[:-16], sealed[-16:]))])
