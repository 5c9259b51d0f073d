"""The shapes of the access tokens of well-known issuers, and of the tokens that look like them.

A shape is a header and the claims of one user's access token. Each further *kind* of a preset is a few changes to
that: an ID token, a machine's token and so on. Issuers that a vendor fixes are spelled as the vendor does;
the others are addresses of this emulator.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.emulator.records import Json, random_text

DROP: Any = object()
"""In changes to a token: without this claim or header member."""

BASE, JWKS = "{base}", "{jwks}"
"""In an issuer or a setting: the address of this emulator, and that of the key set."""

_ENTRA_TENANT = "7d3f5a10-94e8-4cf0-b1c6-0a4a5e6f7081"
_ENTRA_CLIENT = "0f2b9c54-8a1d-4d3e-9b7a-6c5d4e3f2a10"
_LOGOUT: Json = {"http://schemas.openid.net/event/backchannel-logout": {}}


@dataclass(frozen=True)
class Subject:
    """Whom a token is for, by whom, and when. Times are whole Unix seconds."""

    issuer: str
    audience: str
    client_id: str
    user_id: str
    session_id: str
    email: str
    issued_at: int
    expires_at: int


Changes = Mapping[str, Any]
ClaimsOf = Callable[[Subject], Json]
ChangesOf = Callable[[Subject], Changes]


@dataclass(frozen=True)
class Kind:
    """How a kind of token differs from the user's access token of its preset."""

    claims: ChangesOf = field(default=lambda _: {})
    header: Changes = field(default_factory=dict)
    algorithm: str | None = None


@dataclass(frozen=True)
class Preset:
    """The shape of one issuer's tokens.

    Attributes:
        issuer: The ``iss``, with ``{base}`` for the address of this emulator.
        audience: The identifier of the API, or the project.
        client_id: The client that signed the user in, or the page's origin where that takes its place.
        life: The seconds from ``iat`` to ``exp``.
        claims: The claims of a user's access token.
        header: The header beside ``alg`` and ``kid``.
        algorithm: The usual signature.
        user_id: The claim that identifies the user.
        session_id: The claim that identifies the session; ``None`` where there is none.
        make_user: A user's id from a UUID; the same user gets the same one.
        session_prefix: How the ids of sessions begin.
        jwks_path: Where the vendor has the key set.
        settings: The variables of an app that accepts the tokens, with ``{base}`` as above and ``{jwks}`` for the
            address of the key set.
        kinds: The kinds of token beside ``user`` and those of each preset.
    """

    issuer: str
    audience: str
    client_id: str
    life: int
    claims: ClaimsOf
    header: Changes = field(default_factory=lambda: {"typ": "JWT"})
    algorithm: str = "RS256"
    user_id: str = "sub"
    session_id: str | None = "sid"
    make_user: Callable[[uuid.UUID], str] = str
    session_prefix: str = ""
    jwks_path: str = "/jwks"
    settings: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)


def _times(who: Subject) -> Json:
    return {"iat": who.issued_at, "exp": who.expires_at}


def _auth0(who: Subject) -> Json:
    return {
        "iss": who.issuer,
        "sub": who.user_id,
        "aud": [who.audience, f"{who.issuer}userinfo"],
        **_times(who),
        "azp": who.client_id,
        "scope": "openid profile email",
        "permissions": ["read:orders"],
    }


def _auth0_rfc9068(who: Subject) -> Json:
    claims = _auth0(who)
    claims["client_id"] = claims.pop("azp")
    return {**claims, "jti": random_text(22)}


