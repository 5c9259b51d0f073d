"""How we authenticate to an authorization server: as its client, with a secret or a private key.

RFC 6749 section 2.3.1 has the two ways to send a secret, RFC 7523 section 2.2 the assertion that a key signs. A
secret and a key are never part of an address, a log line, an error or a ``repr``.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from moonkey_core import _clock
from moonkey_core._plan import CallAuthorization
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Secret

if TYPE_CHECKING:  # the import takes 25 ms, which only processes that sign assertions should spend
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]
"""The registered names of the ways to authenticate (RFC 7591 section 2, OIDC Core section 9)."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIVES = (10.0, 300.0)  # seconds: servers refuse what lives long, and clocks differ
_SHORTEST_RSA_KEY = 2048  # bits
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def client_authorization(
    *,
    client_id: str,
    client_secret: str | Secret | None,
    private_key: str | bytes | Secret | None,
    auth_method: AuthMethod | None,
    audience: str | None,
    key_id: str | None,
    algorithm: str | None,
    life: float,
    reuse: bool,
) -> CallAuthorization:
    """Return how calls to the authorization server are authorized.

    Args:
        client_id: Our id at the server.
        client_secret: Our secret. Give either this or ``private_key``.
        private_key: Our private key, as PEM without a passphrase.
        auth_method: How that is sent; by default ``client_secret_basic`` for a secret.
        audience: The ``aud`` of assertions.
        key_id: Their ``kid``.
        algorithm: Their ``alg``; by default what fits the key.
        life: Their life in seconds.
        reuse: Whether one assertion is sent again within its life.

    Raises:
        ConfigurationError: An argument is missing, malformed, or does not fit the others.
    """
    if not _is_text(client_id):
        raise ConfigurationError(
            "client_id is missing: the id under which the authorization server knows this app."
        )
    if (client_secret is None) == (private_key is None):
        raise ConfigurationError("Give either client_secret or private_key, by which this app proves who it is.")
    if private_key is None:
        of_keys = {"assertion_audience": audience, "key_id": key_id, "algorithm": algorithm}
        for name, value in of_keys.items():
            if value is not None:
                raise ConfigurationError(f"{name} has no effect without private_key. Leave it out.")
        if auth_method not in (None, "client_secret_basic", "client_secret_post"):
            raise ConfigurationError(
                "auth_method of a client_secret must be client_secret_basic or client_secret_post."
            )
        secret = _secret(client_secret)
        kind = SecretInForm if auth_method == "client_secret_post" else SecretInHeader
        return kind(client_id, secret)
    if auth_method not in (None, "private_key_jwt"):
        raise ConfigurationError("auth_method of a private_key must be private_key_jwt.")
    if not audience:
        raise ConfigurationError(
            "assertion_audience is missing: what the authorization server expects as aud of a client assertion, "
            "mostly its issuer."
        )
    if not _LIVES[0] <= life <= _LIVES[1]:
        raise ConfigurationError(f"assertion_life must be {_LIVES[0]:.15g} to {_LIVES[1]:.15g} seconds.")
    key = _loaded(private_key)
    return SignedAssertion(client_id, key, _algorithm(key, algorithm), key_id, audience, life, reuse=reuse)


class SecretInHeader:
    """The secret in ``Authorization: Basic`` (RFC 6749 section 2.3.1): id and secret are form-encoded first."""

    def __init__(self, client_id: str, client_secret: Secret) -> None:
        # A space as %20, and not as +: it is read alike by servers that undo either encoding.
        pair = f"{quote(client_id, safe='')}:{quote(client_secret.reveal(), safe='')}"
        self._header = Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")

    def header(self) -> str | None:
        """Return the value of the header."""
        return self._header.reveal()

    def members(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}


