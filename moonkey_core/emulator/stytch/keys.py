"""The entries of a project's key set, with all nine members that the vendor's model requires."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from moonkey_core.emulator.keys import SigningKey
from moonkey_core.emulator.oidc.keys import base64url
from moonkey_core.emulator.records import Json

_FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
_LAST_DAY = datetime(2120, 1, 1, tzinfo=UTC)


def jwk(key: SigningKey) -> Json:
    """Return the public half of a key. The thumbprint is spelled ``x5tS256``, as the service does."""
    certificate, thumbprint = _certificate(key)
    return {**key.public_jwk(), "x5c": [certificate], "x5tS256": thumbprint}


@lru_cache(maxsize=64)
def _certificate(key: SigningKey) -> tuple[str, str]:
    """Return a certificate for a key, signed by itself, in base64; and its SHA-256 thumbprint in base64url."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, key.kid[:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(_LAST_DAY)
        .sign(key.private_key, hashes.SHA256())
    )
    der = made.public_bytes(serialization.Encoding.DER)
    return base64.b64encode(der).decode(), base64url(made.fingerprint(hashes.SHA256()))