_AUTH0_ORGANIZATION = {"org_id": "org_demo", "org_name": "demo"}
_AUTH0_KINDS: dict[str, Kind] = {
    "machine": Kind(
        lambda who: {"sub": f"{who.client_id}@clients", "aud": who.audience, "permissions": DROP, "scope": "read"}
    ),
    "id": Kind(
        lambda who: {
            "aud": who.client_id,
            "nonce": "n-0S6_WzA2Mj",
            "sid": who.session_id,
            "email": who.email,
            "azp": DROP,
            "client_id": DROP,
            "scope": DROP,
            "permissions": DROP,
        },
        {"typ": "JWT"},
    ),
    "mfa": Kind(lambda who: {"aud": f"{who.issuer}mfa", "permissions": DROP}),
    "management": Kind(lambda who: {"aud": f"{who.issuer}api/v2/", "permissions": DROP}),
    "organization": Kind(lambda _: _AUTH0_ORGANIZATION),
}


def _okta(who: Subject) -> Json:
    return {
        "ver": 1,
        "jti": f"AT.{random_text(32)}",
        "iss": who.issuer,
        "aud": who.audience,
        **_times(who),
        "cid": who.client_id,
        "uid": who.user_id,
        "scp": ["openid", "profile"],
        "auth_time": who.issued_at,
        "sub": who.email,
        "groups": ["Everyone"],
    }


def _okta_org_issuer(issuer: str) -> str:
    return issuer.partition("/oauth2/")[0]


_OKTA_KINDS: dict[str, Kind] = {
    "machine": Kind(lambda who: {"uid": DROP, "sub": who.client_id, "auth_time": DROP, "groups": DROP}),
    "id": Kind(
        lambda who: {
            "aud": who.client_id,
            "sub": who.user_id,
            "jti": f"ID.{random_text(32)}",
            "amr": ["pwd", "mfa"],
            "nonce": "n-0S6_WzA2Mj",
            "uid": DROP,
            "cid": DROP,
            "scp": DROP,
        }
    ),
    "org": Kind(lambda who: {"iss": _okta_org_issuer(who.issuer), "aud": _okta_org_issuer(who.issuer)}),
}


def _entra(who: Subject) -> Json:
    return {
        "aud": who.audience,
        "iss": who.issuer,
        **_times(who),
        "nbf": who.issued_at,
        "name": "Demo",
        "oid": who.user_id,
        "roles": ["Reader"],
        "scp": "orders.read",
        "sid": who.session_id,
        "sub": hashlib.sha256(f"{who.client_id} {who.user_id}".encode()).hexdigest()[:43],
        "tid": _ENTRA_TENANT,
        "uti": random_text(22),
    }


def _entra_v2(who: Subject) -> Json:
    return {
        **_entra(who),
        "azp": who.client_id,
        "azpacr": "1",
        "preferred_username": who.email,
        "ver": "2.0",
    }


def _entra_v1(who: Subject) -> Json:
    return {
        **_entra(who),
        "acr": "1",
        "amr": ["pwd", "mfa"],
        "appid": who.client_id,
        "appidacr": "1",
        "unique_name": who.email,
        "ver": "1.0",
    }


_ENTRA_APP = {"idtyp": "app", "scp": DROP, "sid": DROP, "name": DROP, "roles": ["Orders.ReadAll"]}
_ENTRA_KINDS: dict[str, Kind] = {
    "machine": Kind(
        lambda who: {
            **_ENTRA_APP,
            "sub": who.user_id,
            "preferred_username": DROP,
            "unique_name": DROP,
            "amr": DROP,
        }
    ),
    "id": Kind(
        lambda who: {
            "aud": who.client_id,
            "nonce": "n-0S6_WzA2Mj",
            "scp": DROP,
            "azp": DROP,
            "azpacr": DROP,
            "appid": DROP,
            "appidacr": DROP,
        }
    ),
    "overage": Kind(
        lambda who: {
            "_claim_names": {"groups": "src1"},
            "_claim_sources": {
                "src1": {
                    "endpoint": f"https://graph.microsoft.com/v1.0/users/{who.user_id}/getMemberObjects",
                },
            },
        }
    ),
    "other-tenant": Kind(
        lambda who: {
            "tid": "00000000-0000-4000-8000-000000000001",
            "iss": who.issuer.replace(_ENTRA_TENANT, "00000000-0000-4000-8000-000000000001"),
        }
    ),
}


