"""The interface between the verification of a credential and the provider that has issued it.

A provider says as data how its JWTs are judged (:class:`JwtRules`) and where its keys are (:class:`KeySource`). It
reads the claims of its JWTs (:class:`JwtClaims`) and, if it can be asked, answers an :class:`IntrospectionRequest`
with an :class:`IntrospectionResult` (in the sense of RFC 7662). All four are frozen. What a provider can do beyond
that is in its ``capabilities``; each stands for one of the optional protocols below.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, Self

from moonkey_core._dataclass import dataclass
from moonkey_core._evidence import shown
from moonkey_core._plan import Plan, ReplyJudge
from moonkey_core._secret import Secret
from moonkey_core._verified import Body, BodyReader, CredentialKind, Principal
from moonkey_core.errors import (
    ConfigurationError,
    InvalidCredentials,
    MoonKeyError,
    NotSupported,
    ProviderRejectedKey,
)
from moonkey_core.models import AuthorizationCheck, Grants, Session, User, VerifiedSession

REFRESH_SECONDS = 10.0
"""For how long a refresh is shared by requests with the same old JWT that come after it."""

LONGEST_LIFE = 86_400.0
"""The longest life of a JWT that is accepted unless a provider's rules say otherwise, in seconds."""

Capability = Literal[
    "introspect",
    "refresh_jwt",
    "extend",
    "list_sessions",
    "revoke_session",
    "revoke_user",
    "get_user",
    "sign_in",
    "hydrate",
    "custom_claims",
    "authorization_check",
    "enrolled_mfa",
]
"""What a provider can do beyond signing JWTs.

``introspect``: say whether a credential is valid now. ``refresh_jwt``: issue a new JWT for one that is genuine in
all but its age. ``extend``: move the end of a session. ``list_sessions``, ``revoke_session``, ``get_user``,
``sign_in``: what the methods of the client of these names need. ``revoke_user``: end all sessions of a user in one
call. ``hydrate``: give both credentials of a session to the provider's own SDK in a front end. ``custom_claims``:
keep claims of the app's own in a session. ``authorization_check``: say by the roles of a session what its user may
do. ``enrolled_mfa``: name the second factors that a user has enrolled (``User.mfa_methods``).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRules:
    """What is checked of each JWT before its claims are read: header, key, issuer, audience, times. Data only.

    Attributes:
        issuers: The closed list of issuers, compared byte for byte (RFC 7519 section 4.1.1). If it is empty, no
            JWT is verified here: one that passes the other checks is sent to the provider.
        algorithms: The algorithms that are accepted (RFC 7518 section 3.1, RFC 8037). Each belongs to one type of
            key, so a token never chooses how a key is used (RFC 8725 section 3.1). No symmetric one is possible.
        types: The values of the header ``typ``, in lower case and without ``application/`` (RFC 7515 section
            4.1.9); ``None`` among them: it may be absent.
        audience: One of these must be in ``audience_claim``. If it is empty, the provider's own claim rules say
            whom a JWT is for.
        audience_claim: The claim that holds the audience, a string or an array of strings.
        max_age: The greatest age of a JWT by its ``iat``, in seconds, whatever ``exp`` says.
        longest_life: The most seconds from ``iat`` to ``exp``. A JWT with a longer life is refused, as a
            revocation is not remembered for longer.
        leeway: The clock difference that is allowed, in seconds; ``None``: that of the client's settings.
        needs_kid: Whether the header must name its key. Else a JWT without ``kid`` is verified with the only key
            that fits its algorithm.
    """

    issuers: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256",)
    types: frozenset[str | None] = frozenset({"jwt"})
    audience: tuple[str, ...] = ()
    audience_claim: str = "aud"
    max_age: float | None = None
    longest_life: float = LONGEST_LIFE
    leeway: float | None = None
    needs_kid: bool = True

    def __post_init__(self) -> None:
        """Take any collection of names, and refuse a text: each part of it would count as a name.

        Raises:
            ConfigurationError: A list of names is none.
        """
        for name in ("issuers", "algorithms", "audience"):
            object.__setattr__(self, name, tuple(_names(name, getattr(self, name))))
        types = {None if one is None else one.lower().removeprefix("application/") for one in _types(self.types)}
        object.__setattr__(self, "types", frozenset(types))


def _names(name: str, value: object) -> Collection[str]:
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(one, str) and one for one in value):
        return value
    raise ConfigurationError(f"JwtRules.{name} must be a tuple of texts, such as ({_first(value)!r},).")


def _types(value: object) -> Collection[str | None]:
    if isinstance(value, list | tuple | set | frozenset):
        _names("types", [one for one in value if one is not None])
        return value
    raise ConfigurationError(f"JwtRules.types must be a set of texts, such as {{{_first(value)!r}}}.")


def _first(value: object) -> str:
    return value if isinstance(value, str) and value else "…"


def longest_use(rules: JwtRules, leeway: float) -> float:
    """Return for how many seconds from now on a JWT may be accepted, at most: it may be dated ahead by the leeway.

    Args:
        rules: The rules of the provider.
        leeway: The leeway where the rules have none, in seconds.
    """
    own = leeway if rules.leeway is None else rules.leeway
    oldest = rules.longest_life + own
    return own + (oldest if rules.max_age is None else min(oldest, rules.max_age))


def foreign_issuer(issuer: object, issuers: Sequence[str]) -> str:
    """Return what is wrong with an ``iss`` that is none of the configured issuers, for the operator."""
    found = f"Its iss is {shown(issuer)}, not one of {shown(issuers)}."
    if isinstance(issuer, str) and issuer.rstrip("/") in [one.rstrip("/") for one in issuers]:
        return f"{found} They differ in a slash at the end alone: correct the issuer in the settings."
    return f"{found} If the JWT is of your own app, correct the issuer in the settings."


def check_issuer_and_audience(claims: Mapping[str, Any], rules: JwtRules) -> str:
    """Check who has issued a token and whom it is for, and return its issuer.

    Raises:
        InvalidCredentials: It is of another issuer, or for another audience (RFC 7519 sections 4.1.1 and 4.1.3).
    """
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in rules.issuers:  # a tuple: whole strings only
        raise InvalidCredentials(reason="jwt_issuer", evidence=foreign_issuer(issuer, rules.issuers))
    if rules.audience:
        _check_audience(claims.get(rules.audience_claim), rules)
    return issuer


def is_for_audience(audience: object, accepted: Collection[str]) -> bool:
    """Return whether an audience, a string or an array of strings, has one of the accepted ones in it."""
    if isinstance(audience, str):
        return audience in accepted
    if not isinstance(audience, list):
        return False
    is_one = False
    for item in audience:
        if not isinstance(item, str):
            return False
        if item in accepted:
            is_one = True
    return is_one


def _check_audience(audience: object, rules: JwtRules) -> None:
    if not is_for_audience(audience, rules.audience):
        raise InvalidCredentials(
            reason="jwt_audience",
            evidence=f"Its {rules.audience_claim} is {shown(audience)}, not one of {shown(rules.audience)}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where the keys come from that sign a provider's JWTs. Exactly one of the first four is given.

    Attributes:
        jwks: A fixed key set (RFC 7517 section 5). Nothing is fetched.
        pem: A fixed public key or certificate in PEM, for every ``kid``; or several by ``kid``. Nothing is
            fetched.
        url: The address of a key set.
        discovery: An issuer whose ``/.well-known/openid-configuration`` has the address of the key set (OpenID
            Connect Discovery 1.0 section 4). It is fetched at the first use.
        discovered_issuer: The exact ``issuer`` of that document, where it is not ``discovery`` itself.
        authorization: The value of the ``Authorization`` header that is sent to ``url``, if any.
        judge: Says what the reply to a fetch of ``url`` is; a refusal with status 401 or 403 means that our key is
            not accepted. ``None``: its form alone decides, and without ``authorization`` there is no such refusal.
        rejected_key: What happened and what to check where our key is not accepted: the message of
            ``ProviderRejectedKey``. By default that of the error itself.
    """

    jwks: Mapping[str, object] | None = None
    pem: str | Mapping[str, str] | None = None
    url: str | None = field(default=None, repr=False)  # a query may hold a secret
    discovery: str | None = None
    discovered_issuer: str | None = None
    authorization: Secret | None = None
    judge: ReplyJudge | None = field(default=None, repr=False)
    rejected_key: str = field(default=ProviderRejectedKey.default_message, repr=False)

    @property
    def is_fixed(self) -> bool:
        """Whether the keys are given, so that nothing is fetched."""
        return self.jwks is not None or self.pem is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieDefaults:
    """The cookies of a provider's sessions, as far as the ``cookies`` setting does not say otherwise.

    Attributes:
        session_name: Name of the cookie with the session token.
        jwt_name: Name of the cookie with the session JWT.
        set_by: Who sets them: this package, or a script of the provider in the browser.
        no_sessions: Names of the provider's cookies and tokens that are no session, and are never taken for one.
    """

    session_name: str
    jwt_name: str
    set_by: Literal["server", "browser"] = "server"
    no_sessions: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False, repr=False)
