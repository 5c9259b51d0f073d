"""The identity providers that many teams have, each as one function: OIDC with that provider's rules as data.

What is required and refused here follows the providers' own documentation. What differs by environment is an
argument. ``docs/providers.md`` says for each where its values are found, and what is refused and why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from moonkey_core._provider import LONGEST_LIFE, KeySource
from moonkey_core.errors import ConfigurationError
from moonkey_core.providers.oidc.arguments import (
    addresses,
    host_name,
    origin,
    own_address,
    path,
    paths,
    text,
    words,
)
from moonkey_core.providers.oidc.clerk import clerk_grants
from moonkey_core.providers.oidc.provider import (
    ACCESS_TOKEN_TYPES,
    ALGORITHMS,
    PLAIN_TYPES,
    IntrospectsTokens,
    OidcProvider,
    TokenUse,
    jwt_rules,
    key_source,
)
from moonkey_core.providers.oidc.rules import (
    ACCESS_TOKEN,
    ID_TOKEN,
    ID_TOKEN_MARKS,
    TENANT_ID,
    ClaimRules,
    allow,
    differs,
    forbid,
    has,
    lacks,
    one_of,
    require,
)
from moonkey_core.settings.arguments import suggests_arguments

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POOL = re.compile(r"([a-z]{2}(?:-[a-z]+)+-\d)_[0-9A-Za-z]+")
_REALM = re.compile(r"[^/?#%\\:]+")
_PROJECT = re.compile(r"[a-z0-9:.-]+")
_COOKIE_LIFE = 14 * 86_400.0  # the most that Firebase gives a session cookie


@suggests_arguments
def Auth0(
    domain: str,
    audience: str | Sequence[str],
    *,
    client_ids: str | Sequence[str] = (),
    allow_machines: bool = False,
    roles_claim: str | Sequence[str] = (),
    session_claim: str | Sequence[str] = "sid",
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "auth0",
) -> OidcProvider:
    """Return a provider for the access tokens of an Auth0 API.

    Args:
        domain: The domain that tokens are requested from, the tenant's or a custom one: ``acme.eu.auth0.com``.
        audience: The identifier of the API.
        client_ids: The applications whose tokens are accepted (``azp``); by default those of each.
        allow_machines: Whether client-credentials tokens are accepted, as a principal without a session.
        roles_claim: The claim with the roles, if an Action adds one: ``https://acme.example/roles``.
        session_claim: The claim with the session's id, if an Action adds one.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    host = host_name("domain", domain, "acme.eu.auth0.com")
    issuer, audiences = f"https://{host}/", words("audience", audience)
    if any(one in (f"{issuer}userinfo", f"{issuer}api/v2/", f"{issuer}mfa/", f"{issuer}mfa") for one in audiences):
        raise ConfigurationError(
            "audience is an API of Auth0 itself, whose tokens are not for this app. Register an API of your own "
            "in Auth0, and request tokens for its identifier."
        )
    return _provider(
        name,
        ClaimRules(
            machine_when=((has(("sub",), suffix="@clients"),),),
            allow_machines=allow_machines,
            session_id=(path("session_claim", session_claim),),
            clients=frozenset(words("client_ids", client_ids, can_be_empty=True)),
            client=(("azp",), ("client_id",)),
            scopes=(("scope",),),
            roles=paths("roles_claim", roles_claim),
            organization=(("org_id",),),
        ),
        issuers=(issuer,),
        algorithms=("RS256", "PS256"),
        audience=audiences,
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{issuer}.well-known/jwks.json",
        leeway=leeway,
        longest_life=longest_life,
    )