def _keycloak(who: Subject) -> Json:
    return {
        **_times(who),
        "auth_time": who.issued_at,
        "jti": str(uuid.uuid4()),
        "iss": who.issuer,
        "aud": [who.audience, "account"],
        "sub": who.user_id,
        "typ": "Bearer",
        "azp": who.client_id,
        "sid": who.session_id,
        "acr": "1",
        "realm_access": {"roles": ["user", "offline_access"]},
        "resource_access": {who.client_id: {"roles": ["editor"]}, "account": {"roles": ["view-profile"]}},
        "scope": "openid email profile",
        "email_verified": True,
        "preferred_username": who.email,
        "email": who.email,
    }


_KEYCLOAK_LOGOUT = dict.fromkeys(("realm_access", "resource_access", "scope", "acr", "azp", "auth_time"), DROP)
_KEYCLOAK_KINDS: dict[str, Kind] = {
    "machine": Kind(
        lambda who: {
            "preferred_username": f"service-account-{who.client_id}",
            "sid": DROP,
            "auth_time": DROP,
            "email": DROP,
            "client_id": who.client_id,
        }
    ),
    "id": Kind(
        lambda who: {
            "typ": "ID",
            "aud": who.client_id,
            "scope": DROP,
            "realm_access": DROP,
            "resource_access": DROP,
        }
    ),
    "refresh": Kind(
        lambda who: {"typ": "Refresh", "aud": who.issuer, "realm_access": DROP, "resource_access": DROP},
        algorithm="HS512",
    ),
    "logout": Kind(
        lambda who: {**_KEYCLOAK_LOGOUT, "typ": "Logout", "aud": who.client_id, "events": _LOGOUT},
        {"typ": "logout+jwt"},
    ),
    "account-audience": Kind(lambda _: {"aud": "account"}),
    "no-audience": Kind(lambda _: {"aud": DROP}),
    "lightweight": Kind(
        lambda _: {
            "sub": DROP,
            "realm_access": DROP,
            "resource_access": DROP,
            "preferred_username": DROP,
            "email": DROP,
            "email_verified": DROP,
        }
    ),
}


def _cognito(who: Subject) -> Json:
    return {
        "sub": who.user_id,
        "cognito:groups": ["admins"],
        "iss": who.issuer,
        "client_id": who.client_id,
        "origin_jti": who.session_id,
        "token_use": "access",
        "scope": "openid profile",
        "auth_time": who.issued_at,
        **_times(who),
        "jti": str(uuid.uuid4()),
        "username": who.email,
    }


_COGNITO_KINDS: dict[str, Kind] = {
    "machine": Kind(
        lambda who: {
            "sub": who.client_id,
            "username": DROP,
            "cognito:groups": DROP,
            "origin_jti": DROP,
            "auth_time": DROP,
        }
    ),
    "id": Kind(
        lambda who: {
            "token_use": "id",
            "aud": who.client_id,
            "cognito:username": who.email,
            "email": who.email,
            "client_id": DROP,
            "username": DROP,
            "scope": DROP,
        }
    ),
    "no-session": Kind(lambda _: {"origin_jti": DROP}),
}


def _firebase(who: Subject) -> Json:
    return {
        "name": "Demo",
        "iss": who.issuer,
        "aud": who.audience,
        "auth_time": who.issued_at,
        "user_id": who.user_id,
        "sub": who.user_id,
        **_times(who),
        "email": who.email,
        "email_verified": True,
        "firebase": {"identities": {"email": [who.email]}, "sign_in_provider": "password"},
    }


