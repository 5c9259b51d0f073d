"""The provider whose credentials are opaque tokens of any authorization server (RFC 7662)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from moonkey_core._plan import CallAuthorization, Plan
from moonkey_core._provider import (
    LONGEST_LIFE,
    Capability,
    IntrospectionRequest,
    IntrospectionResult,
    JwtClaims,
    JwtRules,
    ProviderBase,
)
from moonkey_core.errors import ConfigurationError
from moonkey_core.providers.introspection.client_auth import AuthMethod, client_authorization
from moonkey_core.providers.introspection.endpoint import TokenIntrospection
from moonkey_core.providers.introspection.judge import Judge, ReplyRules
from moonkey_core.providers.oidc.arguments import address, text, words
from moonkey_core.providers.oidc.claims import OidcClaims
from moonkey_core.providers.oidc.rules import ClaimRules, has, lacks
from moonkey_core.settings import CookieSettings, Secret
from moonkey_core.settings.arguments import suggests_arguments
from moonkey_core.settings.fields import seconds

_LEEWAY = 5.0  # seconds: the default of a client's setting
_LIVES = (60.0, 31 * 86_400.0)  # seconds
_CLIENT = (("client_id",), ("azp",))
_SERVICE_ACCOUNT = "service-account-"  # how Keycloak names the user that stands for a client
_RULES = ClaimRules(
    client=_CLIENT,
    machine_when=(
        (has(("sub",), same_as=_CLIENT),),  # RFC 9068 section 5
        (lacks(("sub",)), lacks(("username",)), has(("client_id",))),
        (has(("username",), prefix=_SERVICE_ACCOUNT),),
        (has(("preferred_username",), prefix=_SERVICE_ACCOUNT),),
    ),
    machine_id=(("sub",), ("client_id",)),
)
"""How replies are judged: RFC 7662 section 2.2 names their members."""


class Introspection(ProviderBase):
    """Tokens of an authorization server that is asked about each of them, by token introspection (RFC 7662).

    Alone it is a provider: ``MoonKey(provider=Introspection(…))``. Each credential is opaque then, a JWT too. It
    needs an issuer and an audience rule, since an active token may have been issued for another app. Beside a
    provider (``OIDC(…, introspection=Introspection(…))``) it takes over the rules of that provider.
    """

    ends_sessions_by_id: bool = False

    @suggests_arguments
    def __init__(
        self,
        url: str,
        *,
        issuer: str | None = None,
        audience: str | Sequence[str] = (),
        client_ids: str | Sequence[str] = (),
        client_id: str,
        client_secret: str | Secret | None = None,
        private_key: str | bytes | Secret | None = None,
        auth_method: AuthMethod | None = None,
        assertion_audience: str | None = None,
        assertion_life: float = 60.0,
        reuse_assertion: bool = False,
        key_id: str | None = None,
        algorithm: str | None = None,
        revocation_url: str | None = None,
        token_types: str | Sequence[str] = ("Bearer",),
        needs_token_type: bool = False,
        assumed_life: float | None = None,
        allow_machines: bool = False,
        claim_rules: ClaimRules | None = None,
        credential_headers: str | Sequence[str] = (),
        cookies: CookieSettings | None = None,
        leeway: float | None = None,
        longest_life: float = LONGEST_LIFE,
        name: str = "introspection",
    ) -> None:
        """Make a provider, or what a provider asks. No network call is made before the first token.

        Args:
            url: The introspection endpoint.
            issuer: The issuer of the tokens. A reply with another ``iss`` is refused; one without is of this one.
            audience: One of these must be in ``aud`` of a reply.
            client_ids: The clients whose tokens are accepted, by ``client_id`` or ``azp`` of a reply. Give this or
                ``audience``, or both: then both must hold.
            client_id: The id of this app at the server.
            client_secret: Its secret there. Give either this or ``private_key``.
            private_key: Its private key, as PEM without a passphrase, for ``private_key_jwt`` (RFC 7523).
            auth_method: How a secret is sent: ``client_secret_basic`` (the default) or ``client_secret_post``.
            assertion_audience: The ``aud`` of the assertions that the key signs; the issuer if not set.
            assertion_life: The life of an assertion in seconds.
            reuse_assertion: Whether one is sent again within its life. Most servers take each one once only.
            key_id: The ``kid`` of assertions.
            algorithm: The ``alg`` of assertions; by default what fits the key.
            revocation_url: The revocation endpoint (RFC 7009), with which sessions can be revoked by their token.
            token_types: The values of ``token_type`` that are accepted.
            needs_token_type: Whether a reply must have it: for servers that tell an access token from a refresh
                token by nothing else.
            assumed_life: For how many seconds a token counts whose reply has no ``exp``. Without it, such a token
                is refused.
            allow_machines: Whether tokens of programs are accepted: as principals without a session.
            claim_rules: The rules for the claims of replies, in place of the usual ones.
            credential_headers: The request headers that hold these tokens; by default ``Authorization``. Beside
                another provider that takes opaque credentials, each needs places of its own.
            cookies: The cookies that hold these tokens, by their ``session_name``.
            leeway: The clock difference that is allowed, in seconds.
            longest_life: The longest life of a token that is accepted, in seconds. Revocations are remembered for
                that long.
            name: The name of the provider in events, metrics and errors.

        Raises:
            ConfigurationError: An argument is missing, malformed, or does not fit the others.
        """
        self.name: str = name
        self.credential_headers: tuple[str, ...] = _words("credential_headers", credential_headers)
        self.cookies: CookieSettings | None = cookies  # pyright: ignore[reportIncompatibleVariableOverride]
        self._url = address("url", url, with_query=True)
        self._revocation_url = (
            None if revocation_url is None else address("revocation_url", revocation_url, with_query=True)
        )
        self._issuer = _issuer(issuer)
        self._token_types = frozenset(kind.lower() for kind in _words("token_types", token_types))
        self._needs_token_type = needs_token_type
        self._assumed_life = None if assumed_life is None else _seconds("assumed_life", assumed_life, 1.0)
        self._authorization = partial(
            client_authorization,
            client_id=client_id,
            client_secret=None if client_secret is None else _hidden("client_secret", client_secret),
            private_key=None if private_key is None else _hidden("private_key", private_key),
            auth_method=auth_method,
            key_id=key_id,
            algorithm=algorithm,
            life=assertion_life,
            reuse=reuse_assertion,
        )
        self._assertion_audience = assertion_audience
        self._is_signed = private_key is not None
        self._bound: TokenIntrospection | None = None
        audiences, claims = _words("audience", audience), _RULES if claim_rules is None else claim_rules
        claims = replace(
            claims,
            clients=claims.clients.union(_words("client_ids", client_ids)),
            allow_machines=allow_machines or claims.allow_machines,
        )
        self.longest_life: float = _seconds("longest_life", longest_life, *_LIVES)
        leeway = None if leeway is None else _seconds("leeway", leeway, 0.0, 60.0)
        self._audiences = frozenset(audiences)
        given: dict[str, bool] = {
            "client_ids": bool(client_ids),
            "claim_rules": claim_rules is not None,
            "allow_machines": allow_machines,
            "leeway": leeway is not None,
            "longest_life": self.longest_life != LONGEST_LIFE,
        }
        self._own_rules = tuple(argument for argument, is_given in given.items() if is_given)
        if self._issuer and (audiences or claims.clients):
            rules = JwtRules(
                issuers=(self._issuer,), audience=audiences, longest_life=self.longest_life, leeway=leeway
            )
            self.jwt_claims: JwtClaims = OidcClaims(claims)
            self._bound = self._made_for(name, rules, self.jwt_claims)
            self.capabilities: frozenset[Capability] = self._bound.capabilities
        elif audiences or claims.clients:
            raise _incomplete()
        else:  # it is for use beside a provider, whose issuer assertions may name
            self._authorized(self._issuer or "the issuer")

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers whose JWTs are its tokens as well, where a client has several providers."""
        return (self._issuer,) if self._issuer else ()

    def __getattr__(self, name: str) -> Any:
        """Say what is missing, where this is used alone without an issuer. A client asks when it starts."""
        if name == "jwt_claims":
            raise _incomplete()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        """Return the name and the issuer. An address may have a query that is secret."""
        return f"<provider {self.name!r} for {self._issuer}>"

    @property
    def scopes(self) -> Mapping[str, str]:
        """Its one issuer, which its ids belong to."""
        return {} if self._issuer is None else {self._issuer: self._issuer}

    def for_provider(self, name: str, rules: JwtRules, reader: JwtClaims) -> TokenIntrospection:
        """Return what introspects the tokens of another provider, whose rules and places count then.

        Args:
            name: The name of the provider.
            rules: How its JWTs are judged, and so the replies.
            reader: The reader of their claims.

        Raises:
            ConfigurationError: It is not clear of which of its issuers the tokens are, or this has rules or places
                of its own.
        """
        of_its_own: dict[str, object] = {
            **dict.fromkeys(self._own_rules, True),
            "audience": not self._audiences <= set(rules.audience),
            "credential_headers": self.credential_headers,
            "cookies": self.cookies,
        }
        for argument, is_given in of_its_own.items():
            if is_given:
                raise ConfigurationError(
                    f"{argument} of Introspection has no effect beside the provider {name!r}, whose own counts "
                    "for these tokens too. Leave it out here, and set it there (headers and cookies by .at(…))."
                )
        return self._made_for(name, rules, reader)

    def _made_for(self, name: str, rules: JwtRules, reader: JwtClaims) -> TokenIntrospection:
        issuer = self._issuer or (rules.issuers[0] if len(rules.issuers) == 1 else None)
        if issuer is None or issuer not in rules.issuers:
            raise ConfigurationError(
                f"Introspection beside the provider {name!r} needs issuer: the one of its issuers that a reply "
                "without iss is from. The endpoint has to know the tokens of all of them."
            )
        replies = ReplyRules(issuer, self._token_types, self._needs_token_type, self._assumed_life)
        judge = Judge(rules, reader, replies, _LEEWAY if rules.leeway is None else rules.leeway)
        return TokenIntrospection(name, self._url, self._revocation_url, self._authorized(issuer), judge)

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the server about a token, see :meth:`TokenIntrospection.introspect`."""
        return self._introspection.introspect(request)

    def revoke(
        self,
        kind: Literal["session_id", "session_token", "session_jwt"],
        value: str,
        *,
        pause: float | None = None,
    ) -> Plan[None]:
        """Revoke a token, see :meth:`TokenIntrospection.revoke`."""
        return self._introspection.revoke(kind, value, pause=pause)

    @property
    def _introspection(self) -> TokenIntrospection:
        if self._bound is None:
            raise _incomplete()
        return self._bound

    def _authorized(self, issuer: str) -> CallAuthorization:
        return self._authorization(audience=self._assertion_audience or (issuer if self._is_signed else None))


def _issuer(value: str | None) -> str | None:
    return text("issuer", value) if value else None


def _words(name: str, value: str | Sequence[str]) -> tuple[str, ...]:
    return words(name, value) if value else ()


def _seconds(name: str, value: float, low: float, high: float = LONGEST_LIFE) -> float:
    try:
        return seconds(low, high)(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} of Introspection {error}") from None


def _hidden(name: str, value: str | bytes | Secret) -> Secret:
    if isinstance(value, Secret):
        return value
    text = str(value, "utf-8", "replace") if isinstance(value, bytes | bytearray) else value
    # One line of a file of variables: its line breaks are written as two characters.
    return Secret(text.replace("\\n", "\n") if name == "private_key" else text)


def _incomplete() -> ConfigurationError:
    return ConfigurationError(
        "Introspection needs issuer, and audience or client_ids: that a token is active says only that its server "
        "has issued it, for whichever app. Set both; or leave both out beside a provider, as in "
        "OIDC(…, introspection=Introspection(…))."
    )