class IntrospectionRequest:
    """A request to the provider to validate one credential.

    It is not changed once it is made. It is not frozen either: each call makes one, in a third of the time.

    Attributes:
        kind: The kind of the credential.
        value: The credential.
        digest: Its keyed digest, for keys and names, in which no credential may occur.
        minutes: The new lifetime of its session in minutes from now, where the app demands an extension. The call
            is made for this request alone.
        extension: The same, where the session is extended because it is in use.
        session_id: The session that the credential itself names, if any.
        user_ids: The spellings of the user's id that the credential itself names.
        refresh: Whether the credential is an expired JWT that is to be refreshed.
        wants_jwt: Whether a new JWT is of use.
        shared_for: The seconds for which the result of a refresh is shared.
        was_good: Whether the credential was valid before. Its call then goes first where calls have to wait.
        max_staleness: The greatest age of a shared result, in seconds; ``None``: whatever sharing allows.
        store_name: The name of the result in the shared store; ``None`` where none is kept there.
        former_store_name: Its name with the previous secrets, if there are any.
        store_ttl: For how many seconds it may be kept there.
        claims: The claims of the credential, where it is a JWT that was verified here.
        custom_claims: Claims of the app's own that are to be set in the session, ``None`` as a value deletes one.
            They come with ``minutes``.
        authorization_check: What the user of the session has to be allowed to do.
    """

    kind: CredentialKind
    value: str = field(repr=False)
    digest: bytes = field(repr=False)
    minutes: int | None = None
    extension: int | None = None
    session_id: str | None = None
    user_ids: tuple[str, ...] = ()
    refresh: bool = False
    wants_jwt: bool = False
    shared_for: float = REFRESH_SECONDS
    was_good: bool = False
    max_staleness: float | None = None
    store_name: str | None = None
    former_store_name: str | None = None
    store_ttl: float = 0.0
    claims: Body | None = field(default=None, repr=False)
    custom_claims: Mapping[str, object] | None = field(default=None, repr=False)
    authorization_check: AuthorizationCheck | None = None

    @property
    def extends_by(self) -> int | None:
        """The new lifetime of the session in minutes from now; ``None`` where it is not extended."""
        return self.extension if self.minutes is None else self.minutes

    @property
    def coalesce_key(self) -> str:
        """The name under which requests with the same credential share one call."""
        return introspection_key(self.digest)