_FIREBASE_KINDS: dict[str, Kind] = {
    "anonymous": Kind(
        lambda _: {
            "name": DROP,
            "email": DROP,
            "email_verified": DROP,
            "firebase": {"identities": {}, "sign_in_provider": "anonymous"},
        }
    ),
    "tenant": Kind(
        lambda who: {
            "firebase": {
                "identities": {"email": [who.email]},
                "sign_in_provider": "password",
                "tenant": "tenant-1",
            }
        }
    ),
    "second-factor": Kind(
        lambda who: {
            "firebase": {
                "identities": {"email": [who.email]},
                "sign_in_provider": "password",
                "sign_in_second_factor": "totp",
            }
        }
    ),
    "custom": Kind(
        lambda who: {
            "iss": "firebase-adminsdk@demo-project.iam.gserviceaccount.com",
            "sub": "firebase-adminsdk@demo-project.iam.gserviceaccount.com",
            "aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
            "uid": who.user_id,
            "auth_time": DROP,
            "firebase": DROP,
        }
    ),
    "other-project": Kind(
        lambda who: {"aud": "other-project", "iss": f"{who.issuer.rpartition('/')[0]}/other-project"}
    ),
}


def _clerk(who: Subject) -> Json:
    return {
        "azp": who.client_id,
        **_times(who),
        "nbf": who.issued_at,
        "fva": [0, -1],
        "iss": who.issuer,
        "sid": who.session_id,
        "sub": who.user_id,
    }


def _clerk_v2(who: Subject) -> Json:
    return {**_clerk(who), "v": 2, "sts": "active", "pla": "u:free", "fea": "u:reports"}


_CLERK_KINDS: dict[str, Kind] = {
    "pending": Kind(lambda _: {"sts": "pending"}),
    "impersonated": Kind(
        lambda who: {"act": {"iss": "https://dashboard.clerk.com", "sid": "sess_admin", "sub": "user_admin"}}
    ),
    "no-azp": Kind(lambda _: {"azp": DROP}),
}
_CLERK_ORGANIZATION: dict[str, dict[str, Kind]] = {
    "v1": {
        "organization": Kind(
            lambda _: {
                "org_id": "org_demo",
                "org_slug": "demo",
                "org_role": "org:admin",
                "org_permissions": ["org:reports:read"],
            }
        )
    },
    "v2": {
        "organization": Kind(
            lambda _: {
                "o": {"id": "org_demo", "slg": "demo", "rol": "admin", "per": "read,manage", "fpm": "3"},
                "fea": "o:reports",
                "pla": "o:free",
            }
        )
    },
}


def _supabase(who: Subject) -> Json:
    return {
        "iss": who.issuer,
        "sub": who.user_id,
        "aud": who.audience,
        **_times(who),
        "email": who.email,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"email": who.email},
        "role": "authenticated",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": who.issued_at}],
        "session_id": who.session_id,
        "is_anonymous": False,
    }


def _supabase_api_key(role: str) -> Kind:
    def changes(who: Subject) -> Changes:
        kept = {"iss": "supabase", "ref": "demo", "role": role}
        return {**{name: DROP for name in _supabase(who) if name not in ("iat", "exp")}, **kept}

    return Kind(changes)


_SUPABASE_KINDS: dict[str, Kind] = {
    "anon-key": _supabase_api_key("anon"),
    "service-key": _supabase_api_key("service_role"),
    "machine": _supabase_api_key("service_role"),
    "anonymous": Kind(lambda _: {"is_anonymous": True, "email": "", "amr": []}),
    "second-factor": Kind(
        lambda who: {
            "aal": "aal2",
            "amr": [
                {"method": "totp", "timestamp": who.issued_at},
                {"method": "password", "timestamp": who.issued_at},
            ],
        }
    ),
    "legacy": Kind(algorithm="HS256", header={"kid": DROP}),
}


