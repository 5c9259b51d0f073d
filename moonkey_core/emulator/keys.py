"""The signing keys: RSA 2048, RS256, and the key set that publishes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jwt.algorithms import RSAAlgorithm

from moonkey_core.emulator.records import Json, random_text

MAX_KEYS = 8


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@dataclass(frozen=True)
class SigningKey:
    """One private key and its id."""

    kid: str
    private_key: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key. Takes 50 to 100 ms."""
        return cls(f"jwk_{random_text(24)}", rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @classmethod
    def load(cls, kid: str, pem: str) -> SigningKey:
        """Read a key that ``pem`` wrote."""
        private_key = serialization.load_pem_private_key(pem.encode(), password=None)
        if not isinstance(private_key, rsa.RSAPrivateKey):
            raise ValueError("not an RSA key")
        return cls(kid, private_key)

    def pem(self) -> str:
        """Return the private key, unencrypted, for the state file."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def public_jwk(self) -> Json:
        """Return the public half as an entry of the key set (RFC 7517)."""
        numbers = RSAAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        return {**numbers, "alg": "RS256", "use": "sig", "kid": self.kid, "key_ops": ["verify"]}

    def sign(self, header: Json, claims: Json) -> str:
        """Return a compact JWS, signed RS256 whatever the header names. Takes any header and claims."""
        signed = b".".join(
            _base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)
        )
        signature = self.private_key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return b".".join([signed, _base64url(signature)]).decode()

    def header(self) -> Json:
        """Return the header of the JWTs that this key signs."""
        return {"alg": "RS256", "kid": self.kid, "typ": "JWT"}


class SigningKeys:
    """The current signing key, first, and the earlier ones that are still published."""

    def __init__(self, keys: list[SigningKey] | None = None) -> None:
        self._keys = keys or [SigningKey.generate()]

    @property
    def current(self) -> SigningKey:
        """The current signing key."""
        return self._keys[0]

    def all(self) -> list[SigningKey]:
        """Return all published keys, the current one first."""
        return list(self._keys)

    def rotate(self, keep_old: bool) -> None:
        """Sign with a new key from now on. The old ones stay published only with ``keep_old``."""
        self._keys = [SigningKey.generate(), *(self._keys if keep_old else [])][:MAX_KEYS]

    def drop_old(self) -> None:
        """Publish the current key alone."""
        self._keys = self._keys[:1]

    def read(self, token: str, issuer: str | Sequence[str] | None) -> Json | None:
        """Return the claims of a JWT that a published key signed, else ``None``.

        Its age is not checked, as an expired JWT may be refreshed.

        Args:
            token: The JWT.
            issuer: Its issuer, or those that are accepted; ``None`` leaves that to the caller.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next((key for key in self._keys if key.kid == kid), None)
            if key is None:
                return None
            return jwt.decode(
                token,
                key.private_key.public_key(),
                algorithms=["RS256"],
                issuer=issuer,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