def introspection_key(digest: bytes) -> str:
    """Return the name under which requests with the credential of this digest share one call."""
    return f"verify:{digest.hex()}"


@dataclass(slots=True, eq=False, repr=False)
class IntrospectionResult:
    """The provider's reply that a credential is valid. All times are Unix seconds.

    It is not changed once it is made. It is not frozen either: each call makes one, in a third of the time.

    Attributes:
        session_id: Its session.
        user_id: Its user, in the provider's spelling.
        started_at: When the session started; ``None`` where the reply does not contain it.
        ends_at: When the session ends.
        asked_at: When the provider was called.
        body: The whole reply, with credentials.
        fresh_jwt: A new JWT of the same session, where one was requested.
        extension_error: The provider's refusal to extend the session, where an extension was requested.
        withholds_jwt: Whether a JWT in the reply is of no use, and must not be handed on.
        issued_at: When the credential was issued, where the reply contains that beside the start of the session.
        scope: What the ids belong to: the provider, or one issuer of several.
        principal: Whether the credential speaks for a user or for a program.
        actor: The id of the party that acts for the user, where the reply names one (RFC 8693 section 4.1).
        names_session: Whether ``session_id`` is that of a session, and not of the credential itself.
        replaces_claims: Whether ``body`` says all that a JWT of the session says, and takes the place of the
            claims of one that it confirms.
    """

    session_id: str
    user_id: str
    started_at: float | None
    ends_at: float
    asked_at: float
    body: Mapping[str, Any] = field(repr=False)
    fresh_jwt: str | None = field(default=None, repr=False)
    extension_error: MoonKeyError | None = None
    withholds_jwt: bool = False
    issued_at: float | None = None
    scope: str = "moonkey"
    principal: Principal = "user"
    actor: str | None = None
    names_session: bool = True
    replaces_claims: bool = False

    @property
    def counts_from(self) -> float | None:
        """What a revocation of the user compares: the earlier one of start and issue; ``None``: unknown."""
        started_at, issued_at = self.started_at, self.issued_at
        if started_at is None or issued_at is None:
            return started_at if issued_at is None else issued_at
        return min(started_at, issued_at)


