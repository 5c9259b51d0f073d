"""The provider Stytch: its calls, and how its replies are judged."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from moonkey_core import _clock
from moonkey_core._crypto import Digest
from moonkey_core._evidence import seconds, strings_in
from moonkey_core._plan import Fetch, Plan, Reply
from moonkey_core._provider import (
    Capability,
    CookieDefaults,
    FixedAuthorization,
    IntrospectionRequest,
    IntrospectionResult,
    JwtRules,
    KeySource,
    ProviderBase,
)
from moonkey_core._transport.replies import require_reply
from moonkey_core._verified import Body, decoded
from moonkey_core.errors import (
    ConfigurationError,
    ExpiredCredentials,
    MoonKeyError,
    PermissionDenied,
    ProviderUnavailable,
)
from moonkey_core.models import AuthorizationCheck, Grants, Session, User, VerifiedSession
from moonkey_core.providers.oidc.arguments import address
from moonkey_core.providers.oidc.provider import key_source
from moonkey_core.providers.stytch.api_keys import api_key
from moonkey_core.providers.stytch.claims import SESSION_CLAIM, StytchClaims
from moonkey_core.providers.stytch.custom_claims import checked_claims
from moonkey_core.providers.stytch.rbac import Policy, PolicyCache, policy_call
from moonkey_core.providers.stytch.replies import (
    DURATION,
    SESSION_OVER,
    StytchError,
    answer_of,
    judge,
    load_success,
    refused_call,
    refused_credential,
    trouble,
)
from moonkey_core.providers.stytch.sign_in import StytchSignIn
from moonkey_core.providers.stytch.times import in_seconds, is_over
from moonkey_core.providers.stytch.wire import (
    CONSUMER,
    Members,
    SessionFacts,
    credential,
    parse_session,
    parse_user,
    session_facts,
    user_id_of,
    without_secrets,
)
from moonkey_core.providers.verification_calls import result_of, shared_call
from moonkey_core.settings import Secret
from moonkey_core.settings.arguments import suggests_arguments
from moonkey_core.settings.fields import seconds as seconds_between

LIVE, TEST = "https://api.stytch.com", "https://test.stytch.com"
"""Stytch's two environments."""

SESSION_COOKIE, JWT_COOKIE = "stytch_session", "stytch_session_jwt"
"""The cookies that Stytch's SDK in a browser sets (Stytch, "Cookies and sessions")."""

NO_SESSIONS = frozenset({"stytch_intermediate_session_token", "intermediate_session_token"})
"""The names of what stands for a sign-in that is not complete yet, and is no session."""

JWT_MAX_AGE = 300.0
"""The life of a session JWT, in seconds."""

_LIVE_PROJECT = "project-live-"
_LEEWAY = 5.0  # seconds: the default of a client's setting
_REVOCATION_SECONDS = 5.0  # of a call that no request waits for
_AGES = (1.0, 86_400.0)  # seconds
_LEEWAYS = (0.0, 60.0)


