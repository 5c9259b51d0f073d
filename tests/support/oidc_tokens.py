"""A good token of each identity provider, and those that look like one: of the right issuer and the right key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.provider import (
    OIDC,
    Auth0,
    Clerk,
    Cognito,
    EntraID,
    Firebase,
    Keycloak,
    OidcProvider,
    Okta,
    Supabase,
    WorkOS,
)

NOW = 1_800_000_000
TENANT = "8b1f7a3e-0c1d-4e2f-9a3b-5c6d7e8f9a0b"
SECOND_TENANT = "11111111-2222-3333-4444-555555555555"
OTHER_TENANT = "ffffffff-0000-4000-8000-ffffffffffff"
API = "https://api.example.com"
APP = "https://app.example.com"

Payload = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A provider, and the header and claims of a token that it accepts. ``user_id`` and so on: what they say."""

    make: Callable[..., OidcProvider]
    claims: Payload
    header: Payload = field(default_factory=dict)
    user_id: str = ""
    session_id: str = ""
    algorithm: str = "RS256"

    def payload(self, **changes: Any) -> Payload:
        return changed({"iat": NOW - 10, "exp": NOW + 290, **self.claims}, changes)


def changed(claims: Mapping[str, Any], changes: Mapping[str, Any]) -> Payload:
    """The claims with these changes; one to ``...`` leaves a claim out."""
    return {name: value for name, value in {**claims, **changes}.items() if value is not ...}


def entra(**options: Any) -> OidcProvider:
    return EntraID(**{"tenant_id": TENANT, "audience": ["client-of-api", "api://shop"], **options})