def _workos(who: Subject) -> Json:
    return {
        "iss": who.issuer,
        "sub": who.user_id,
        "sid": who.session_id,
        "jti": random_text(26),
        **_times(who),
        "auth_time": who.issued_at,
        "org_id": "org_demo",
        "role": "member",
        "roles": ["member"],
        "permissions": ["orders:read"],
        "entitlements": ["audit-logs"],
        "feature_flags": ["new-menu"],
    }


_WORKOS_KINDS: dict[str, Kind] = {
    "agent": Kind(lambda _: {"sub_profile": "agent"}),
    "widget": Kind(lambda _: {"sub_type": "widget"}),
    "machine": Kind(lambda who: {"sub": who.client_id, "sid": DROP, "auth_time": DROP}),
    "no-sign-in": Kind(lambda _: {"auth_time": DROP}),
    "impersonated": Kind(lambda _: {"act": {"sub": "admin@workos.example"}}),
}


def _generic(who: Subject) -> Json:
    return {
        "iss": who.issuer,
        "sub": who.user_id,
        "aud": who.audience,
        **_times(who),
        "jti": str(uuid.uuid4()),
        "client_id": who.client_id,
        "scope": "openid email orders.read",
        "sid": who.session_id,
        "auth_time": who.issued_at,
        "acr": "1",
        "amr": ["pwd"],
    }


_GENERIC_KINDS: dict[str, Kind] = {
    "machine": Kind(
        lambda who: {
            "sub": who.client_id,
            "sid": DROP,
            "auth_time": DROP,
            "acr": DROP,
            "amr": DROP,
            "scope": "read",
        }
    ),
    "id": Kind(
        lambda who: {
            "aud": who.client_id,
            "nonce": "n-0S6_WzA2Mj",
            "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
            "email": who.email,
            "client_id": DROP,
            "scope": DROP,
        },
        {"typ": "JWT"},
    ),
    "refresh": Kind(lambda who: {"aud": who.issuer, "typ": "Refresh"}, algorithm="HS512"),
    "second-factor": Kind(lambda _: {"acr": "2", "amr": ["pwd", "otp", "mfa"]}),
}