class SecretInForm:
    """The secret in the body (RFC 6749 section 2.3.1), for servers that know no other way."""

    def __init__(self, client_id: str, client_secret: Secret) -> None:
        self._client_id = client_id
        self._secret = client_secret

    def header(self) -> str | None:
        """Return ``None``."""
        return None

    def members(self) -> Mapping[str, str]:
        """Return the id and the secret."""
        return {"client_id": self._client_id, "client_secret": self._secret.reveal()}


class SignedAssertion:
    """A JWT that our private key has signed (RFC 7523 section 2.2; ``private_key_jwt``).

    Each attempt has one of its own: servers take a ``jti`` once (OIDC Core section 9), and a retry with the same
    one would look like a wrong key. ``reuse`` is for servers that have agreed to more; then one is sent until half
    of its life is over.
    """

    def __init__(
        self,
        client_id: str,
        key: PrivateKeyTypes,
        algorithm: str,
        key_id: str | None,
        audience: str,
        life: float,
        *,
        reuse: bool = False,
        clock: Callable[[], float] = _clock.wall,
    ) -> None:
        self._client_id = client_id
        self._key = key
        self._algorithm = algorithm
        self._headers = {} if key_id is None else {"kid": key_id}
        self._audience = audience
        self._life = life
        self._clock = clock
        self._reuse = reuse
        self._kept: tuple[float, Secret] | None = None  # swapped as a whole: threads may sign twice, no more

    def header(self) -> str | None:
        """Return ``None``."""
        return None

    def members(self) -> Mapping[str, str]:
        """Return the assertion, and what it is."""
        return {
            "client_id": self._client_id,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }

    def _assertion(self) -> str:
        now, kept = self._clock(), self._kept
        if kept is not None and 0 <= now - kept[0] < self._life / 2:
            return kept[1].reveal()
        made = self._signed(now)
        if self._reuse:
            self._kept = (now, Secret(made))
        return made

    def _signed(self, now: float) -> str:
        import jwt

        claims: dict[str, Any] = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": self._audience,  # one string: a list is refused by some (RFC 7523bis)
            "jti": secrets.token_urlsafe(16),
            "iat": int(now),
            "exp": int(now + self._life),
        }
        return jwt.encode(claims, self._key, algorithm=self._algorithm, headers=self._headers)  # type: ignore[arg-type]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _secret(value: str | Secret | None) -> Secret:
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or not text or text != text.strip():
        raise ConfigurationError(
            "client_secret must be the secret of this app at the authorization server, without white space around "
            "it."
        )
    return Secret(text)


def _loaded(private_key: str | bytes | Secret) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = private_key.reveal() if isinstance(private_key, Secret) else private_key
    key: PrivateKeyTypes | None = None
    try:
        data = text.encode() if isinstance(text, str) else bytes(text)
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass  # the text of the error may hold a part of the key
    if key is None:
        raise ConfigurationError(
            "private_key must be a private key as PEM, without a passphrase: a text that begins with "
            "-----BEGIN PRIVATE KEY-----, with its line breaks."
        )
    return key


def _algorithm(key: PrivateKeyTypes, named: str | None) -> str:
    """Return the algorithm of assertions: the named one, if it fits the key."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    fitting: frozenset[str] = frozenset()
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _SHORTEST_RSA_KEY:
            raise ConfigurationError(f"private_key is too short: an RSA key needs {_SHORTEST_RSA_KEY} bits.")
        fitting = _RSA
    elif isinstance(key, EllipticCurvePrivateKey):
        fitting = frozenset(filter(None, [_CURVES.get(key.curve.name)]))
    elif isinstance(key, Ed25519PrivateKey):
        fitting = frozenset({"EdDSA"})
    if not fitting:
        raise ConfigurationError(
            "private_key must be an RSA key, one on P-256, P-384 or P-521, or an Ed25519 key."
        )
    usual = "RS256" if "RS256" in fitting else next(iter(fitting))
    if named is not None and named not in fitting:
        raise ConfigurationError(f"algorithm does not fit private_key. It may be: {', '.join(sorted(fitting))}.")
    return usual if named is None else named
