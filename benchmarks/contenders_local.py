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
from tokens import AUDIENCE, ISSUER, KID, PROJECT, REFUSED, key, key_set, public_pem

from moonkey_core.web.request import asgi_headers, wsgi_headers, wsgi_request

RAW = "raw RSA-2048 verify (the limit)"
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
PAIRS = "cookie pairs"  # the name of a pool: whole Cookie lines


def raw_rsa() -> Contender:
    """The signature alone, on parts that are ready: no verification can be faster without a memory."""
    public, scheme, digest = key(KID).public_key(), padding.PKCS1v15(), hashes.SHA256()

    def parts(token: str) -> tuple[bytes, bytes]:
        text, _, signature = token.rpartition(".")
        return base64.urlsafe_b64decode(signature + "=="), text.encode()

    def verify(one: tuple[bytes, bytes]) -> bool:
        public.verify(one[0], one[1], scheme, digest)
        return True

    return Contender(RAW, verify, parts, kind="raw")


def _mine(name: str, id: str, call: Any, wrap: Any, accepted: Any = bool, **more: Any) -> Contender:
    return Contender(f"this project, {name}", call, wrap, accepted, kind="ours", id=id, **more)


def warm(upstream: Upstream) -> list[Contender]:
    """This project, tokens it has seen before, by each way headers may come."""
    client, aclient = ours.blocking(upstream.url), ours.asynchronous(upstream.url)
    browser = ours.blocking(upstream.url, **ours.COOKIES)
    authenticate, begin, read, pair = client.authenticate, aclient.begin, ours.read, browser.authenticate
    awaited = ours.from_scope(aclient)
    wsgi, asgi, plain = ours.environ, ours.scope_headers, ours.mapping
    return [
        _mine("ASGI, awaited", "", awaited, asgi, ours.is_good, is_async=True),  # shows the client its tokens
        _mine("WSGI", "warm-wsgi", lambda one: authenticate(wsgi_headers(one)), wsgi, ours.is_good),
        _mine("ASGI, begun", "warm-asgi", lambda one: begin(asgi_headers(one)), asgi, ours.is_good),
        _mine("mapping", "warm-mapping", authenticate, plain, ours.is_good),
        _mine("WSGI, user and session", "read-wsgi", lambda one: read(authenticate(wsgi_headers(one))), wsgi),
        _mine("ASGI, user and session", "read-asgi", lambda one: read(begin(asgi_headers(one))), asgi),
        _mine("mapping, user and session", "read-mapping", lambda one: read(authenticate(one)), plain),
        _mine(
            "WSGI, cookie pair, user and session",
            "pair-core",
            lambda one: read(pair(wsgi_headers(one), info=wsgi_request(one))),
            ours.pair_environ,
            pool=PAIRS,
        ),
    ]


def cold(upstream: Upstream) -> list[Contender]:
    """This project, each token at first sight."""
    client, reader = ours.blocking(upstream.url), ours.blocking(upstream.url)
    authenticate = reader.authenticate
    return [
        _mine("first sight", "cold", ours.from_environ(client), ours.environ, ours.is_good, once=True),
        _mine(
            "first sight, user and session",
            "cold-read",
            lambda one: ours.read(authenticate(wsgi_headers(one))),
            ours.environ,
            once=True,
        ),
    ]


def refused(upstream: Upstream) -> list[Contender]:
    """This project, what it must refuse, each token at first sight; every pool is named by what is wrong."""
    # An expired JWT is decided here: by default the API would be asked for a new one.
    client = ours.blocking(upstream.url, refresh_jwt=False)
    call, wrap, no = ours.from_environ(client), ours.environ, ours.is_refused
    return [_mine(f"refused: {what}", f"refused-{what}", call, wrap, no, once=True, pool=what) for what in REFUSED]


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