class SessionClaims(NamedTuple):
    """The user and session that the claims of a verified JWT name. The times are Unix seconds.

    ``scope`` is what the ids belong to: the provider, or one issuer of several. Equal ids of two scopes are
    different ones. ``principal`` says whether the JWT speaks for a user or for a program, which has no session.
    ``actor`` is the id of the party that acts for the user (RFC 8693 section 4.1). ``names_session`` is false
    where ``session_id`` is that of the JWT itself, so that each newer JWT has another one.
    """

    user_id: str
    session_id: str
    started_at: float | None
    ends_at: float
    scope: str = "moonkey"
    principal: Principal = "user"
    actor: str | None = None
    names_session: bool = True


class JwtClaims(BodyReader, Protocol):
    """The reader of the claims of a provider's JWTs about a user and a session."""

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return the user and session that a payload names.

        Args:
            payload: The payload of a JWT with a valid signature, from the right issuer.
            expires_at: The JWT's ``exp`` (Unix seconds).

        Raises:
            InvalidCredentials: The payload names no user or no session, or the session has ended.
        """
        ...

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the session id, and the spellings of the user id, in a payload that is not verified yet."""
        ...


class Provider(BodyReader, Protocol):
    """A service that issues sessions. It is complete without the settings of a client.

    :class:`ProviderBase` has everything but the first five members, for a provider that only signs JWTs.
    """

    @property
    def name(self) -> str:
        """The name of the provider in events, metrics and errors: a short constant in lower case."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond signing JWTs."""
        ...

    @property
    def jwt_rules(self) -> JwtRules | None:
        """How its JWTs are judged; ``None`` where each of its credentials is opaque, whatever its form."""
        ...

    @property
    def keys(self) -> KeySource | None:
        """Where the keys come from that sign its JWTs; ``None`` where no JWT is verified here."""
        ...

    @property
    def scopes(self) -> Mapping[str, str]:
        """By issuer, the scope of its ids: what ``SessionClaims.scope`` and ``IntrospectionResult.scope`` may be.

        Several forms of one issuer have one scope. A provider without issuers has its name.
        """
        ...

    @property
    def jwt_claims(self) -> JwtClaims:
        """The reader of the claims of its JWTs."""
        ...

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the provider to validate a credential.

        Raises:
            InvalidCredentials: The provider refuses the credential.
            ProviderError: The provider cannot be reached, or its reply is not about this credential.
            NotSupported: The provider cannot do it.
        """
        ...

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return the whole of a result, with its credentials, for the user under this id."""
        ...

    def without_credentials(self, body: Mapping[str, Any]) -> Body:
        """Return the part of a reply that describes its user and session, without any credential."""
        ...

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares and keeps the result for the time of the ``user_ttl`` setting.

        Raises:
            NotFound: The provider knows no such user. Only with ``is_gone`` is that certain for good.
            NotSupported: The provider cannot do it.
        """
        ...

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two spellings of an id name the same user."""
        ...

    def key_of_user(self, user_id: str) -> str:
        """Return the one spelling of a user's id for tables and stores."""
        ...


