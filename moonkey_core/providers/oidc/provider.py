"""The provider for tokens of OIDC issuers: their rules and keys, as data. What it cannot do needs an API."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from moonkey_core._plan import Plan
from moonkey_core._provider import (
    LONGEST_LIFE,
    Capability,
    IntrospectionRequest,
    IntrospectionResult,
    JwtClaims,
    JwtRules,
    KeySource,
    ProviderBase,
    SessionRevoker,
)
from moonkey_core.errors import ConfigurationError, NotSupported
from moonkey_core.providers.oidc.arguments import address, addresses, path, paths, words
from moonkey_core.providers.oidc.claims import OidcClaims
from moonkey_core.providers.oidc.rules import (
    ACCESS_TOKEN,
    ID_TOKEN,
    ID_TOKEN_MARKS,
    ClaimRules,
    has,
)
from moonkey_core.settings.arguments import suggests_arguments

TokenUse = Literal["access", "id"]
"""Which of an issuer's tokens are accepted."""

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""The algorithms that are accepted unless others are given."""

ACCESS_TOKEN_TYPES: frozenset[str | None] = frozenset({None, "jwt", "at+jwt"})
PLAIN_TYPES: frozenset[str | None] = frozenset({None, "jwt"})

_KNOWN_ALGORITHMS = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
})  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_MAX_LEEWAY = 60.0
_LIVES = (60.0, 31 * 86_400.0)  # seconds; Auth0 allows 30 days


class BoundIntrospection(SessionRevoker, Protocol):
    """The calls to the introspection and revocation endpoints about one provider's tokens."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What can be done by these calls."""
        ...

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the server about a token."""
        ...


class IntrospectsTokens(Protocol):
    """An :class:`~moonkey_core.provider.Introspection`, for use beside a provider."""

    def for_provider(self, name: str, rules: JwtRules, reader: JwtClaims) -> BoundIntrospection:
        """Return what introspects the tokens of one provider."""
        ...


class OidcProvider(ProviderBase):
    """A provider whose tokens are JWTs that are verified here, by rules that are data.

    Without ``introspection`` the provider cannot be asked about them: a JWT is good until its ``exp``, or until it
    is revoked here.
    """

    ends_sessions_by_id: bool = False

    def __init__(
        self,
        *,
        name: str,
        jwt_rules: JwtRules,
        keys: KeySource,
        claim_rules: ClaimRules,
        introspection: IntrospectsTokens | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                "name must be a word in lower case, such as 'oidc': events, metrics and errors show it."
            )
        self.name = name
        # Narrower types than those of the base class: these never change.
        self.jwt_rules: JwtRules = jwt_rules  # pyright: ignore[reportIncompatibleVariableOverride]
        self.keys: KeySource = keys  # pyright: ignore[reportIncompatibleVariableOverride]
        self.jwt_claims: OidcClaims = OidcClaims(claim_rules)  # pyright: ignore[reportIncompatibleVariableOverride]
        self._introspection: BoundIntrospection | None = None
        if introspection is not None:
            if not hasattr(introspection, "for_provider"):
                raise ConfigurationError("introspection must be Introspection(…).")
            self._introspection = introspection.for_provider(name, jwt_rules, self.jwt_claims)
            self.capabilities: frozenset[Capability] = self._introspection.capabilities

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the introspection endpoint about a token.

        Raises:
            InvalidCredentials: The token is not active, or not good here.
            ProviderError: The endpoint cannot be reached or understood, or does not accept our client.
            NotSupported: There is no introspection.
        """
        if self._introspection is None:
            return super().introspect(request)
        return self._introspection.introspect(request)

    def revoke(
        self,
        kind: Literal["session_id", "session_token", "session_jwt"],
        value: str,
        *,
        pause: float | None = None,
    ) -> Plan[None]:
        """Revoke a token at the revocation endpoint.

        Raises:
            NotSupported: There is none, or ``value`` is the id of a session.
            ProviderError: The token may still be active.
        """
        if self._introspection is None:
            raise NotSupported(
                provider=self.name,
                operation="revoke_session",
                why="Set introspection=Introspection(…, revocation_url=…), or end the session at the provider.",
            )
        return self._introspection.revoke(kind, value, pause=pause)

    @property
    def scopes(self) -> Mapping[str, str]:
        """The scope of the ids of each issuer. Several forms of one issuer share one."""
        shared = dict(self.claim_rules.scope_of)
        return {issuer: shared.get(issuer, issuer) for issuer in self.jwt_rules.issuers}

    @property
    def claim_rules(self) -> ClaimRules:
        """How the claims of its tokens are judged and read."""
        return self.jwt_claims.rules

    def __repr__(self) -> str:
        """Return the name and the issuers."""
        return f"<provider {self.name!r} for {', '.join(self.jwt_rules.issuers)}>"


