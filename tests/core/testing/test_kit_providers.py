"""The kit stands in for every provider, with the app's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask

from moonkey_core import (
    CDP,
    OIDC,
    Auth0,
    Clerk,
    Cognito,
    ConfigurationError,
    EntraID,
    Firebase,
    Introspection,
    Keycloak,
    Okta,
    Stytch,
    StytchB2B,
    Supabase,
    WorkOS,
)
from moonkey_core.settings.provider_choice import PRESETS
from moonkey_core.testing import Emulators, Kit
from moonkey_flask import FlaskMoonKey, require_auth
from support.foreign_tokens import key_set

API = "https://api.acme.example"
ISSUER = "https://login.acme.example"
SECRET = "s3cret-of-the-app"
CDP_PROJECT = "11111111-2222-4333-8444-555555555555"


def api_key() -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def asks(**options: Any) -> Introspection:
    return Introspection(f"{ISSUER}/oauth/introspect", client_id="me", client_secret=SECRET, **options)


PROVIDERS: dict[str, Any] = {
    "moonkey": lambda: {"secret_key": "sk_test_of_the_app"},
    "moonkey-jwt": lambda: {"secret_key": "sk_test_of_the_app", "jwt_issuer": ISSUER, "jwt_audience": "shop"},
    "moonkey-jwks": lambda: {"secret_key": "sk_test_of_the_app", "jwt_issuer": ISSUER, "jwks": key_set("RS256")},
    "stytch": lambda: {"provider": Stytch("project-test-1", "secret-test-1234567890")},
    "stytch-domain": lambda: {
        "provider": Stytch("project-live-1", "secret-live-1234567890", custom_base_url=ISSUER)
    },
    "stytch_b2b": lambda: {"provider": StytchB2B("project-test-2", "secret-test-1234567890")},
    "cdp": lambda: {"provider": CDP("key-1", api_key(), CDP_PROJECT)},
    "cdp-jwks": lambda: {"provider": CDP("key-1", api_key(), CDP_PROJECT, jwks_url=f"{ISSUER}/keys")},
    "oidc": lambda: {"provider": OIDC(f"{ISSUER}/", API)},
    "oidc-clients": lambda: {"provider": OIDC(ISSUER, API, client_ids=["web"])},
    "oidc-introspection": lambda: {
        "provider": OIDC(ISSUER, API, introspection=asks(revocation_url=f"{ISSUER}/oauth/revoke"))
    },
    "auth0": lambda: {"provider": Auth0("acme.eu.auth0.com", API, roles_claim="https://acme.example/roles")},
    "okta": lambda: {"provider": Okta("https://acme.okta.com/oauth2/default", "api://default")},
    "entra": lambda: {"provider": EntraID("7d3f5a10-94e8-4cf0-b1c6-0a4a5e6f7999", "api://orders")},
    "keycloak": lambda: {"provider": Keycloak("https://sso.acme.example", "acme", audience="orders")},
    "cognito": lambda: {"provider": Cognito("eu-west-1_ACMEpool1", ["client1"])},
    "firebase": lambda: {"provider": Firebase("acme-project", roles_claim="roles")},
    "clerk": lambda: {
        "provider": Clerk("https://clerk.acme.example", authorized_parties="https://app.acme.example")
    },
    "supabase": lambda: {"provider": Supabase("https://acme.supabase.co", roles_claim="user_role")},
    "workos": lambda: {"provider": WorkOS("client_1", "https://api.workos.com/user_management/client_1")},
    "introspection": lambda: {"provider": asks(issuer=ISSUER, audience=API)},
}
QUICK = {"moonkey", "moonkey-jwt", "stytch", "stytch_b2b", "cdp", "oidc", "auth0"}
WITHOUT_ROLES = {"cdp", "cdp-jwks"}
WITHOUT_SCOPES = {*WITHOUT_ROLES, "firebase", "supabase", "clerk"}
WITHOUT_FACTORS = WITHOUT_ROLES
ROLE = {"clerk": "org:editor"}


def named(name: str) -> Any:
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.long)


def test_every_provider_is_among_them() -> None:
    assert {name.partition("-")[0] for name in PROVIDERS} == {"moonkey", *PRESETS}


def site(role: str = "editor", **settings: Any) -> Flask:
    app = Flask("site")
    FlaskMoonKey(app, **settings)
    requirements: Mapping[str, Any] = {
        "me": {},
        "role": {"roles": {role}},
        "scope": {"scopes": {"orders:read"}},
        "two": {"factor_count": 2},
    }
    for path, asked in requirements.items():
        app.get(f"/{path}", endpoint=path)(require_auth(**asked)(lambda: "passed"))
    return app


@pytest.mark.parametrize("name", [named(one) for one in PROVIDERS])
def test_a_provider(name: str, emulators: Emulators) -> None:
    role = ROLE.get(name, "editor")
    with Kit(site(role, **PROVIDERS[name]()), emulators=emulators) as kit:

        def status(path: str = "/me", **wish: Any) -> int:
            found: int = kit.signed_in(**wish).get(path).status_code
            return found

        assert kit.signed_out().get("/me").status_code == 401
        assert status() == 200
        assert status(revoked=True) == 401
        assert status(expired=True) == 401
        assert status() == 200  # not the one that was revoked
        if name not in WITHOUT_ROLES:
            assert [status("/role", roles=[one]) for one in (role, "org:reader")] == [200, 403]
        if name not in WITHOUT_SCOPES:
            assert [status("/scope", scopes=one) for one in (["orders:read", "openid"], ["openid"])] == [200, 403]
        if name not in WITHOUT_FACTORS:
            assert [status("/two", mfa=one) for one in (True, False)] == [200, 401]
        assert status(unavailable=True) == 503
        kit.faults.clear()
        assert status() == 200


@pytest.mark.parametrize("name", ["cdp", "supabase"])
def test_what_a_provider_does_not_have(name: str, emulators: Emulators) -> None:
    with Kit(site(**PROVIDERS[name]()), emulators=emulators) as kit, pytest.raises(ConfigurationError) as refused:
        kit.signed_in(scopes=["orders:read"])
    assert "have no scopes" in str(refused.value)


def test_an_id_token(emulators: Emulators) -> None:
    app = site(provider=OIDC(ISSUER, "web", token_use="id"))
    with Kit(app, emulators=emulators) as kit:
        assert kit.signed_in(credential="id").get("/me").status_code == 200


def test_a_token_for_another_app(emulators: Emulators) -> None:
    """Nothing of the verification is switched off."""
    with Kit(site(provider=OIDC(ISSUER, API)), emulators=emulators) as kit:
        for claims in ({"aud": "https://other.example"}, {"iss": "https://evil.example"}):
            assert kit.signed_in(claims=claims).get("/me").status_code == 401
        foreign = kit.emulator().token("generic", iss=ISSUER, aud=API, key="foreign")
        bearer = {"Authorization": f"Bearer {foreign}"}
        assert kit.signed_out().get("/me", headers=bearer).status_code == 401


def test_several_providers(emulators: Emulators) -> None:
    app = site(providers=["moonkey", Auth0("acme.eu.auth0.com", API)], secret_key="sk_test_x", jwt_issuer=ISSUER)
    with Kit(app, emulators=emulators) as kit:
        for provider in ("moonkey", "auth0"):
            assert kit.signed_in(provider=provider).get("/me").status_code == 200
            assert kit.signed_in(provider=provider, revoked=True).get("/me").status_code == 401
        assert kit.signed_in(provider="auth0", unavailable=True).get("/me").status_code == 503
        assert kit.signed_in(provider="moonkey").get("/me").status_code == 200
        with pytest.raises(ConfigurationError, match="no provider 'okta'"):
            kit.signed_in(provider="okta")