@suggests_arguments
def Okta(
    issuer: str,
    audience: str | Sequence[str],
    *,
    client_ids: str | Sequence[str] = (),
    allow_machines: bool = False,
    roles_claim: str | Sequence[str] = "groups",
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    introspection: IntrospectsTokens | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "okta",
) -> OidcProvider:
    """Return a provider for the access tokens of a custom authorization server of Okta.

    Args:
        issuer: The authorization server: ``https://acme.okta.com/oauth2/default``.
        audience: The audience of that server: ``api://default``.
        client_ids: The applications whose tokens are accepted (``cid``); by default those of each.
        allow_machines: Whether client-credentials tokens are accepted, as a principal without a session.
        roles_claim: The claim with the roles.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        introspection: The endpoint that is asked about opaque tokens, and about JWTs that have to be fresh.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong, or the issuer is the org server, whose tokens are for Okta only.
    """
    found = own_address("issuer", issuer)
    if not re.fullmatch(r"/oauth2/[^/]+", urlsplit(found).path):
        raise ConfigurationError(
            "issuer must be a custom authorization server, such as https://acme.okta.com/oauth2/default. The "
            "access tokens of the org server (without /oauth2/…) are for Okta's own API, and must not be verified "
            "by others: use Introspection for them."
        )
    return _provider(
        name,
        ClaimRules(
            machine_when=((lacks(("uid",)),),),
            machine_rules=(require(("cid",), "token_kind", kind="text", remedy="It is no access token of Okta."),),
            allow_machines=allow_machines,
            user_id=(("uid",),),
            machine_id=(("cid",),),
            clients=frozenset(words("client_ids", client_ids, can_be_empty=True)),
            client=(("cid",),),
            scopes=(("scp",),),
            roles=paths("roles_claim", roles_claim),
            permissions=(),
        ),
        issuers=(found,),
        algorithms=("RS256",),
        audience=words("audience", audience),
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{found}/v1/keys",
        leeway=leeway,
        longest_life=longest_life,
        introspection=introspection,
    )