class ProviderBase:
    """What a provider has that only signs JWTs: it cannot be called, and each id has one spelling.

    A subclass has ``name``, ``jwt_rules``, ``keys`` and ``jwt_claims``, and overrides what it can do.
    """

    name: str
    capabilities: frozenset[Capability] = frozenset()
    jwt_rules: JwtRules | None = None
    keys: KeySource | None = None
    jwt_claims: JwtClaims
    credential_headers: tuple[str, ...] = ()
    """The request headers of its credentials, in the place of ``authorization``; see :meth:`at`."""
    cookies: object = None
    """The cookies of its credentials, see :meth:`at`."""
    states_session_start: bool = True
    """Whether a credential may say when its session began. Else ``sessions.note_start`` is the only way."""
    longest_session: timedelta | None = None
    """How long a session lasts at most, where the credentials do not say so."""
    mfa_scope: Literal["credential", "user"] = "user"
    """For whom a second factor counts that the app has recorded (``client.mfa``), unless a setting says so."""
    takes_opaque: bool = True
    """Whether an opaque credential may be one of its own, if it can be asked; else all are JWTs of its issuers."""
    instead: Mapping[Capability, str] = MappingProxyType({})
    """What to do about a capability that it lacks, for the error."""
    browser_signs_out: bool = False
    """Whether only its own code in the browser ends a session, so that a sign-out here is one half of it."""
    cookie_defaults: CookieDefaults | None = None
    """How these cookies are named and who sets them, unless the settings say otherwise."""

    def at(self, *, credential_headers: str | Sequence[str] = (), cookies: object = None) -> Self:
        """Return this provider with places of its own for its credentials, for a client with several providers.

        Args:
            credential_headers: The request headers that may hold its credentials, in the place of
                ``authorization``.
            cookies: The cookies that may: a ``CookieSettings``, or a dict of its arguments.
        """
        found = credential_headers if isinstance(credential_headers, str) else " ".join(credential_headers)
        placed = copy.copy(self)
        placed.credential_headers = tuple(found.lower().replace(",", " ").split()) or self.credential_headers
        placed.cookies = self.cookies if cookies is None else cookies
        return placed

    @property
    def scopes(self) -> Mapping[str, str]:
        """Each issuer as the scope of its ids; its name, if it has no issuers."""
        issuers = () if self.jwt_rules is None else self.jwt_rules.issuers
        return {issuer: issuer for issuer in issuers} or {self.name: self.name}

    def user(self, body: Body) -> User:
        """Return the user in the body."""
        return self.jwt_claims.user(body)

    def session(self, body: Body) -> Session:
        """Return the session in the body."""
        return self.jwt_claims.session(body)

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Refuse: the provider cannot be called.

        Raises:
            NotSupported: Always.
        """
        _refuse(self.name, "introspect")

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return the user and session of a result. The reply holds no credential."""
        user, session = self.user(result.body), self.session(result.body)
        return VerifiedSession(user.replace(id=user_id), session.replace(user_id=user_id))

    def without_credentials(self, body: Mapping[str, Any]) -> Body:
        """Return the reply as JSON: it holds no credential."""
        return json.dumps(dict(body)).encode()

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Refuse: the provider cannot be called.

        Raises:
            NotSupported: Always.
        """
        _refuse(self.name, "get_user")

    def same_user(self, one: str, other: str) -> bool:
        """Return whether two ids are the same."""
        return one == other

    def key_of_user(self, user_id: str) -> str:
        """Return the id itself."""
        return user_id


def cookie_defaults_of(provider: object) -> CookieDefaults | None:
    """Return how the cookies of a provider are named and who sets them, if it says so."""
    found: CookieDefaults | None = getattr(provider, "cookie_defaults", None)
    return found


def own_scope(provider: Provider) -> str:
    """Return what the ids belong to that a provider gives without a scope: its only scope, else its name."""
    found = set(provider.scopes.values())
    return found.pop() if len(found) == 1 else provider.name


def check_scope(scope: object, provider: Provider, scopes: Collection[str]) -> None:
    """Check that a scope is one of the provider's: else its ids could meet equal ones of another provider.

    Args:
        scope: The scope of some ids that it gave.
        provider: The provider.
        scopes: The scopes that it names.

    Raises:
        ProviderRejectedKey: It is none of them. That is a fault of the provider's own code.
    """
    if scope not in scopes:
        raise ProviderRejectedKey(
            f"The provider {provider.name!r} gave ids of the scope {shown(scope)}, which is none of those that it "
            f"names in scopes: {shown(sorted(scopes))}. Correct its SessionClaims, IntrospectionResult or scopes.",
            reason="provider_scope",
        )


def _refuse(provider: str, operation: str) -> NoReturn:
    raise NotSupported(provider=provider, operation=operation)


class UserIdSpeller(Protocol):
    """A provider whose user ids have several spellings, of which its calls take one."""

    def public_user_id(self, user_id: str) -> str:
        """Return the spelling of a user's id that the calls take."""
        ...