PRESETS: dict[str, Preset] = {
    "oidc": Preset(
        lambda **options: OIDC(**{"issuer": "https://id.example.com", "audience": API, **options}),
        {
            "iss": "https://id.example.com",
            "aud": API,
            "sub": "ada",
            "sid": "s1",
            "client_id": "web",
            "jti": "j1",
            "scope": "read write",
            "roles": ["admin"],
            "acr": "gold",
            "amr": ["pwd", "otp"],
            "auth_time": NOW - 60,
        },
        {"typ": "at+jwt"},
        "ada",
        "s1",
    ),
    "oidc id": Preset(
        lambda **options: OIDC(
            **{"issuer": "https://id.example.com", "audience": "web", "token_use": "id", **options}
        ),
        {"iss": "https://id.example.com", "aud": "web", "sub": "ada", "nonce": "n", "at_hash": "h", "sid": "s1"},
        {"typ": "JWT"},
        "ada",
        "s1",
    ),
    "auth0": Preset(
        lambda **options: Auth0(**{"domain": "acme.eu.auth0.com", "audience": API, **options}),
        {
            "iss": "https://acme.eu.auth0.com/",
            "aud": [API, "https://acme.eu.auth0.com/userinfo"],
            "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
            "azp": "web",
            "scope": "openid read:orders",
            "permissions": ["read:orders"],
            "org_id": "org_1",
        },
        {"typ": "JWT"},
        "auth0|5f7c8ec7c33c6c004bbafe82",
    ),
    "okta": Preset(
        lambda **options: Okta(
            **{"issuer": "https://acme.okta.com/oauth2/default", "audience": "api://default", **options}
        ),
        {
            "iss": "https://acme.okta.com/oauth2/default",
            "aud": "api://default",
            "sub": "ada@example.com",
            "uid": "00u1",
            "cid": "0oa1",
            "jti": "AT.1",
            "ver": 1,
            "scp": ["openid", "orders"],
            "groups": ["Staff"],
        },
        {},
        "00u1",
        "AT.1",
    ),
    "entra": Preset(
        entra,
        {
            "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
            "aud": "client-of-api",
            "tid": TENANT,
            "oid": "person-1",
            "sub": "pairwise-1",
            "azp": "web",
            "azpacr": "0",
            "scp": "Orders.Read Orders.Write",
            "roles": ["Reader"],
            "uti": "uti-1",
            "ver": "2.0",
        },
        {"typ": "JWT"},
        "person-1",
        "uti-1",
    ),
    "entra v1": Preset(
        entra,
        {
            "iss": f"https://sts.windows.net/{TENANT}/",
            "aud": "api://shop",
            "tid": TENANT,
            "oid": "person-1",
            "sub": "pairwise-1",
            "appid": "web",
            "appidacr": "0",
            "scp": "Orders.Read",
            "acr": "1",
            "amr": ["pwd", "mfa"],
            "sid": "sid-1",
            "ver": "1.0",
        },
        {"typ": "JWT", "x5t": "kid"},
        "person-1",
        "sid-1",
    ),
    "entra several": Preset(
        lambda **options: entra(**{"tenant_id": [TENANT, SECOND_TENANT], **options}),
        {
            "iss": f"https://login.microsoftonline.com/{SECOND_TENANT}/v2.0",
            "aud": "client-of-api",
            "tid": SECOND_TENANT,
            "oid": "person-2",
            "azp": "web",
            "scp": "Orders.Read",
        },
        {"typ": "JWT"},
        "person-2",
    ),
    "keycloak": Preset(
        lambda **options: Keycloak(
            **{"url": "https://id.example.com", "realm": "shop", "audience": "orders", **options}
        ),
        {
            "iss": "https://id.example.com/realms/shop",
            "aud": ["orders", "account"],
            "sub": "0c1d",
            "typ": "Bearer",
            "azp": "web",
            "sid": "s1",
            "scope": "openid email",
            "realm_access": {"roles": ["staff"]},
            "resource_access": {"orders": {"roles": ["writer"]}, "account": {"roles": ["manage-account"]}},
            "preferred_username": "ada",
            "email": "ada@example.com",
            "email_verified": True,
            "acr": "1",
        },
        {"typ": "JWT"},
        "0c1d",
        "s1",
    ),
    "keycloak azp": Preset(
        lambda **options: Keycloak(
            **{"url": "https://id.example.com", "realm": "shop", "authorized_parties": ["web"], **options}
        ),
        {
            "iss": "https://id.example.com/realms/shop",
            "aud": "account",
            "sub": "0c1d",
            "typ": "Bearer",
            "azp": "web",
            "sid": "s1",
        },
        {"typ": "JWT"},
        "0c1d",
        "s1",
    ),
    "cognito": Preset(
        lambda **options: Cognito(**{"pool_id": "eu-central-1_AbC", "client_ids": ["c1", "c2"], **options}),
        {
            "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC",
            "client_id": "c1",
            "token_use": "access",
            "sub": "sub-1",
            "username": "ada",
            "origin_jti": "o1",
            "jti": "j1",
            "scope": "aws.cognito.signin.user.admin",
            "cognito:groups": ["staff"],
            "auth_time": NOW - 60,
        },
        {},
        "sub-1",
        "o1",
    ),
    "cognito id": Preset(
        lambda **options: Cognito(
            **{"pool_id": "eu-central-1_AbC", "client_ids": "c1", "token_use": "id", **options}
        ),
        {
            "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC",
            "aud": "c1",
            "token_use": "id",
            "sub": "sub-1",
            "cognito:username": "ada",
            "at_hash": "h",
            "email": "ada@example.com",
            "email_verified": True,
        },
        {},
        "sub-1",
    ),
    "firebase": Preset(
        lambda **options: Firebase(**{"project_id": "acme-prod", **options}),
        {
            "iss": "https://securetoken.google.com/acme-prod",
            "aud": "acme-prod",
            "sub": "uid1",
            "user_id": "uid1",
            "auth_time": NOW - 60,
            "email": "ada@example.com",
            "email_verified": False,
            "firebase": {"identities": {}, "sign_in_provider": "password", "sign_in_second_factor": "totp"},
        },
        {"typ": "JWT"},
        "uid1",
        f"uid1:{NOW - 60}",
    ),
    "firebase cookie": Preset(
        lambda **options: Firebase(**{"project_id": "acme-prod", "session_cookies": True, **options}),
        {
            "iss": "https://session.firebase.google.com/acme-prod",
            "aud": "acme-prod",
            "sub": "uid1",
            "auth_time": NOW - 60,
            "exp": NOW + 13 * 86_400,
            "firebase": {"sign_in_provider": "google.com"},
        },
        {},
        "uid1",
        f"uid1:{NOW - 60}",
    ),
    "clerk": Preset(
        lambda **options: Clerk(**{"issuer": "https://clerk.example.com", "authorized_parties": [APP], **options}),
        {
            "iss": "https://clerk.example.com",
            "azp": APP,
            "sub": "user_2abc",
            "sid": "sess_2abc",
            "sts": "active",
            "v": 2,
            "fva": [3, -1],
            "fea": "o:dashboard,o:teams",
            "pla": "o:pro",
            "o": {"id": "org_1", "slg": "acme", "rol": "admin", "per": "read,manage", "fpm": "3,1"},
        },
        {"typ": "JWT"},
        "user_2abc",
        "sess_2abc",
    ),
    "supabase": Preset(
        lambda **options: Supabase(**{"url": "https://abcdef.supabase.co", **options}),
        {
            "iss": "https://abcdef.supabase.co/auth/v1",
            "aud": "authenticated",
            "sub": "0c1d",
            "session_id": "5e55",
            "role": "authenticated",
            "aal": "aal2",
            "amr": [{"method": "totp", "timestamp": NOW - 30}, {"method": "password", "timestamp": NOW - 90}],
            "is_anonymous": False,
            "email": "ada@example.com",
            "app_metadata": {"provider": "email", "roles": ["editor"]},
            "user_metadata": {"roles": ["owner"], "email_verified": True},
        },
        {"typ": "JWT"},
        "0c1d",
        "5e55",
        "ES256",
    ),
    "workos": Preset(
        lambda **options: WorkOS(
            **{
                "client_id": "client_1",
                "issuers": ["https://api.workos.com/user_management/client_1", "https://auth.example.com"],
                **options,
            }
        ),
        {
            "iss": "https://auth.example.com",
            "sub": "user_1",
            "sid": "session_1",
            "jti": "j1",
            "auth_time": NOW - 60,
            "org_id": "org_1",
            "role": "member",
            "roles": ["member", "billing"],
            "permissions": ["posts:read"],
        },
        {},
        "user_1",
        "session_1",
    ),
}


