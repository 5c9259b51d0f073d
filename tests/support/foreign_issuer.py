"""OpenID Connect issuers that others have written: two readings of the standards beside our own emulator.

``id_tokens``: oidc-provider-mock, with discovery, a key set and ID tokens. ``authorization_server``: one made of
Authlib's parts, with JWT access tokens of RFC 9068, opaque ones, introspection, revocation, and clients that prove
themselves in three ways. Neither names its only key in its tokens.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask, Response, jsonify, request
from joserfc.jwk import ECKey, RSAKey

from support import quick
from support.servers import serve_wsgi

with warnings.catch_warnings(record=True):  # they still use parts of Authlib that it has deprecated
    import oidc_provider_mock
    from authlib.integrations.flask_oauth2 import AuthorizationServer
    from authlib.oauth2 import rfc6749, rfc7009, rfc7523, rfc7662, rfc9068

API = "https://api.example.com"
CLIENT, SECRET = "an app", "it's: a 100% secret+"
"""A client whose id and secret come through only if they are encoded as RFC 6749 wants it."""
SIGNER = "signer"
"""A client that signs assertions."""


@contextmanager
def id_tokens() -> Iterator[str]:
    """Run oidc-provider-mock; yields its issuer."""
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


def sign_in(issuer: str, user: str, client_id: str) -> dict[str, str]:
    """Sign in at oidc-provider-mock, as a browser and its app would; returns the tokens."""
    back = "http://127.0.0.1:9/back"
    query = {"response_type": "code", "client_id": client_id, "redirect_uri": back, "scope": "openid email"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = quick.post(f"{issuer}/oauth2/authorize", params=query, data={"sub": user})
        code = parse_qs(urlsplit(asked.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        reply = quick.post(f"{issuer}/oauth2/token", data=form, auth=(client_id, "any"))
    tokens: dict[str, str] = reply.json()
    return tokens


@dataclass
class _Client(rfc6749.ClientMixin):  # type: ignore[misc]
    client_id: str
    secret: str | None = None
    public_key: Any = None

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_client_secret(self, secret: str) -> bool:
        return secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "private_key_jwt" if self.secret is None else method.startswith("client_secret")

    def check_grant_type(self, grant_type: str) -> bool:
        return True


@dataclass
class _User:
    id: str

    def get_user_id(self) -> str:
        return self.id


@dataclass
class _Token(rfc6749.TokenMixin):  # type: ignore[misc]
    text: str
    client_id: str
    user_id: str | None
    scope: str
    expires_at: float
    revoked: bool = False

    def check_client(self, client: _Client) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return self.expires_at <= time.time()

    def is_revoked(self) -> bool:
        return self.revoked


@dataclass
class AuthlibServer:
    """The server of ``authorization_server``: where it is, its keys, and what it has issued."""

    issuer: str = ""
    signing_key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    client_key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    tokens: dict[str, _Token] = field(default_factory=dict)
    assertions: set[str] = field(default_factory=set)

    @property
    def client_pem(self) -> str:
        """The private key of the client ``SIGNER``."""
        pem: bytes = self.client_key.as_pem(private=True)
        return pem.decode()

    def issue(self, user: str, kind: str = "jwt", scope: str = "read") -> str:
        """A token of a user, requested by the app that signs them in."""
        form = {"grant_type": "password", "username": user, "password": "x", "scope": f"{scope} {kind}"}
        return self._requested(form)

    def issue_machine(self) -> str:
        """A token of the client itself."""
        return self._requested({"grant_type": "client_credentials", "scope": "read jwt"})

    def _requested(self, form: dict[str, str]) -> str:
        reply = quick.post(f"{self.issuer}/token", data={**form, "client_id": CLIENT, "client_secret": SECRET})
        token: str = reply.json()["access_token"]
        return token

    def save(self, token: dict[str, Any], made: Any) -> None:
        user = made.user.id if made.user else None
        text, until = token["access_token"], time.time() + token["expires_in"]
        self.tokens[text] = _Token(text, made.client.client_id, user, token.get("scope", ""), until)


@contextmanager
def authorization_server() -> Iterator[AuthlibServer]:
    """Run a server made of Authlib."""
    server = AuthlibServer()
    with serve_wsgi(_app(server)) as url:
        server.issuer = url
        yield server


def _app(server: AuthlibServer) -> Flask:
    clients = {
        CLIENT: _Client(CLIENT, SECRET),
        SIGNER: _Client(SIGNER, public_key=server.client_key),
    }

    class Jwts(rfc9068.JWTBearerTokenGenerator):  # type: ignore[misc]
        def get_jwks(self) -> Any:
            return server.signing_key.as_dict(private=True)

        def get_audiences(self, client: _Client, user: Any, scope: str) -> str:
            return API

        def access_token_generator(self, client: _Client, grant_type: str, user: Any, scope: str) -> Any:
            self.issuer = server.issuer
            if "opaque" in scope.split():
                return uuid.uuid4().hex
            return super().access_token_generator(client, grant_type, user, scope)

    class Password(rfc6749.grants.ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]

        def authenticate_user(self, username: str, password: str) -> _User:
            return _User(username)

    class Machine(rfc6749.grants.ClientCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]

    class Assertion(rfc7523.JWTBearerClientAssertion):  # type: ignore[misc]
        CLIENT_AUTH_METHOD = "private_key_jwt"

        def get_audiences(self) -> list[str]:
            return [server.issuer, f"{server.issuer}/token"]

        def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
            is_new = jti not in server.assertions
            server.assertions.add(jti)
            return is_new

        def resolve_client_public_key(self, client: _Client) -> Any:
            return client.public_key

    methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"]

    class Introspection(rfc7662.IntrospectionEndpoint):  # type: ignore[misc]
        CLIENT_AUTH_METHODS = methods

        def query_token(self, token: str, hint: str | None) -> _Token | None:
            return server.tokens.get(token)

        def check_permission(self, token: _Token, client: _Client, request: Any) -> bool:
            return True

        def introspect_token(self, token: _Token) -> dict[str, Any]:
            return {
                "active": True,
                "client_id": token.client_id,
                "token_type": "Bearer",
                "scope": token.scope,
                "sub": token.user_id or token.client_id,
                "aud": API,
                "iss": server.issuer,
                "exp": int(token.expires_at),
                "iat": int(token.expires_at) - 3_600,
            }

    class Revocation(rfc7009.RevocationEndpoint):  # type: ignore[misc]
        CLIENT_AUTH_METHODS = methods

        def query_token(self, token: str, hint: str | None) -> _Token | None:
            return server.tokens.get(token)

        def revoke_token(self, token: _Token, request: Any) -> None:
            token.revoked = True

    app = Flask("authlib")
    authorization = AuthorizationServer(app, clients.get, server.save)
    authorization.register_token_generator("default", Jwts("", expires_generator=lambda *_: 3_600))
    authorization.register_grant(Password)
    authorization.register_grant(Machine)
    authorization.register_endpoint(Introspection)
    authorization.register_endpoint(Revocation)
    authorization.register_client_auth_method("private_key_jwt", Assertion())

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify({"issuer": server.issuer, "jwks_uri": f"{server.issuer}/keys"})

    @app.get("/keys")
    def keys() -> Response:
        return jsonify({"keys": [server.signing_key.as_dict(private=False)]})

    @app.post("/token")
    def token() -> Any:
        return authorization.create_token_response(request)

    @app.post("/introspect")
    def introspect() -> Any:
        return authorization.create_endpoint_response("introspection")

    @app.post("/revoke")
    def revoke() -> Any:
        return authorization.create_endpoint_response("revocation")

    return app