@suggests_arguments
def EntraID(
    tenant_id: str | Sequence[str],
    audience: str | Sequence[str],
    *,
    client_ids: str | Sequence[str] = (),
    allow_machines: bool = False,
    allow_overage: bool = False,
    roles_claim: str | Sequence[str] = "roles",
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "entra",
) -> OidcProvider:
    """Return a provider for the access tokens of Microsoft Entra ID, in both of their versions.

    Args:
        tenant_id: The directory (tenant) id, a GUID; or several. There is no "any tenant": list those that may use
            the app.
        audience: What ``aud`` is: the application (client) id of the API, its App ID URI (``api://…``), or both.
        client_ids: The applications whose tokens are accepted (``azp`` or ``appid``); by default those of each.
        allow_machines: Whether app-only tokens are accepted, as a principal without a session. They need an app
            role.
        allow_overage: Whether a token is accepted that has left out groups because they were too many. What is in
            them is then not known.
        roles_claim: The claim with the roles.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    tenants = tuple(dict.fromkeys(one.lower() for one in words("tenant_id", tenant_id)))
    if not all(_GUID.fullmatch(one) for one in tenants):
        raise ConfigurationError(
            "tenant_id must be the directory id of a tenant, a GUID, or a list of them. With common, "
            "organizations or consumers, each tenant in the world could sign its users in."
        )
    host, old_host = "https://login.microsoftonline.com", "https://sts.windows.net"
    forms = (f"{host}/{TENANT_ID}/v2.0", f"{old_host}/{TENANT_ID}/")
    no_scope = lacks(("scp",))
    keys_of = tenants[0] if len(tenants) == 1 else "common"
    return _provider(
        name,
        ClaimRules(
            user_rules=(
                require(
                    ("scp",),
                    "token_kind",
                    kind="text",
                    remedy="Only the access token of a user has it: this is an ID token, or that of an "
                    "application without an app role.",
                ),
            ),
            machine_when=(
                (has(("idtyp",), values=one_of(("app",))),),
                (no_scope, has(("roles",)), has(("azp",), kind="text")),
                (no_scope, has(("roles",)), has(("appid",), kind="text")),
            ),
            machine_rules=(
                require(("roles",), "token_kind", remedy="Each application can get a token without an app role."),
            ),
            allow_machines=allow_machines,
            user_id=(("oid",),),
            machine_id=(("oid",),),
            token_id=(("jti",), ("uti",)),
            clients=frozenset(words("client_ids", client_ids, can_be_empty=True)),
            client=(("azp",), ("appid",)),
            tenants=frozenset(tenants),
            tenant_issuers=forms,
            refuses_overage=not allow_overage,
            scopes=(("scp",),),
            roles=paths("roles_claim", roles_claim),
            permissions=(),
            organization=(("tid",),),
            acr=(("acr",), ("acrs",)),
            has_verified_email=False,
            scope_of=tuple(
                (form.replace(TENANT_ID, one), forms[0].replace(TENANT_ID, one))
                for one in tenants
                for form in forms
            ),
        ),
        issuers=tuple(form.replace(TENANT_ID, one) for one in tenants for form in forms),
        algorithms=("RS256",),
        types=PLAIN_TYPES,
        audience=words("audience", audience),
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{host}/{keys_of}/discovery/v2.0/keys",
        leeway=leeway,
        longest_life=longest_life,
    )


@suggests_arguments
def Keycloak(
    url: str,
    realm: str,
    *,
    audience: str | Sequence[str] = (),
    authorized_parties: str | Sequence[str] = (),
    allow_machines: bool = False,
    algorithms: Sequence[str] = ALGORITHMS,
    role_clients: str | Sequence[str] = (),
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    introspection: IntrospectsTokens | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "keycloak",
) -> OidcProvider:
    """Return a provider for the access tokens of a realm of Keycloak. Give an audience, or authorized parties.

    Args:
        url: The address of Keycloak as browsers see it: ``https://id.example.com``, in old versions with
            ``/auth``.
        realm: The name of the realm.
        audience: What ``aud`` contains, by an audience mapper: the client id of this API.
        authorized_parties: The clients whose tokens are accepted (``azp``).
        allow_machines: Whether the tokens of service accounts are accepted, as a principal without a session.
        algorithms: The signature algorithms that are accepted.
        role_clients: The clients whose client roles count beside those of the realm; by default the audience.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        introspection: The endpoint that is asked about opaque tokens, and about JWTs that have to be fresh.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong, or each client's tokens would be accepted.
    """
    audiences = words("audience", audience, can_be_empty=True)
    parties = words("authorized_parties", authorized_parties, can_be_empty=True)
    if not audiences and not parties:
        raise ConfigurationError(
            "Give audience (with an audience mapper in Keycloak) or authorized_parties (client ids): without "
            "either, a token that any client of the realm got for any purpose would be accepted."
        )
    if "account" in audiences:
        raise ConfigurationError(
            "audience must not be 'account': the tokens of all clients have it. Add an audience mapper for this "
            "API, or give authorized_parties."
        )
    root = own_address("url", url, with_slash=True)
    if "/realms" in root:
        raise ConfigurationError(
            f"url ends before /realms/. Write url={root.partition('/realms')[0]!r}, and realm=…."
        )
    if not _REALM.fullmatch(text("realm", realm)):
        raise ConfigurationError("realm must be the name of the realm alone, such as realm='acme'.")
    issuer = f"{root}/realms/{realm}"
    counted = words("role_clients", role_clients, can_be_empty=True) or audiences
    return _provider(
        name,
        ClaimRules(
            rules=(
                *ACCESS_TOKEN,
                require(("typ",), "token_kind", values=one_of(("Bearer",)), remedy="It is no access token."),
            ),
            user_rules=(
                require(
                    ("sub",),
                    "jwt_subject",
                    kind="text",
                    remedy="Give the client the scope 'basic', and do not use lightweight access tokens.",
                ),
                allow(("preferred_username",), kind="text"),
            ),
            machine_when=(
                (has(("preferred_username",), prefix="service-account-"),),
                (lacks(("preferred_username",)), lacks(("sid",))),  # nothing says that it is a user's
            ),
            allow_machines=allow_machines,
            machine_id=(("sub",), ("azp",)),
            clients=frozenset(parties),
            client=(("azp",),),
            scopes=(("scope",),),
            roles=(("realm_access", "roles"), *(("resource_access", one, "roles") for one in counted)),
            permissions=(),
            organization=(("organization",),),
        ),
        issuers=(issuer,),
        algorithms=algorithms,
        audience=audiences,
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{issuer}/protocol/openid-connect/certs",
        leeway=leeway,
        longest_life=longest_life,
        introspection=introspection,
    )


@suggests_arguments
def Cognito(
    pool_id: str,
    client_ids: str | Sequence[str],
    *,
    token_use: TokenUse = "access",
    allow_machines: bool = False,
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "cognito",
) -> OidcProvider:
    """Return a provider for the tokens of a user pool of Amazon Cognito.

    Args:
        pool_id: The id of the pool, which begins with its region: ``eu-central-1_AbCdEfGhI``.
        client_ids: The app clients whose tokens are accepted: ``client_id`` of access tokens, ``aud`` of ID
            tokens.
        token_use: Which tokens are accepted: ``access``, or ``id`` for an app that sends ID tokens.
        allow_machines: Whether client-credentials tokens are accepted, as a principal without a session.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    if token_use not in ("access", "id"):
        raise ConfigurationError("token_use must be 'access' or 'id'.")
    if token_use == "id" and allow_machines:
        raise ConfigurationError("allow_machines is about access tokens: programs get no ID tokens.")
    pool = _POOL.fullmatch(text("pool_id", pool_id))
    if pool is None:
        raise ConfigurationError("pool_id must be the id of a user pool, such as eu-central-1_AbCdEfGhI.")
    top = "amazonaws.com.cn" if pool[1].startswith("cn-") else "amazonaws.com"
    issuer = f"https://cognito-idp.{pool[1]}.{top}/{pool_id}"
    is_id = token_use == "id"
    kind = require(("token_use",), "token_kind", values=one_of((token_use,)))
    return _provider(
        name,
        ClaimRules(
            rules=(*(ID_TOKEN if is_id else ACCESS_TOKEN), kind),
            user_rules=() if is_id else (require(("username",), "token_kind", kind="text"),),
            machine_when=() if is_id else ((lacks(("username",)),), (has(("sub",), same_as=(("client_id",),)),)),
            allow_machines=allow_machines,
            session_id=(("origin_jti",),),
            client=(("client_id",),),
            scopes=(("scope",),),
            roles=(("cognito:groups",),),
            permissions=(),
        ),
        issuers=(issuer,),
        algorithms=("RS256",),
        types=PLAIN_TYPES,
        audience=words("client_ids", client_ids),
        audience_claim="aud" if is_id else "client_id",
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{issuer}/.well-known/jwks.json",
        leeway=leeway,
        longest_life=longest_life,
    )