ID_TOKENS = ("oidc id", "cognito id", "firebase", "firebase cookie")
"""The presets whose good tokens are ID tokens."""


@dataclass(frozen=True)
class LookAlike:
    """A token that is not accepted, although its issuer has signed it: what it is, and why it is refused."""

    preset: str
    what: str
    reason: str
    changes: Payload = field(default_factory=dict)
    header: Payload = field(default_factory=dict)
    options: Payload = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.preset}: {self.what}"


def _of_each() -> list[LookAlike]:
    """What no provider's tokens may be."""
    found = []
    for name in PRESETS:
        found += [
            LookAlike(name, "bound by DPoP", "sender_constrained", {"cnf": {"jkt": "k"}}),
            LookAlike(name, "bound by mutual TLS", "sender_constrained", {"cnf": {"x5t#S256": "k"}}),
            LookAlike(name, "bound in an unknown way", "sender_constrained", {"cnf": "k"}),
            LookAlike(name, "a security event", "logout_token", {"events": {"https://example.com/e": {}}}),
            LookAlike(name, "an actor without a name", "jwt_actor", {"act": {"iss": "x"}}),
            LookAlike(name, "an actor of the wrong type", "jwt_actor", {"act": "someone"}),
            LookAlike(name, "a logout token by its type", "jwt_type", header={"typ": "logout+jwt"}),
            LookAlike(name, "an event by its type", "jwt_type", header={"typ": "secevent+jwt"}),
            LookAlike(name, "signed by a shared secret", "jwt_algorithm", header={"alg": "HS256"}),
            LookAlike(name, "not signed", "jwt_algorithm", header={"alg": "none"}),
            LookAlike(name, "another issuer", "jwt_issuer", {"iss": "https://elsewhere.example"}),
            LookAlike(name, "a refresh token by its type", "refresh_token", {"typ": "Refresh"}),
            LookAlike(name, "a refresh token by its use", "refresh_token", {"token_use": "refresh"}),
            LookAlike(name, "a logout token by its own type", "logout_token", {"typ": "Logout"}),
            LookAlike(name, "lives too long", "jwt_lifetime", {"exp": NOW + 40 * 86_400}),
        ]
        if name in ID_TOKENS:
            found += [
                LookAlike(name, "an access token by its type", "token_kind", {"typ": "Bearer"}),
                LookAlike(name, "an access token by its use", "token_kind", {"token_use": "access"}),
            ]
            continue
        found += [
            LookAlike(name, "an ID token by its type", "id_token", {"typ": "ID"}),
            LookAlike(name, "an ID token by its use", "id_token", {"token_use": "id"}),
        ]
        if not name.startswith(("keycloak", "cognito")):  # whose tokens say of what kind they are
            marks = ("nonce", "at_hash", "c_hash", "s_hash")
            found += [LookAlike(name, f"an ID token by {mark}", "id_token", {mark: "x"}) for mark in marks]
    return found