class StytchProvider(ProviderBase):
    """What Stytch's providers for consumers and for members of organizations have in common."""

    ends_sessions_by_id: bool = True
    members: Members = CONSUMER
    sessions_path: str = "/v1/sessions"
    policy_path: str = "/v1/rbac/policy"
    session_minutes: range = range(5, 527_041)  # 366 days

    def __init__(
        self,
        project_id: str,
        secret: str | Secret,
        *,
        name: str,
        base_url: str | None,
        custom_base_url: str | None,
        keys: Mapping[str, object] | str | None,
        jwks_url: str | None,
        leeway: float | None,
        jwt_max_age: float,
        hydrate: Literal["session", "tokens"],
        cookies_by: Literal["server", "browser"],
    ) -> None:
        """Make a provider. The arguments are those of :class:`Stytch`.

        Raises:
            ConfigurationError: An argument is wrong.
        """
        self.name: str = name
        self.project_id: str = api_key("project_id", project_id)
        if ":" in self.project_id:  # RFC 7617 section 2
            raise ConfigurationError("project_id must be the id of the project, such as project-test-….")
        self._secret = Secret(api_key("secret", secret.reveal() if isinstance(secret, Secret) else secret))
        pair = base64.b64encode(f"{self.project_id}:{self._secret.reveal()}".encode()).decode()
        self._authorization = FixedAuthorization(Secret(f"Basic {pair}"))
        custom = None if custom_base_url is None else address("custom_base_url", custom_base_url).rstrip("/")
        if custom is not None and not custom.startswith("https://"):
            raise ConfigurationError("custom_base_url must use https.")
        own = LIVE if self.project_id.startswith(_LIVE_PROJECT) else TEST
        root = custom or own if base_url is None else address("base_url", base_url)
        self._root: str = root.rstrip("/")
        self._sessions_url: str = f"{self._root}{self.sessions_path}"
        self.scope: str = f"{name}:{self.project_id}"
        forms = (f"stytch.com/{self.project_id}", *(() if custom is None else (custom,)))
        self._leeway = _LEEWAY if leeway is None else _seconds("leeway", leeway, _LEEWAYS)
        self.jwt_rules: JwtRules = JwtRules(  # pyright: ignore[reportIncompatibleVariableOverride]
            issuers=forms,
            types=frozenset({"jwt", None}),
            audience=(self.project_id,),
            max_age=_seconds("jwt_max_age", jwt_max_age, _AGES),
            leeway=None if leeway is None else self._leeway,
        )
        usual = KeySource(url=f"{self._sessions_url}/jwks/{quote(self.project_id, safe='')}")
        self.keys: KeySource = key_source(keys, jwks_url, usual)  # pyright: ignore[reportIncompatibleVariableOverride]
        self._scopes = MappingProxyType(dict.fromkeys(forms, self.scope))
        self.jwt_claims: StytchClaims = self.reader()  # pyright: ignore[reportIncompatibleVariableOverride]
        self._digest = Digest()
        if _one_of("hydrate", hydrate, ("session", "tokens")) == "tokens":
            self.capabilities: frozenset[Capability] = self.capabilities | frozenset[Capability]({"hydrate"})
        self.cookie_defaults: CookieDefaults = CookieDefaults(  # pyright: ignore[reportIncompatibleVariableOverride]
            session_name=SESSION_COOKIE,
            jwt_name=JWT_COOKIE,
            set_by=_one_of("cookies_by", cookies_by, ("server", "browser")),
            no_sessions=NO_SESSIONS,
        )
        call = policy_call(self._get(self.policy_path, "rbac.policy"), self.scope)
        self.policy: PolicyCache = PolicyCache(call)

    def reader(self) -> StytchClaims:
        """Return the reader of the claims of its session JWTs."""
        return StytchClaims(self.scope)

    @property
    def scopes(self) -> Mapping[str, str]:
        """The project, for each form of its issuer."""
        return self._scopes

    def __repr__(self) -> str:
        """Return the name and the project."""
        return f"<provider {self.name!r} for {self.project_id}>"

    # --- the credential of a session

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Call the API to validate a credential. Concurrent requests with the same credential share one call.

        A refusal of a call that was to change the session may concern the change: the call is made again without
        it, and the refusal becomes ``extension_error``.

        Raises:
            InvalidCredentials: The credential is not valid.
            PermissionDenied: It is valid, and its user may not do what the request asks about.
            ProviderError: The API cannot be reached or understood.
        """
        refused_change: MoonKeyError | None = None
        reply, answer = yield from self._asked(self._introspection_call(request))
        if isinstance(answer, StytchError) and _may_mean_change(answer, request):
            refused_change = refused_call(answer, reason="duration_refused" if answer.type in DURATION else None)
            request = replace(request, minutes=None, extension=None, custom_claims=None)
            reply, answer = yield from self._asked(self._introspection_call(request))
        if isinstance(answer, StytchError):
            raise refused_credential(answer, asked_permission=request.authorization_check is not None)
        asked_at = reply.asked_at or _clock.wall()
        result = yield from result_of(
            reply, request, partial(self._checked_result, request, answer, asked_at), self.introspect
        )
        return result if refused_change is None else replace(result, extension_error=refused_change)

    def _introspection_call(self, request: IntrospectionRequest) -> Fetch:
        body: dict[str, Any] = {request.kind: request.value}
        if request.extends_by is not None:
            body["session_duration_minutes"] = request.extends_by
        if request.custom_claims is not None:
            body["session_custom_claims"] = dict(request.custom_claims)
        if request.authorization_check is not None:
            body["authorization_check"] = self.written_check(request.authorization_check)
        call = Fetch(
            "POST",
            f"{self._sessions_url}/authenticate",
            json=body,
            authorization=self._authorization,
            judge=judge,
            operation="sessions.verify",
            priority=request.was_good,
        )
        judge_refresh = partial(judge, check=partial(self._check_valid, request))
        return shared_call(call, request, partial(self._cleaned, request), judge_refresh)

    def _checked_result(
        self, request: IntrospectionRequest, body: Mapping[str, Any], asked_at: float
    ) -> IntrospectionResult:
        """Return the result in a reply.

        Raises:
            ExpiredCredentials: The session has expired.
            PermissionDenied: Its user may not do what the request asks about.
            ProviderUnavailable: The reply cannot be read, or is about another session, user or credential.
        """
        try:
            facts = self.checked_facts(body)
            token, jwt = (credential(body.get(name)) for name in ("session_token", "session_jwt"))
        except ValueError:
            raise ProviderUnavailable(reason="api_content") from None
        if (
            (request.kind == "session_token" and token is not None and token != request.value)
            or (request.session_id is not None and facts.session_id != request.session_id)
            or (request.user_ids and facts.user_id not in request.user_ids)
        ):
            raise ProviderUnavailable(reason="api_mismatch")
        now = _clock.wall()
        if is_over(facts.ends_at, self._leeway, now):
            ended = f"It ended {seconds(now - in_seconds(facts.ends_at))} ago, by the clock of this machine."
            error = ExpiredCredentials(evidence=ended)
            error.session_id = facts.session_id
            raise error
        if request.authorization_check is not None:
            _check_verdict(body.get("verdict"))
        return IntrospectionResult(
            facts.session_id,
            facts.user_id,
            None if facts.started_at is None else in_seconds(facts.started_at),
            in_seconds(facts.ends_at),
            asked_at,
            body,
            jwt if request.refresh or request.wants_jwt else None,
            scope=self.jwt_claims.scope_of(facts),
            actor=facts.actor,
            replaces_claims=True,
        )

    def checked_facts(self, body: Mapping[str, Any]) -> SessionFacts:
        """Return what is decided by of a reply: its session and its user are those of each other.

        Raises:
            ValueError: The reply cannot be read.
            ProviderUnavailable: Its session is that of another user.
        """
        facts, user = session_facts(body.get(self.members.session), self.members), body.get(self.members.user)
        if user is not None and user_id_of(user, self.members) != facts.user_id:
            raise ProviderUnavailable(reason="api_mismatch")
        return facts

    def _cleaned(self, request: IntrospectionRequest, body: bytes) -> bytes:
        """Return a reply as other processes may use it, without credentials.

        Raises:
            ValueError: It is not the result of a valid credential.
        """
        answer = load_success(body)
        self._check_valid(request, answer)
        return self.without_credentials(answer)

    def _check_valid(self, request: IntrospectionRequest, answer: Mapping[str, Any]) -> None:
        """Check that a reply is the result of a valid credential.

        Raises:
            ValueError: It is not.
        """
        try:
            self._checked_result(request, answer, 0.0)
        except MoonKeyError:
            raise ValueError("not a good answer") from None

    # --- what the roles of a session permit

    def check_question(self, check: AuthorizationCheck) -> None:
        """Check that a question to the roles can be asked here.

        Raises:
            ValueError: It names an organization, and there are none.
        """
        if check.organization_id is not None:
            raise ValueError("organization_id means nothing here: sessions of consumers have no organization.")

    def written_check(self, check: AuthorizationCheck) -> dict[str, str]:
        """Return a question to the roles as the API takes it."""
        return {"resource_id": check.resource_id, "action": check.action}

    def known_grants(self, session: Session) -> Grants | None:
        """Return what the roles of a session permit; ``None`` where the policy has to be loaded first."""
        policy = self.known_policy(session)
        return None if policy is None else policy.grants(session.roles)

    def load_grants(self, session: Session) -> Plan[Grants]:
        """Return the same, after the call that loads the policy.

        Raises:
            ProviderError: The policy cannot be had.
        """
        policy = yield from self.load_policy(session)
        return policy.grants(session.roles)

    def allows(self, session: Session, check: AuthorizationCheck) -> Plan[bool]:
        """Return whether the roles of a session permit something, by the rule of the service.

        Raises:
            ProviderError: The policy cannot be had.
        """
        policy = yield from self.load_policy(session)
        return policy.allows(session.roles, check.resource_id, check.action)

    def known_policy(self, session: Session) -> Policy | None:
        """Return the policy for a session; ``None`` where it has to be loaded first."""
        return self.policy.current()

    def load_policy(self, session: Session) -> Plan[Policy]:
        """Return the same, after the calls that load it.

        Raises:
            ProviderError: The policy cannot be had.
        """
        return self.policy.load()

    # --- what an app sets in a session

    def checked_claims(self, claims: object) -> Mapping[str, object]:
        """Return custom claims that may be set.

        Raises:
            ValueError: They are no mapping by names, no JSON, too long, or one has a name that is not for the app.
        """
        return checked_claims(claims)

    # --- what a reply says

    @property
    def kept_members(self) -> tuple[str, ...]:
        """The members of a reply that are remembered."""
        return (self.members.session, self.members.user)

    def without_credentials(self, body: Mapping[str, Any]) -> bytes:
        """Return the user and session in a reply as JSON, without any credential."""
        kept = {name: without_secrets(body[name]) for name in self.kept_members if body.get(name) is not None}
        return json.dumps(kept).encode()

    def user(self, body: Body) -> User:
        """Return the user in a checked reply, or in the payload of a JWT."""
        answer = decoded(body)
        if SESSION_CLAIM in answer:
            return self.jwt_claims.user(answer)
        user = answer.get(self.members.user)
        return self.parse_user(user) if user else User(id=answer[self.members.session][self.members.user_id])

    def session(self, body: Body) -> Session:
        """Return the session in a checked reply, or in the payload of a JWT."""
        answer = decoded(body)
        if SESSION_CLAIM in answer:
            return self.jwt_claims.session(answer)
        return parse_session(answer[self.members.session], self.members)

    def parse_user(self, body: Mapping[str, Any]) -> User:
        """Return a user.

        Raises:
            ValueError: It cannot be read.
        """
        return parse_user(body, self.members)

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        """Return the whole of a result, with its credentials."""
        body = result.body
        token, jwt = (credential(body.get(name)) for name in ("session_token", "session_jwt"))
        user, session = self.user(body).replace(id=user_id), self.session(body).replace(user_id=user_id)
        return VerifiedSession(user, session, token, None if result.withholds_jwt else jwt, result.fresh_jwt)

    # --- other calls

    def list_sessions(self, user_id: str, *, pause: float | None = None) -> Plan[tuple[Session, ...]]:
        """Return the user's active sessions. ``pause`` is that of :meth:`revoke`.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        return (yield from self.listed(f"user_id={quote(user_id, safe='')}", user_id, pause))

    def listed(self, query: str, user_id: str, pause: float | None) -> Plan[tuple[Session, ...]]:
        """Return the sessions that the API lists for a query, which are all of this user.

        Raises:
            RequestRefused: The API refused the call.
            ProviderError: The API cannot be reached or understood.
        """
        fetch = self._get(f"{self.sessions_path}?{query}", "sessions.list")
        reply, answer = yield from self._asked(_beside(fetch, pause))
        if isinstance(answer, StytchError):
            raise refused_call(answer)
        try:
            found = answer.get(self.members.sessions)
            if not isinstance(found, list):
                raise ValueError
            sessions = tuple(parse_session(one, self.members) for one in found)
        except ValueError:
            raise trouble(reply) from None
        if any(session.user_id != user_id for session in sessions):
            raise ProviderUnavailable(reason="api_mismatch")
        return sessions

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
            MoonKeyError: It is not certain that the session has ended.
        """
        member = self.members.session_id if kind == "session_id" else kind
        answer = yield from self.end({member: value}, pause)
        if isinstance(answer, StytchError) and answer.type not in SESSION_OVER:
            raise refused_call(answer)

    def end(self, named: Mapping[str, str], pause: float | None) -> Plan[dict[str, Any] | StytchError]:
        """Call the API to end the session, or the sessions, that a member names.

        Raises:
            ProviderUnavailable: The API cannot be reached or understood.
        """
        fetch = Fetch(
            "POST",
            f"{self._sessions_url}/revoke",
            json=named,
            authorization=self._authorization,
            judge=judge,
            operation="sessions.revoke",
            revokes=True,
            timeout=None if pause is None else _REVOCATION_SECONDS + pause,
            own_deadline=pause is not None,
        )
        _, answer = yield from self._asked(_beside(fetch, pause))
        return answer

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares the call with others that are made at the same time.

        Raises:
            NotFound: There is no such user.
            ProviderError: The API cannot be reached or understood.
        """
        return (
            self.remembered_user(user_id, 0.0)
            if remember
            else self._loaded_user(self._user_call(user_id), user_id)
        )

    def remembered_user(self, user_id: str, ttl: float) -> Plan[User]:
        """Return one user, whose description is kept for so many seconds.

        Raises:
            NotFound: There is no such user.
            ProviderError: The API cannot be reached or understood.
        """
        fetch = replace(
            self._user_call(user_id),
            coalesce_key=self._digest("user", user_id),
            ttl=ttl,
            reuse_refusals=False,
            judge=partial(judge, check=partial(self._user_in, user_id)),
        )
        return self._loaded_user(fetch, user_id)

    def _user_call(self, user_id: str) -> Fetch:
        return self._get(f"/v1/users/{quote(user_id, safe='')}", "users.get")

    def _loaded_user(self, fetch: Fetch, user_id: str) -> Plan[User]:
        reply, answer = yield from self._asked(fetch)
        if isinstance(answer, StytchError):
            raise refused_call(answer)
        try:
            return self._user_in(user_id, answer)
        except ValueError:
            raise trouble(reply) from None

    def _user_in(self, user_id: str, body: Mapping[str, Any]) -> User:
        """Return the user in a reply about them.

        Raises:
            ValueError: It is about another one, or cannot be read.
        """
        rest = {name: value for name, value in body.items() if name not in ("status_code", "request_id")}
        user = self.parse_user(rest)
        if user.id != user_id:
            raise ValueError("another user")
        return user

    def _get(self, path: str, operation: str) -> Fetch:
        return Fetch(
            "GET", f"{self._root}{path}", authorization=self._authorization, judge=judge, operation=operation
        )

    def post(self, path: str, body: Mapping[str, Any]) -> Plan[tuple[Reply, dict[str, Any] | StytchError]]:
        """Make a call that is never repeated, as the first one may have had its effect.

        Raises:
            ProviderUnavailable: The API cannot be reached or understood.
        """
        fetch = Fetch(
            "POST",
            f"{self._root}{path}",
            json=body,
            authorization=self._authorization,
            judge=judge,
            operation=path.removeprefix("/v1/"),
            idempotent=False,
        )
        return self._asked(fetch)

    def _asked(self, fetch: Fetch) -> Plan[tuple[Reply, dict[str, Any] | StytchError]]:
        """Make a call, and return its reply with the content, or with the error of a refusal.

        Raises:
            ProviderUnavailable: The API cannot be reached or understood.
        """
        reply = require_reply((yield fetch))
        return reply, answer_of(reply, (*strings_in(fetch.json), self._secret.reveal()))