def speller_of(provider: Provider | UserIdSpeller) -> Callable[[str], str]:
    """Return what spells a user's id as the provider's calls take it; each id as it is, if it has one spelling."""
    found: Callable[[str], str] = getattr(provider, "public_user_id", _as_it_is)
    return found


def _as_it_is(user_id: str) -> str:
    return user_id


class SessionLister(Protocol):
    """A provider that lists the sessions of a user: ``list_sessions``."""

    def list_sessions(self, user_id: str, *, pause: float | None = None) -> Plan[tuple[Session, ...]]:
        """Return the user's active sessions; ``pause``: the seconds before a call that no request waits for."""
        ...


class SessionRevoker(Protocol):
    """A provider that ends sessions: ``revoke_session``."""

    @property
    def ends_sessions_by_id(self) -> bool:
        """Whether a session can be ended by its id, and not only by a credential of it."""
        ...

    def revoke(
        self,
        kind: Literal["session_id", "session_token", "session_jwt"],
        value: str,
        *,
        pause: float | None = None,
    ) -> Plan[None]:
        """End a session. A session that does not exist any more counts as ended.

        Args:
            kind: What ``value`` is.
            value: An id, or a credential.
            pause: For a call that no request waits for, the seconds before it.

        Raises:
            NotSupported: It cannot be ended by that. Raised at once, and not by the plan.
            MoonKeyError: It is not certain that the session has ended.
        """
        ...


class AuthorizationChecker(Protocol):
    """A provider whose roles permit what a policy says: ``authorization_check``."""

    def check_question(self, check: AuthorizationCheck) -> None:
        """Check that a question can be asked.

        Raises:
            ValueError: It cannot: it lacks something, or has something that means nothing here.
        """
        ...

    def known_grants(self, session: Session) -> Grants | None:
        """Return what the roles of a session permit; ``None`` where the policy has to be loaded first."""
        ...

    def load_grants(self, session: Session) -> Plan[Grants]:
        """Return the same, after the call that loads the policy.

        Raises:
            ProviderError: The policy cannot be had.
        """
        ...

    def allows(self, session: Session, check: AuthorizationCheck) -> Plan[bool]:
        """Return whether the roles of a session permit something, by the policy.

        Raises:
            ProviderError: The policy cannot be had.
        """
        ...


class UserRevoker(Protocol):
    """A provider that ends all sessions of a user by one call: ``revoke_user``."""

    def revoke_user(self, user_id: str, *, pause: float | None = None) -> Plan[None]:
        """End all sessions of a user.

        Args:
            user_id: The id of the user.
            pause: For a call that no request waits for, the seconds before it.

        Raises:
            NotFound: The provider knows no such user. Only with ``is_gone`` is that certain for good.
            MoonKeyError: It is not certain that the sessions have ended.
        """
        ...


class CustomClaimsKeeper(Protocol):
    """A provider that keeps claims of the app's own in a session: ``custom_claims``."""

    def checked_claims(self, claims: object) -> Mapping[str, object]:
        """Return custom claims that may be set.

        Raises:
            ValueError: They may not.
        """
        ...


class UserKeeper(Protocol):
    """A provider whose users may be kept for a while, where they are loaded for requests."""

    def remembered_user(self, user_id: str, ttl: float) -> Plan[User]:
        """Return one user, whose description is shared and kept for so many seconds.

        Raises:
            NotFound: The provider knows no such user.
        """
        ...


def loader_of_users(provider: Provider | UserKeeper, ttl: float) -> Callable[[str], Plan[User]]:
    """Return what loads a user for a request; the result is kept for ``ttl`` seconds, if the provider can."""
    keep: Callable[..., Plan[User]] | None = getattr(provider, "remembered_user", None)
    if keep is not None:
        return partial(keep, ttl=ttl)
    get_user: Callable[..., Plan[User]] = provider.get_user  # type: ignore[union-attr]
    return partial(get_user, remember=True)


class FixedAuthorization:
    """The same ``Authorization`` header for each call of a provider, such as its key."""

    __slots__ = ("_header",)

    def __init__(self, header: Secret) -> None:
        """Keep the value of the header."""
        self._header = header

    def header(self) -> str | None:
        """Return the value of the header."""
        return self._header.reveal()

    def members(self) -> Mapping[str, str]:
        """Return nothing: the form is not concerned."""
        return {}