@suggests_arguments
def Firebase(
    project_id: str,
    session_cookies: bool = False,
    *,
    tenant_ids: str | Sequence[str] = (),
    allow_anonymous: bool = False,
    roles_claim: str | Sequence[str] = (),
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float | None = None,
    name: str = "firebase",
) -> OidcProvider:
    """Return a provider for the ID tokens of a Firebase project, which are what its apps send; or session cookies.

    Both are signed by keys that all projects share: the project's id tells them apart. For both kinds, configure
    two providers.

    Args:
        project_id: The id of the project.
        session_cookies: Whether session cookies are accepted, in the place of ID tokens.
        tenant_ids: The tenants whose users are accepted (Identity Platform); by default users without a tenant.
        allow_anonymous: Whether anonymous users are accepted, who have proved nothing.
        roles_claim: The custom claim with the roles.
        jwks_url: Another address of the key set.
        keys: A fixed key set, or public keys in PEM by ``kid``.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds; by default a day, for session
            cookies 14 days.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    project = text("project_id", project_id)
    if not _PROJECT.fullmatch(project):
        raise ConfigurationError("project_id must be the id of the project, such as acme-prod: not its name.")
    usual_issuer = f"https://securetoken.google.com/{project}"
    issuer = f"https://session.firebase.google.com/{project}" if session_cookies else usual_issuer
    tenants = words("tenant_ids", tenant_ids, can_be_empty=True)
    tenant = ("firebase", "tenant")
    anonymous = forbid(("firebase", "sign_in_provider"), "anonymous_user", values=one_of(("anonymous",)))
    return _provider(
        name,
        ClaimRules(
            rules=ID_TOKEN,
            user_rules=(
                allow(("user_id",), "jwt_subject", same_as=(("sub",),)),
                allow(("firebase",), kind="object"),
                require(tenant, "other_tenant", values=one_of(tenants))
                if tenants
                else forbid(tenant, "other_tenant", remedy="To accept users of tenants: tenant_ids=[…]."),
                *(() if allow_anonymous else (anonymous,)),
            ),
            user_id_length=128,
            session_id=(),
            session_parts=(("sub",), ("auth_time",)),
            scopes=(),
            roles=paths("roles_claim", roles_claim),
            permissions=(),
            organization=(tenant,),
            methods=(("firebase", "sign_in_provider"), ("firebase", "sign_in_second_factor")),
            not_proven=one_of(("anonymous",)),
            scope_of=((issuer, usual_issuer),),
        ),
        issuers=(issuer,),
        algorithms=("RS256",),
        types=PLAIN_TYPES,
        audience=(project,),
        keys=keys,
        jwks_url=jwks_url,
        usual_url="https://identitytoolkit.googleapis.com/v1/sessionCookiePublicKeys"
        if session_cookies
        else "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        leeway=leeway,
        longest_life=(_COOKIE_LIFE if session_cookies else LONGEST_LIFE) if longest_life is None else longest_life,
    )


@suggests_arguments
def Clerk(
    issuer: str,
    authorized_parties: str | Sequence[str],
    *,
    allow_missing_azp: bool = False,
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "clerk",
) -> OidcProvider:
    """Return a provider for the session tokens of a Clerk instance.

    Args:
        issuer: The Frontend API URL: ``https://clerk.example.com`` or ``https://<slug>.clerk.accounts.dev``.
        authorized_parties: The origins of the pages that may use the app (``azp``): ``https://app.example.com``.
        allow_missing_azp: Whether a token without ``azp`` is accepted. Tokens of requests without an origin, such
            as those of native apps, have none.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key (the "JWKS public key" in PEM).
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    found = own_address("issuer", issuer)
    parties = tuple(origin("authorized_parties", one) for one in words("authorized_parties", authorized_parties))
    return _provider(
        name,
        ClaimRules(
            rules=(
                *ACCESS_TOKEN,
                *ID_TOKEN_MARKS,
                allow(
                    ("sts",),
                    "session_pending",
                    values=one_of(("active",)),
                    remedy="The user has not finished signing in.",
                ),
            ),
            user_rules=(
                require(("sub",), "machine_token", prefix="user_", remedy="It is the token of a program."),
                require(
                    ("sid",),
                    "jwt_session",
                    kind="text",
                    remedy="It is no session token: those of JWT templates and machines have none.",
                ),
            ),
            clients=frozenset(parties),
            client=(("azp",),),
            client_is_optional=allow_missing_azp,
            scopes=(),
            grants=clerk_grants,
            factor_ages=("fva",),
        ),
        issuers=(found,),
        algorithms=("RS256",),
        types=PLAIN_TYPES,
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{found.rstrip('/')}/.well-known/jwks.json",
        leeway=leeway,
        longest_life=longest_life,
    )