_NO_SCP = {"scp": ..., "roles": ...}

LOOK_ALIKES: list[LookAlike] = [
    *_of_each(),
    LookAlike("oidc", "an ID token with nonce", "id_token", {"nonce": "n"}),
    LookAlike("oidc", "an ID token with at_hash", "id_token", {"at_hash": "h"}),
    LookAlike("oidc", "an ID token with c_hash", "id_token", {"c_hash": "h"}),
    LookAlike("oidc", "an ID token for the client", "jwt_audience", {"aud": "web"}),
    LookAlike("oidc", "no audience", "jwt_audience", {"aud": ...}),
    LookAlike("oidc", "a refresh token", "refresh_token", {"typ": "Refresh"}),
    LookAlike("oidc", "a program's", "machine_token", {"sub": "web"}),
    LookAlike("oidc", "another client's", "other_client", options={"client_ids": ["ios"]}),
    LookAlike("oidc", "no client's", "other_client", {"client_id": ...}, options={"client_ids": ["web"]}),
    LookAlike("oidc", "no user", "jwt_subject", {"sub": ...}),
    LookAlike("oidc", "a user of the wrong type", "jwt_subject", {"sub": 7}),
    LookAlike("oidc id", "an access token", "jwt_type", header={"typ": "at+jwt"}),
    LookAlike("oidc id", "an access token by token_use", "token_kind", {"token_use": "access"}),
    LookAlike("oidc id", "for two, without azp", "other_client", {"aud": ["web", "ios"]}),
    LookAlike("oidc id", "for two, for the other", "other_client", {"aud": ["web", "ios"], "azp": "ios"}),
    LookAlike("oidc id", "another client's", "other_client", {"azp": "ios"}),
    LookAlike("auth0", "client credentials", "machine_token", {"sub": "web@clients"}),
    LookAlike("auth0", "an ID token", "jwt_audience", {"aud": "web", "nonce": "n", "sid": "s"}),
    LookAlike("auth0", "for userinfo only", "jwt_audience", {"aud": ["https://acme.eu.auth0.com/userinfo"]}),
    LookAlike("auth0", "for the management API", "jwt_audience", {"aud": "https://acme.eu.auth0.com/api/v2/"}),
    LookAlike("auth0", "another tenant's", "jwt_issuer", {"iss": "https://evil.eu.auth0.com/"}),
    LookAlike("auth0", "without the slash", "jwt_issuer", {"iss": "https://acme.eu.auth0.com"}),
    LookAlike("auth0", "another application's", "other_client", options={"client_ids": "ios"}),
    LookAlike("okta", "client credentials", "machine_token", {"uid": ..., "sub": "0oa1"}),
    LookAlike("okta", "an ID token", "jwt_audience", {"aud": "0oa1", "uid": ..., "cid": ...}),
    LookAlike("okta", "an ID token for the same audience", "id_token", {"nonce": "n"}),
    LookAlike(
        "okta",
        "an ID token as a program's",
        "token_kind",
        {"uid": ..., "cid": ...},
        options={"allow_machines": True},
    ),
    LookAlike("okta", "the org server's", "jwt_issuer", {"iss": "https://acme.okta.com"}),
    LookAlike("okta", "another server's", "jwt_issuer", {"iss": "https://acme.okta.com/oauth2/other"}),
    LookAlike("entra", "app-only", "machine_token", {"scp": ..., "roles": ["Reader"]}),
    LookAlike("entra", "app-only by idtyp", "machine_token", {"idtyp": "app"}),
    LookAlike("entra", "app-only without a role", "token_kind", _NO_SCP),
    LookAlike("entra", "app-only without a role", "token_kind", _NO_SCP, options={"allow_machines": True}),
    LookAlike(
        "entra", "the same by idtyp", "token_kind", {**_NO_SCP, "idtyp": "app"}, options={"allow_machines": True}
    ),
    LookAlike("entra", "an ID token", "id_token", {**_NO_SCP, "nonce": "n", "azp": ...}),
    LookAlike("entra", "an ID token without nonce", "token_kind", {**_NO_SCP, "azp": ...}),
    LookAlike(
        "entra",
        "an ID token with roles",
        "token_kind",
        {"scp": ..., "azp": ...},
        options={"allow_machines": True},
    ),
    LookAlike("entra", "another API's", "jwt_audience", {"aud": "00000003-0000-0000-c000-000000000000"}),
    LookAlike("entra", "aud equal to the client", "jwt_audience", {"aud": "web"}),
    LookAlike(
        "entra",
        "another tenant's",
        "jwt_issuer",
        {"iss": f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0", "tid": OTHER_TENANT},
    ),
    LookAlike("entra", "another tenant's v1", "jwt_issuer", {"iss": f"https://sts.windows.net/{OTHER_TENANT}/"}),
    LookAlike(
        "entra", "the template itself", "jwt_issuer", {"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}
    ),
    LookAlike("entra", "another tid", "other_tenant", {"tid": OTHER_TENANT}),
    LookAlike("entra", "no tid", "other_tenant", {"tid": ...}),
    LookAlike("entra several", "the issuer of one, the tid of another", "other_tenant", {"tid": TENANT}),
    LookAlike("entra", "groups overage", "claims_overage", {"_claim_names": {"groups": "src1"}}),
    LookAlike("entra", "groups overage, short form", "claims_overage", {"hasgroups": True}),
    LookAlike("entra", "an unknown application's", "other_client", options={"client_ids": ["ios"]}),
    LookAlike("entra", "no object id", "jwt_subject", {"oid": ...}),
    LookAlike("entra", "scp as a list", "token_kind", {"scp": ["Orders.Read"]}),
    LookAlike("entra v1", "scp of the wrong type", "token_kind", {"scp": 7}),
    LookAlike("entra v1", "app-only", "machine_token", {"scp": ..., "roles": ["Reader"]}),
    LookAlike("entra v1", "an unknown application's", "other_client", options={"client_ids": ["ios"]}),
    LookAlike("keycloak", "an ID token", "id_token", {"typ": "ID", "aud": "orders"}),
    LookAlike("keycloak", "a refresh token", "refresh_token", {"typ": "Refresh"}),
    LookAlike("keycloak", "an offline token", "refresh_token", {"typ": "Offline"}),
    LookAlike("keycloak", "a logout token", "logout_token", {"typ": "Logout"}),
    LookAlike("keycloak", "an unknown type", "token_kind", {"typ": "Something"}),
    LookAlike("keycloak", "no type", "token_kind", {"typ": ...}),
    LookAlike(
        "keycloak",
        "a service account",
        "machine_token",
        {"preferred_username": "service-account-batch", "sid": ...},
    ),
    LookAlike(
        "keycloak", "without a name and a session", "machine_token", {"preferred_username": ..., "sid": ...}
    ),
    LookAlike("keycloak", "lightweight, without sub", "jwt_subject", {"sub": ..., "preferred_username": ...}),
    LookAlike("keycloak", "a name of the wrong type", "jwt_claims", {"preferred_username": 7}),
    LookAlike("keycloak", "for account only", "jwt_audience", {"aud": "account"}),
    LookAlike("keycloak", "no audience", "jwt_audience", {"aud": ...}),
    LookAlike("keycloak", "another realm's", "jwt_issuer", {"iss": "https://id.example.com/realms/master"}),
    LookAlike("keycloak", "both: another client's", "other_client", options={"authorized_parties": ["ios"]}),
    LookAlike("keycloak azp", "another client's", "other_client", {"azp": "ios"}),
    LookAlike("keycloak azp", "a list of clients", "other_client", {"azp": ["web"]}),
    LookAlike("keycloak azp", "no client's", "other_client", {"azp": ...}),
    LookAlike("cognito", "an ID token", "jwt_audience", {"token_use": "id", "client_id": ..., "aud": "c1"}),
    LookAlike("cognito", "an ID token with client_id", "id_token", {"token_use": "id"}),
    LookAlike("cognito", "no token_use", "token_kind", {"token_use": ...}),
    LookAlike("cognito", "client credentials", "machine_token", {"sub": "c1", "username": ...}),
    LookAlike("cognito", "client credentials with a name", "machine_token", {"sub": "c1"}),
    LookAlike("cognito", "a name of the wrong type", "token_kind", {"username": 7}),
    LookAlike("cognito", "no user name", "machine_token", {"username": ...}),
    LookAlike("cognito", "another client's", "jwt_audience", {"client_id": "c9"}),
    LookAlike("cognito", "another client's, with our aud", "jwt_audience", {"client_id": "c9", "aud": "c1"}),
    LookAlike(
        "cognito",
        "another pool's",
        "jwt_issuer",
        {"iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_XyZ"},
    ),
    LookAlike(
        "cognito id", "an access token", "jwt_audience", {"token_use": "access", "aud": ..., "client_id": "c1"}
    ),
    LookAlike("cognito id", "an access token with aud", "token_kind", {"token_use": "access"}),
    LookAlike("cognito id", "another client's", "jwt_audience", {"aud": "c2"}),
    LookAlike(
        "firebase",
        "a custom token",
        "jwt_audience",
        {"aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"},
    ),
    LookAlike("firebase", "another project's", "jwt_audience", {"aud": "other"}),
    LookAlike(
        "firebase", "another project's issuer", "jwt_issuer", {"iss": "https://securetoken.google.com/other"}
    ),
    LookAlike(
        "firebase", "a session cookie", "jwt_issuer", {"iss": "https://session.firebase.google.com/acme-prod"}
    ),
    LookAlike("firebase cookie", "an ID token", "jwt_issuer", {"iss": "https://securetoken.google.com/acme-prod"}),
    LookAlike("firebase", "a tenant's user", "other_tenant", {"firebase": {"tenant": "t1"}}),
    LookAlike(
        "firebase",
        "another tenant's",
        "other_tenant",
        {"firebase": {"tenant": "t2"}},
        options={"tenant_ids": "t1"},
    ),
    LookAlike("firebase", "no tenant's", "other_tenant", options={"tenant_ids": ["t1"]}),
    LookAlike("firebase", "anonymous", "anonymous_user", {"firebase": {"sign_in_provider": "anonymous"}}),
    LookAlike("firebase", "an endless id", "jwt_subject", {"sub": "u" * 129, "user_id": ...}),
    LookAlike("firebase", "an empty id", "jwt_subject", {"sub": "", "user_id": ...}),
    LookAlike("firebase", "two ids", "jwt_subject", {"user_id": "uid2"}),
    LookAlike("firebase", "no object", "jwt_claims", {"firebase": "password"}),
    LookAlike("clerk", "not signed in yet", "session_pending", {"sts": "pending"}),
    LookAlike("clerk", "another site's", "other_client", {"azp": "https://evil.example"}),
    LookAlike("clerk", "a sub-domain's", "other_client", {"azp": f"{APP}.evil.example"}),
    LookAlike("clerk", "no origin", "other_client", {"azp": ...}),
    LookAlike("clerk", "a template's", "jwt_session", {"sid": ...}),
    LookAlike("clerk", "a machine's", "machine_token", {"sub": "mch_2abc"}),
    LookAlike("clerk", "another instance's", "jwt_issuer", {"iss": "https://other.clerk.accounts.dev"}),
    LookAlike("clerk", "ages of the wrong type", "jwt_claims", {"fva": "3"}),
    LookAlike("clerk", "an OAuth access token", "jwt_type", header={"typ": "at+jwt"}),
    LookAlike(
        "supabase",
        "the anon key",
        "jwt_issuer",
        {"iss": "supabase", "role": "anon", "sub": ..., "session_id": ...},
    ),
    LookAlike("supabase", "an anon key of this issuer", "anonymous_key", {"role": "anon", "sub": ...}),
    LookAlike("supabase", "the service key", "anonymous_key", {"role": "service_role"}),
    LookAlike("supabase", "another role", "token_kind", {"role": "supabase_admin"}),
    LookAlike("supabase", "no session", "jwt_session", {"session_id": ...}),
    LookAlike("supabase", "no user", "jwt_subject", {"sub": ...}),
    LookAlike("supabase", "an anonymous user", "anonymous_user", {"is_anonymous": True}),
    LookAlike("supabase", "anonymous in another type", "anonymous_user", {"is_anonymous": "true"}),
    LookAlike("supabase", "another audience", "jwt_audience", {"aud": "anon"}),
    LookAlike("supabase", "another project's", "jwt_issuer", {"iss": "https://evil.supabase.co/auth/v1"}),
    LookAlike("supabase", "a method without its time", "jwt_claims", {"amr": [{"method": "totp"}]}),
    LookAlike("workos", "an agent's", "agent_token", {"sub_profile": "agent"}),
    LookAlike("workos", "a widget's", "agent_token", {"sub_type": "widget"}),
    LookAlike("workos", "a profile of the wrong type", "agent_token", {"sub_profile": ["user"]}),
    LookAlike("workos", "no session", "jwt_session", {"sid": ...}),
    LookAlike("workos", "a session of the wrong type", "jwt_session", {"sid": 7}),
    LookAlike("workos", "no sign-in", "token_kind", {"auth_time": ...}),
    LookAlike("workos", "a sign-in of the wrong type", "token_kind", {"auth_time": "1"}),
    LookAlike("workos", "another issuer form", "jwt_issuer", {"iss": "https://api.workos.com"}),
]

MACHINES: dict[str, tuple[Payload, str]] = {
    "oidc": ({"sub": "web"}, "web"),
    "auth0": ({"sub": "web@clients"}, "web@clients"),
    "okta": ({"uid": ..., "sub": "0oa1"}, "0oa1"),
    "entra": ({"scp": ..., "oid": "principal-1"}, "principal-1"),
    "entra v1": ({"scp": ..., "roles": ["Reader"], "oid": "principal-1"}, "principal-1"),
    "keycloak": ({"preferred_username": "service-account-batch", "sid": ...}, "0c1d"),
    "cognito": ({"sub": "c1", "username": ...}, "c1"),
    "workos": ({"sub_profile": "agent", "sid": ..., "auth_time": ...}, "user_1"),
}
"""How the token of a program differs from that of a user, and the program's id."""