COMMON_KINDS: dict[str, Kind] = {
    "user": Kind(),
    "dpop": Kind(lambda _: {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
    "mtls": Kind(lambda _: {"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}),
    "delegated": Kind(lambda _: {"act": {"sub": "support@example.com", "act": {"sub": "earlier@example.com"}}}),
    "logout": Kind(
        lambda who: {
            "aud": who.client_id,
            "jti": str(uuid.uuid4()),
            "sid": who.session_id,
            "events": _LOGOUT,
            "scope": DROP,
            "scp": DROP,
        },
        {"typ": "logout+jwt"},
    ),
    "encrypted": Kind(),
}
"""The kinds that each preset has, unless it has its own of that name."""


def _prefixed(prefix: str) -> Callable[[uuid.UUID], str]:
    return lambda seed: f"{prefix}{seed.hex[:26]}"


_AUTH0: dict[str, Any] = {
    "issuer": "https://demo.eu.auth0.com/",
    "audience": "https://api.example.com",
    "client_id": "AaiyAPdpYdesoKnqjj8HJqRn4T5titww",
    "life": 86_400,
    "session_id": None,
    "make_user": _prefixed("auth0|"),
    "jwks_path": "/.well-known/jwks.json",
    "settings": {
        "MOONKEY_PROVIDER": "auth0",
        "MOONKEY_AUTH0_DOMAIN": "demo.eu.auth0.com",
        "MOONKEY_AUTH0_AUDIENCE": "https://api.example.com",
        "MOONKEY_AUTH0_JWKS_URL": JWKS,
    },
    "kinds": _AUTH0_KINDS,
}
_FIREBASE_SETTINGS = {
    "MOONKEY_PROVIDER": "firebase",
    "MOONKEY_FIREBASE_PROJECT_ID": "demo-project",
    "MOONKEY_FIREBASE_JWKS_URL": JWKS,
}
_FIREBASE: dict[str, Any] = {
    "audience": "demo-project",
    "client_id": "",
    "claims": _firebase,
    "session_id": None,
    "make_user": lambda seed: seed.hex[:28],
    "kinds": _FIREBASE_KINDS,
}
_GENERIC: dict[str, Any] = {
    "issuer": BASE,
    "audience": "https://api.example.com",
    "client_id": "demo-client",
    "life": 3_600,
    "claims": _generic,
    "settings": {
        "MOONKEY_PROVIDER": "oidc",
        "MOONKEY_OIDC_ISSUER": BASE,
        "MOONKEY_OIDC_AUDIENCE": "https://api.example.com",
    },
    "kinds": _GENERIC_KINDS,
}
_CLERK: dict[str, Any] = {
    "issuer": f"{BASE}/clerk",
    "audience": "",
    "client_id": "https://app.example.com",
    "life": 60,
    "make_user": _prefixed("user_"),
    "session_prefix": "sess_",
    "jwks_path": "/clerk/.well-known/jwks.json",
    "settings": {
        "MOONKEY_PROVIDER": "clerk",
        "MOONKEY_CLERK_ISSUER": f"{BASE}/clerk",
        "MOONKEY_CLERK_AUTHORIZED_PARTIES": "https://app.example.com",
    },
}
_ENTRA: dict[str, Any] = {
    "client_id": "5a1c7e33-2b4d-4f6a-8c9e-1d2f3a4b5c6d",
    "life": 4_500,
    "user_id": "oid",
    "kinds": _ENTRA_KINDS,
}


def _entra_settings(audience: str) -> dict[str, str]:
    return {
        "MOONKEY_PROVIDER": "entra",
        "MOONKEY_ENTRA_TENANT_ID": _ENTRA_TENANT,
        "MOONKEY_ENTRA_AUDIENCE": audience,
        "MOONKEY_ENTRA_JWKS_URL": JWKS,
    }


PRESETS: dict[str, Preset] = {
    "generic": Preset(**_GENERIC),
    "generic-rfc9068": Preset(**_GENERIC, header={"typ": "at+jwt"}),
    "auth0": Preset(**_AUTH0, claims=_auth0),
    "auth0-rfc9068": Preset(**_AUTH0, claims=_auth0_rfc9068, header={"typ": "at+jwt"}),
    "okta": Preset(
        issuer=f"{BASE}/oauth2/default",
        audience="api://default",
        client_id="0oa1demo2client3",
        life=3_600,
        claims=_okta,
        header={},
        user_id="uid",
        session_id=None,
        make_user=_prefixed("00u"),
        jwks_path="/oauth2/default/v1/keys",
        settings={
            "MOONKEY_PROVIDER": "okta",
            "MOONKEY_OKTA_ISSUER": f"{BASE}/oauth2/default",
            "MOONKEY_OKTA_AUDIENCE": "api://default",
        },
        kinds=_OKTA_KINDS,
    ),
    "entra-v1": Preset(
        **_ENTRA,
        issuer=f"https://sts.windows.net/{_ENTRA_TENANT}/",
        audience=f"api://{_ENTRA_CLIENT}",
        claims=_entra_v1,
        jwks_path="/common/discovery/keys",
        settings=_entra_settings(f"api://{_ENTRA_CLIENT}"),
    ),
    "entra-v2": Preset(
        **_ENTRA,
        issuer=f"https://login.microsoftonline.com/{_ENTRA_TENANT}/v2.0",
        audience=_ENTRA_CLIENT,
        claims=_entra_v2,
        jwks_path="/common/discovery/v2.0/keys",
        settings=_entra_settings(_ENTRA_CLIENT),
    ),
    "keycloak": Preset(
        issuer=f"{BASE}/realms/demo",
        audience="orders-api",
        client_id="orders-web",
        life=300,
        claims=_keycloak,
        jwks_path="/realms/demo/protocol/openid-connect/certs",
        settings={
            "MOONKEY_PROVIDER": "keycloak",
            "MOONKEY_KEYCLOAK_URL": BASE,
            "MOONKEY_KEYCLOAK_REALM": "demo",
            "MOONKEY_KEYCLOAK_AUDIENCE": "orders-api",
        },
        kinds=_KEYCLOAK_KINDS,
    ),
    "cognito": Preset(
        issuer="https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_DEMOpool1",
        audience="",
        client_id="7demo1client2id3demo4clien",
        life=3_600,
        claims=_cognito,
        header={},
        session_id="origin_jti",
        jwks_path="/.well-known/jwks.json",
        settings={
            "MOONKEY_PROVIDER": "cognito",
            "MOONKEY_COGNITO_POOL_ID": "eu-west-1_DEMOpool1",
            "MOONKEY_COGNITO_CLIENT_IDS": "7demo1client2id3demo4clien",
            "MOONKEY_COGNITO_JWKS_URL": JWKS,
        },
        kinds=_COGNITO_KINDS,
    ),
    "firebase": Preset(
        **_FIREBASE,
        issuer="https://securetoken.google.com/demo-project",
        life=3_600,
        jwks_path="/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        settings=_FIREBASE_SETTINGS,
    ),
    "firebase-session-cookie": Preset(
        **_FIREBASE,
        issuer="https://session.firebase.google.com/demo-project",
        life=432_000,
        jwks_path="/v1/sessionCookiePublicKeys",
        settings={**_FIREBASE_SETTINGS, "MOONKEY_FIREBASE_SESSION_COOKIES": "true"},
    ),
    "clerk-v1": Preset(**_CLERK, claims=_clerk, kinds={**_CLERK_KINDS, **_CLERK_ORGANIZATION["v1"]}),
    "clerk-v2": Preset(**_CLERK, claims=_clerk_v2, kinds={**_CLERK_KINDS, **_CLERK_ORGANIZATION["v2"]}),
    "supabase": Preset(
        issuer=f"{BASE}/auth/v1",
        audience="authenticated",
        client_id="",
        life=3_600,
        claims=_supabase,
        algorithm="ES256",
        session_id="session_id",
        jwks_path="/auth/v1/.well-known/jwks.json",
        settings={"MOONKEY_PROVIDER": "supabase", "MOONKEY_SUPABASE_URL": BASE},
        kinds=_SUPABASE_KINDS,
    ),
    "workos": Preset(
        issuer="https://api.workos.com/user_management/client_01DEMO",
        audience="",
        client_id="client_01DEMO",
        life=300,
        claims=_workos,
        make_user=_prefixed("user_"),
        session_prefix="session_",
        jwks_path="/sso/jwks/client_01DEMO",
        settings={
            "MOONKEY_PROVIDER": "workos",
            "MOONKEY_WORKOS_CLIENT_ID": "client_01DEMO",
            "MOONKEY_WORKOS_ISSUERS": "https://api.workos.com/user_management/client_01DEMO",
            "MOONKEY_WORKOS_JWKS_URL": JWKS,
        },
        kinds=_WORKOS_KINDS,
    ),
}
"""The presets by name. All of them are signed by keys of one key set."""


def preset_named(name: str) -> Preset:
    """Return a preset.

    Raises:
        ValueError: There is none of this name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}")
    return PRESETS[name]


def kind_of(preset: Preset, name: str) -> Kind:
    """Return a kind of token of a preset.

    Raises:
        ValueError: The preset has none of this name.
    """
    kinds = {**COMMON_KINDS, **preset.kinds}
    if name not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}")
    return kinds[name]


def changed(members: Changes, *changes: Changes) -> Json:
    """Return a header or claims with changes; a value of ``DROP`` leaves a member out."""
    merged: Json = dict(members)
    for one in changes:
        merged.update(one)
    return {name: value for name, value in merged.items() if value is not DROP}