class OIDC(OidcProvider):
    """Any issuer of OpenID Connect or OAuth 2.0 that signs its access tokens as JWTs.

    >>> OIDC("https://login.example.com", "https://api.example.com").jwt_rules.audience
    ('https://api.example.com',)
    """

    @suggests_arguments
    def __init__(
        self,
        issuer: str | Sequence[str],
        audience: str | Sequence[str],
        *,
        token_use: TokenUse = "access",
        allow_machines: bool = False,
        client_ids: str | Sequence[str] = (),
        algorithms: Sequence[str] = ALGORITHMS,
        user_claim: str | Sequence[str] = "sub",
        session_claim: str | Sequence[str] = "sid",
        roles_claim: str | Sequence[str] = "roles",
        permissions_claim: str | Sequence[str] = "permissions",
        organization_claim: str | Sequence[str] = (),
        claim_rules: ClaimRules | None = None,
        jwks_url: str | None = None,
        keys: Mapping[str, object] | str | None = None,
        introspection: IntrospectsTokens | None = None,
        leeway: float | None = None,
        longest_life: float = LONGEST_LIFE,
        name: str = "oidc",
    ) -> None:
        """Make a provider. No network call is made before the first token.

        Args:
            issuer: The exact ``iss`` of its tokens; also where its keys are discovered. Several need ``keys`` or
                ``jwks_url``: one key set that is good for all of them.
            audience: What ``aud`` contains: for access tokens the id of this API, for ID tokens the id of the
                client; of several, one is enough.
            token_use: Which tokens are accepted: ``access``, or ``id`` for an app that sends ID tokens.
            allow_machines: Whether the tokens of programs (client credentials) are accepted too, as a principal
                without a session.
            client_ids: The clients whose access tokens are accepted (``azp`` or ``client_id``); by default those
                of each client.
            algorithms: The signature algorithms that are accepted.
            user_claim: The claim with the user's id. It must be unique, and never be given to another user.
            session_claim: The claim with the session's id.
            roles_claim: The claim with the roles. A sequence is a path, such as ``("realm_access", "roles")``.
            permissions_claim: The claim with the permissions.
            organization_claim: The claim with the id of the organization.
            claim_rules: All rules for claims, in the place of those that the other arguments make.
            jwks_url: The address of the key set, in the place of discovery.
            keys: A fixed key set (JWK set, as a mapping or JSON) or public key (PEM). Nothing is fetched.
            introspection: The endpoint that is asked about opaque tokens, and about JWTs that have to be fresh: an
                :class:`~moonkey_core.provider.Introspection`.
            leeway: The clock difference that is allowed, in seconds; by default the client's setting.
            longest_life: The longest life of a token that is accepted, in seconds. Revocations are remembered for
                that long.
            name: The name of the provider in events, metrics and errors.

        Raises:
            ConfigurationError: An argument is wrong, or would accept anything.
        """
        issuers, audiences = addresses("issuer", issuer), words("audience", audience)
        clients = words("client_ids", client_ids, can_be_empty=True)
        if token_use not in ("access", "id"):
            raise ConfigurationError("token_use must be 'access' or 'id'.")
        is_id = token_use == "id"
        if is_id and (clients or allow_machines):
            raise ConfigurationError(
                "client_ids and allow_machines are about access tokens. With token_use='id', the ids of the "
                "clients are the audience."
            )
        if claim_rules is not None and not isinstance(claim_rules, ClaimRules):
            raise ConfigurationError("claim_rules must be ClaimRules(…).")
        rules = claim_rules or ClaimRules(
            rules=ID_TOKEN if is_id else (*ACCESS_TOKEN, *ID_TOKEN_MARKS),
            machine_when=() if is_id else ((has(("sub",), same_as=(("client_id",), ("azp",))),),),
            allow_machines=allow_machines,
            user_id=(path("user_claim", user_claim),),
            session_id=(path("session_claim", session_claim),),
            clients=frozenset(audiences if is_id else clients),
            client=(("azp",),) if is_id else (("azp",), ("client_id",)),
            client_is_optional=is_id,
            checks_azp=is_id,
            roles=paths("roles_claim", roles_claim),
            permissions=paths("permissions_claim", permissions_claim),
            organization=paths("organization_claim", organization_claim),
        )
        if len(issuers) > 1 and keys is None and jwks_url is None:
            raise ConfigurationError(
                "Several issuers need keys or jwks_url: one key set that is good for all of them. Else give each "
                "issuer a provider of its own: providers=[OIDC(…), OIDC(…)]."
            )
        super().__init__(
            name=name,
            jwt_rules=jwt_rules(
                issuers=issuers,
                algorithms=algorithms,
                types=PLAIN_TYPES if is_id else ACCESS_TOKEN_TYPES,
                audience=audiences,
                leeway=leeway,
                longest_life=longest_life,
                needs_kid=False,  # an issuer with one key need not name it (OIDC Core section 10.1)
            ),
            keys=key_source(keys, jwks_url, KeySource(discovery=next(iter(issuers)))),
            claim_rules=rules,
            introspection=introspection,
        )


