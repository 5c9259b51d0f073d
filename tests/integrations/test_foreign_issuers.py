"""Issuers that others have written: what they issue is accepted, and what they end is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import MoonKey, ProviderRejectedKey
from moonkey_core.auth import Auth
from moonkey_core.provider import OIDC, Introspection
from support.foreign_issuer import (
    API,
    CLIENT,
    SECRET,
    SIGNER,
    AuthlibServer,
    authorization_server,
    id_tokens,
    sign_in,
)


def auth_of(client: MoonKey, token: str) -> Auth:
    return client.authenticate({"Authorization": f"Bearer {token}"})


def refusal(client: MoonKey, token: str) -> str | None:
    auth = auth_of(client, token)
    assert auth.state == "rejected"
    assert auth.error is not None
    return auth.error.reason


class TestOidcProviderMock:
    @pytest.mark.long
    def test_its_id_tokens(self) -> None:
        with id_tokens() as issuer, MoonKey(provider=OIDC(issuer, "app", token_use="id")) as client:
            tokens = sign_in(issuer, "ada", "app")
            auth = auth_of(client, tokens["id_token"])
            assert auth.is_authenticated, auth.error
            assert (auth.user.id, auth.scope) == ("ada", issuer)
            other = sign_in(issuer, "ada", "another app")
            assert refusal(client, other["id_token"]) == "jwt_audience"

    def test_they_are_no_access_tokens(self) -> None:
        with id_tokens() as issuer, MoonKey(provider=OIDC(issuer, "app")) as client:
            assert refusal(client, sign_in(issuer, "ada", "app")["id_token"])


@pytest.fixture(scope="module")
def server() -> Iterator[AuthlibServer]:
    with authorization_server() as running:
        yield running


class TestAuthlib:
    @pytest.mark.long
    def test_its_jwts(self, server: AuthlibServer) -> None:
        with MoonKey(provider=OIDC(server.issuer, API)) as client:
            auth = auth_of(client, server.issue("ada"))
            assert auth.is_authenticated, auth.error
            assert (auth.user.id, auth.scope) == ("ada", server.issuer)
            assert refusal(client, server.issue_machine())
        with MoonKey(provider=OIDC(server.issuer, "https://other.example.com")) as client:
            assert refusal(client, server.issue("ada")) == "jwt_audience"

    @pytest.mark.parametrize(
        "way",
        [
            {"client_id": CLIENT, "client_secret": SECRET},
            {"client_id": CLIENT, "client_secret": SECRET, "auth_method": "client_secret_post"},
            {"client_id": SIGNER, "private_key": "{pem}"},
        ],
        ids=["basic", "post", "private key"],
    )
    def test_introspection(self, server: AuthlibServer, way: dict[str, Any]) -> None:
        way = {name: server.client_pem if value == "{pem}" else value for name, value in way.items()}
        url, revocation_url = f"{server.issuer}/introspect", f"{server.issuer}/revoke"
        provider = Introspection(url, issuer=server.issuer, audience=API, revocation_url=revocation_url, **way)
        with MoonKey(provider=provider, cache_secret="c" * 32) as client:
            token = server.issue("ada", "opaque")
            auth = auth_of(client, token)
            assert auth.is_authenticated, auth.error
            assert (auth.user.id, auth.scope) == ("ada", server.issuer)
            assert refusal(client, "never-existed")
            client.sessions.revoke(session_token=token)
            assert server.tokens[token].revoked
            assert refusal(client, token)

    @pytest.mark.parametrize(
        "proof", [{"client_secret": "no"}, {"private_key": "{pem}"}], ids=["secret", "method"]
    )
    def test_a_client_that_it_does_not_accept_is_our_fault(
        self, server: AuthlibServer, proof: dict[str, Any]
    ) -> None:
        proof = {name: server.client_pem if value == "{pem}" else value for name, value in proof.items()}
        url = f"{server.issuer}/introspect"
        provider = Introspection(url, issuer=server.issuer, audience=API, client_id=CLIENT, **proof)
        with MoonKey(provider=provider, cache_secret="c" * 32) as client:
            auth = auth_of(client, server.issue("ada", "opaque"))
            assert isinstance(auth.error, ProviderRejectedKey), auth