@suggests_arguments
def Supabase(
    url: str,
    *,
    allow_anonymous: bool = False,
    roles_claim: str | Sequence[str] = "role",
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "supabase",
) -> OidcProvider:
    """Return a provider for the access tokens of users of a Supabase project.

    The project needs asymmetric signing keys. A legacy secret (HS256) would let each service that can verify a
    token make one, and is refused.

    Args:
        url: The address of the project: ``https://<ref>.supabase.co``.
        allow_anonymous: Whether anonymous users are accepted, who have proved nothing.
        roles_claim: The claim with the roles, such as ``("app_metadata", "roles")``. Never ``user_metadata``,
            which users can change.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    root = own_address("url", url, with_slash=True).removesuffix("/auth/v1")
    parts = urlsplit(root)
    if parts.hostname in ("supabase.com", "www.supabase.com", "app.supabase.com"):
        raise ConfigurationError(
            "url is that of the dashboard. Write that of the project: https://<ref>.supabase.co."
        )
    if parts.path and str(parts.hostname).endswith(".supabase.co"):
        raise ConfigurationError(
            f"url must be that of the project, without a path: write 'https://{parts.hostname}'."
        )
    issuer = f"{root}/auth/v1"
    anonymous = forbid(("is_anonymous",), "anonymous_user", is_true=True)
    return _provider(
        name,
        ClaimRules(
            rules=(
                *ACCESS_TOKEN,
                *ID_TOKEN_MARKS,
                forbid(
                    ("role",),
                    "anonymous_key",
                    values=one_of(("anon", "service_role")),
                    remedy="It is a key of the project, not the token of a user.",
                ),
                require(("role",), "token_kind", values=one_of(("authenticated",))),
            ),
            user_rules=(
                require(("session_id",), "jwt_session", kind="text"),
                *(() if allow_anonymous else (anonymous,)),
            ),
            session_id=(("session_id",),),
            scopes=(),
            roles=paths("roles_claim", roles_claim),
            permissions=(),
            acr=(("aal",),),
            not_proven=one_of(("anonymous", "token_refresh")),
        ),
        issuers=(issuer,),
        algorithms=("ES256", "RS256"),
        types=PLAIN_TYPES,
        audience=("authenticated",),
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"{issuer}/.well-known/jwks.json",
        leeway=leeway,
        longest_life=longest_life,
    )


@suggests_arguments
def WorkOS(
    client_id: str,
    issuers: str | Sequence[str],
    *,
    allow_machines: bool = False,
    jwks_url: str | None = None,
    keys: Mapping[str, object] | str | None = None,
    leeway: float | None = None,
    longest_life: float = LONGEST_LIFE,
    name: str = "workos",
) -> OidcProvider:
    """Return a provider for the session access tokens of WorkOS AuthKit.

    Args:
        client_id: The client id of the environment, ``client_…``. The key set is its own: that keeps out the
            tokens of other customers.
        issuers: The exact ``iss`` of its tokens; several while it changes. It differs by environment: look into a
            token.
        allow_machines: Whether the tokens of agents and widgets are accepted, as a principal without a session.
        jwks_url: Another address of the key set.
        keys: A fixed key set or public key.
        leeway: The clock difference that is allowed, in seconds; by default the client's setting.
        longest_life: The longest life of a token that is accepted, in seconds.
        name: The name of the provider in events, metrics and errors.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    client = text("client_id", client_id)
    if not re.fullmatch(r"[0-9A-Za-z_-]+", client):
        raise ConfigurationError("client_id must be the client id of the environment, such as client_01ABC….")
    found = addresses("issuers", issuers)
    return _provider(
        name,
        ClaimRules(
            user_rules=(
                require(("sid",), "jwt_session", kind="text"),
                require(("auth_time",), "token_kind", kind="number", remedy="Session tokens of users have it."),
            ),
            machine_when=(
                (differs(("sub_profile",), values=one_of(("user",))),),
                (has(("sub_type",)),),
            ),
            machine_reason="agent_token",
            allow_machines=allow_machines,
            scopes=(("scope",),),
            roles=(("role",), ("roles",)),
            organization=(("org_id",),),
            scope_of=tuple((one, f"https://api.workos.com/user_management/{client}") for one in found),
        ),
        issuers=found,
        algorithms=("RS256",),
        types=PLAIN_TYPES,
        keys=keys,
        jwks_url=jwks_url,
        usual_url=f"https://api.workos.com/sso/jwks/{client}",
        leeway=leeway,
        longest_life=longest_life,
    )


def _provider(
    name: str,
    claim_rules: ClaimRules,
    *,
    keys: Mapping[str, object] | str | None,
    jwks_url: str | None,
    usual_url: str,
    types: frozenset[str | None] = ACCESS_TOKEN_TYPES,
    introspection: IntrospectsTokens | None = None,
    **rules: Any,
) -> OidcProvider:
    return OidcProvider(
        name=name,
        jwt_rules=jwt_rules(types=types, **rules),
        keys=key_source(keys, jwks_url, KeySource(url=usual_url)),
        claim_rules=claim_rules,
        introspection=introspection,
    )