class Stytch(StytchSignIn, StytchProvider):
    """Stytch for consumers: users with sessions of their own.

    >>> Stytch("project-test-1", "secret-test-1").scopes
    mappingproxy({'stytch.com/project-test-1': 'stytch:project-test-1'})
    """

    capabilities: frozenset[Capability] = frozenset((
        "introspect", "refresh_jwt", "extend", "list_sessions", "revoke_session", "get_user", "sign_in",
        "custom_claims", "authorization_check",
    ))  # fmt: skip

    @suggests_arguments
    def __init__(
        self,
        project_id: str,
        secret: str | Secret,
        public_token: str | None = None,
        *,
        base_url: str | None = None,
        custom_base_url: str | None = None,
        keys: Mapping[str, object] | str | None = None,
        jwks_url: str | None = None,
        leeway: float | None = None,
        jwt_max_age: float = JWT_MAX_AGE,
        hydrate: Literal["session", "tokens"] = "session",
        cookies_by: Literal["server", "browser"] = "server",
        name: str = "stytch",
    ) -> None:
        """Make a provider. No network call is made before the first credential.

        Args:
            project_id: The id of the project. One that begins with ``project-live-`` is of the live environment.
            secret: A secret of the project.
            public_token: The public token of the project, with which OAuth is begun in a browser.
            base_url: The address of the API, in the place of that of the environment.
            custom_base_url: The custom domain: calls go there, and JWTs may name it as their issuer.
            keys: A fixed key set (JWK set, as a mapping or JSON) or public key (PEM). Nothing is fetched.
            jwks_url: The address of the key set, in the place of the project's.
            leeway: The clock difference that is allowed, in seconds; by default the client's setting.
            jwt_max_age: The greatest age of a JWT that is accepted without asking, in seconds.
            hydrate: What a front end gets of its session: ``session``, or with ``tokens`` the credentials too, for
                one that runs Stytch's own SDK.
            cookies_by: Who sets the session's cookies: ``server``, this app, or ``browser``, Stytch's own SDK.
            name: The name of the provider in events, metrics and errors.

        Raises:
            ConfigurationError: An argument is wrong.
        """
        StytchProvider.__init__(
            self,
            project_id,
            secret,
            name=name,
            base_url=base_url,
            custom_base_url=custom_base_url,
            keys=keys,
            jwks_url=jwks_url,
            leeway=leeway,
            jwt_max_age=jwt_max_age,
            hydrate=hydrate,
            cookies_by=cookies_by,
        )
        token = None if public_token is None else api_key("public_token", public_token)
        if token == self._secret.reveal():
            raise ConfigurationError(
                "public_token is the secret. It is shown to browsers: put the public token there."
            )
        StytchSignIn.__init__(self, self.name, self._root, token, self.post)


def _may_mean_change(error: StytchError, request: IntrospectionRequest) -> bool:
    """Return whether a refusal may concern the change that was asked for, and not the session."""
    if request.extends_by is None:
        return False
    return error.type in DURATION or not error.is_known


def _check_verdict(verdict: object) -> None:
    """Check that the user may do what was asked.

    Raises:
        PermissionDenied: The user may not.
        ProviderUnavailable: The reply does not say it.
    """
    authorized = verdict.get("authorized") if isinstance(verdict, Mapping) else None
    if authorized is False:
        raise PermissionDenied
    if authorized is not True:
        raise ProviderUnavailable(reason="api_content", cause="a reply without a verdict")


def _beside(fetch: Fetch, pause: float | None) -> Fetch:
    """Return a call that is made beside the requests after ``pause`` seconds; as it is, where that is ``None``."""
    return fetch if pause is None else replace(fetch, pause=pause, uses_breaker=False)


def _seconds(name: str, value: float, bounds: tuple[float, float]) -> float:
    problem = ""
    try:
        return seconds_between(*bounds)(value)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f"{name} of Stytch {problem}")


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise ConfigurationError(f"{name} must be {' or '.join(map(repr, known))}.")
    return value