def jwt_rules(
    *,
    issuers: tuple[str, ...],
    algorithms: Sequence[str],
    types: frozenset[str | None],
    leeway: float | None,
    longest_life: float,
    audience: tuple[str, ...] = (),
    audience_claim: str = "aud",
    needs_kid: bool = True,
) -> JwtRules:
    """Return the rules for JWTs, checked.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    found = words("algorithms", algorithms)
    unknown = [one for one in found if one not in _KNOWN_ALGORITHMS]
    if unknown:
        raise ConfigurationError(
            "algorithms must be asymmetric ones, such as RS256, ES256 and EdDSA. With a symmetric one (HS256), "
            "each service that can verify a token could also make one."
        )
    if leeway is not None and not (_is_number(leeway) and 0 <= leeway <= _MAX_LEEWAY):
        raise ConfigurationError(f"leeway must be 0 to {_MAX_LEEWAY:.15g} seconds.")
    if not (_is_number(longest_life) and _LIVES[0] <= longest_life <= _LIVES[1]):
        raise ConfigurationError(f"longest_life must be {_LIVES[0]:.15g} to {_LIVES[1]:.15g} seconds.")
    return JwtRules(
        issuers=issuers,
        algorithms=found,
        types=types,
        audience=audience,
        audience_claim=audience_claim,
        longest_life=float(longest_life),
        leeway=None if leeway is None else float(leeway),
        needs_kid=needs_kid,
    )


def key_source(keys: Mapping[str, object] | str | None, jwks_url: str | None, usual: KeySource) -> KeySource:
    """Return where keys come from: those given, the address given, or the usual place.

    Raises:
        ConfigurationError: Both are given, or one is of the wrong form.
    """
    if keys is not None and jwks_url is not None:
        raise ConfigurationError("Give either keys or jwks_url.")
    if jwks_url is not None:
        return KeySource(url=address("jwks_url", jwks_url, with_query=True))
    if keys is None:
        return usual
    found: object = keys
    if isinstance(keys, str):
        if keys.lstrip().startswith("-----BEGIN"):
            return KeySource(pem=keys.replace("\\n", "\n"))  # as a variable of the environment may spell it
        try:
            found = json.loads(keys)
        except (ValueError, RecursionError):
            found = None
    if isinstance(found, Mapping) and isinstance(found.get("keys"), list):
        return KeySource(jwks=found)
    if isinstance(found, Mapping) and found and all(isinstance(one, str) for one in found.values()):
        return KeySource(pem={kid: str(one) for kid, one in found.items()})
    raise ConfigurationError(
        'keys must be a JWK set ({"keys": […]}), as a mapping or JSON, or a public key in PEM, or several by kid.'
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
