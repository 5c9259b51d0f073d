"""Contenders of the local part: from a JWT (ours: from a request's headers) to an identity, without any call."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jwt
import ours
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from service import Upstream
from timing import Contender
from tokens import AUDIENCE, ISSUER, KID, PROJECT, key, key_set, public_pem

from moonkey_core.web.request import asgi_headers, wsgi_headers

RAW = "raw RSA-2048 verify (the limit)"
WARM = "this project, warm (WSGI)"
COLD = "this project, cold"
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
READ = "this project, cold, user and session read"


def raw_rsa(upstream: Upstream) -> Contender:
    """The signature alone, on parts that are ready: no verification can be faster without a memory."""
    public, scheme, digest = key(KID).public_key(), padding.PKCS1v15(), hashes.SHA256()

    def parts(token: str) -> tuple[bytes, bytes, int]:
        text, _, signature = token.rpartition(".")
        # Expiry is no business of a signature: it is looked at here so that the bad tokens are refused.
        claims = jwt.decode(token, options={"verify_signature": False, "verify_aud": False, "verify_exp": True})
        return base64.urlsafe_b64decode(signature + "=="), text.encode(), claims["exp"]

    def verify(one: tuple[bytes, bytes, int]) -> bool:
        public.verify(one[0], one[1], scheme, digest)
        return True

    return Contender(RAW, verify, parts)


def warm(upstream: Upstream) -> list[Contender]:
    """This project, tokens it has seen before, by each way headers may come."""
    client, aclient = ours.blocking(upstream.url), ours.asynchronous(upstream.url)
    found = [
        Contender(WARM, ours.from_environ(client), ours.environ, ours.is_good),
        Contender("this project, warm (mapping)", client.authenticate, ours.mapping, ours.is_good),
        Contender(
            "this project, warm (ASGI, awaited)",
            ours.from_scope(aclient),
            ours.scope_headers,
            ours.is_good,
            is_async=True,
        ),
    ]
    # Says what can be said without a call; the contender before it has shown the client its tokens.
    begin, view = aclient.begin, asgi_headers
    call = lambda lines: begin(view(lines))  # noqa: E731
    found.append(Contender("this project, warm (ASGI, begun)", call, ours.scope_headers, ours.is_good))
    return found


def cold(upstream: Upstream, suffix: str = "") -> list[Contender]:
    """This project, each token at first sight."""
    client, reader = ours.blocking(upstream.url), ours.blocking(upstream.url)
    authenticate, view = reader.authenticate, wsgi_headers

    def authenticate_and_read(environ: dict[str, Any]) -> bool:
        auth = authenticate(view(environ))
        assert auth.user is not None
        assert auth.session is not None
        return bool(auth.user.id and auth.session.id and auth.session.expires_at)

    return [
        Contender(COLD + suffix, ours.from_environ(client), ours.environ, ours.is_good, once=True),
        Contender(READ + suffix, authenticate_and_read, ours.environ, once=True),
    ]


def pyjwt_client(upstream: Upstream) -> Contender:
    """The usual recipe."""
    keys = jwt.PyJWKClient(upstream.jwks_url)

    def verify(token: str) -> Any:
        found = keys.get_signing_key_from_jwt(token)
        return jwt.decode(token, found, ["RS256"], options={"require": REQUIRED}, audience=AUDIENCE, issuer=ISSUER)

    return Contender("PyJWT + PyJWKClient", verify)


def stytch_client(upstream: Upstream) -> Any:
    """The SDK's client, its addresses turned to the mock (its constructor insists on https)."""
    from stytch import Client

    client = Client(PROJECT, "secret-test", suppress_warnings=True)
    client.api_base.base_url = f"{upstream.url}/"
    client.sessions.jwks_client = jwt.PyJWKClient(upstream.jwks_url)
    return client


def stytch_local(upstream: Upstream) -> Contender:
    """``authenticate_jwt_local``: ``None`` is its refusal."""
    client = stytch_client(upstream)
    call = client.sessions.authenticate_jwt_local
    return Contender("stytch authenticate_jwt_local", call, accepted=lambda one: one is not None, flavour="stytch")


def clerk_request(upstream: Upstream) -> Contender:
    """``authenticate_request`` with the key given, its fastest way."""
    from clerk_backend_api.security import AuthenticateRequestOptions, authenticate_request

    options = AuthenticateRequestOptions(jwt_key=public_pem(), audience=AUDIENCE)
    return Contender(
        "clerk authenticate_request, jwt_key",
        lambda request: authenticate_request(request, options),
        lambda token: SimpleNamespace(headers={"Authorization": f"Bearer {token}"}),
        lambda state: state.is_signed_in,
        note="does not check iss",
    )


def clerk_jwks(upstream: Upstream) -> Contender:
    """``verify_token`` with its key set fetched and remembered."""
    from clerk_backend_api.security import VerifyTokenOptions, verify_token

    options = VerifyTokenOptions(secret_key="sk_test_x", api_url=upstream.url, audience=AUDIENCE)
    return Contender("clerk verify_token, JWKS", lambda token: verify_token(token, options), note="no iss check")


def joserfc_jwt(upstream: Upstream) -> Contender:
    """``jwt.decode`` with a key set, then the claims registry."""
    from joserfc import jwt as jose
    from joserfc.jwk import KeySet

    published: Any = key_set(KID)
    keys = KeySet.import_key_set(published)
    rules = jose.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )

    def verify(token: str) -> Any:
        found = jose.decode(token, keys, algorithms=["RS256"])
        rules.validate(found.claims)
        return found.claims

    return Contender("joserfc decode + claims registry", verify)


def authlib_jwt(upstream: Upstream) -> Contender:
    """``JsonWebToken`` with a key set imported once."""
    from authlib.deprecate import AuthlibDeprecationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuthlibDeprecationWarning)  # joserfc is to take its place
        from authlib.jose import JsonWebKey, JsonWebToken

    keys, reader = JsonWebKey.import_key_set(key_set(KID)), JsonWebToken(["RS256"])
    rules = {
        "iss": {"essential": True, "value": ISSUER},
        "aud": {"essential": True, "value": AUDIENCE},
        "exp": {"essential": True},
    }

    def verify(token: str) -> Any:
        claims = reader.decode(token, keys, claims_options=rules)
        claims.validate()
        return claims

    return Contender("authlib JsonWebToken + KeySet", verify)


PEERS: list[Callable[[Upstream], Contender]] = [
    pyjwt_client,
    stytch_local,
    clerk_request,
    clerk_jwks,
    joserfc_jwt,
    authlib_jwt,
]
