"""The provider Coinbase CDP: what of it can be verified, and which calls it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Plan, Reply
from moonkey_core._provider import (
    LONGEST_LIFE,
    Capability,
    IntrospectionRequest,
    IntrospectionResult,
    JwtRules,
    KeySource,
    ProviderBase,
)
from moonkey_core._secret import Secret
from moonkey_core._transport.replies import require_reply
from moonkey_core._verified import decoded
from moonkey_core.errors import ConfigurationError, InvalidCredentials, MoonKeyError, NotFound, ProviderUnavailable
from moonkey_core.models import User
from moonkey_core.providers.cdp.api_key import ApiKey
from moonkey_core.providers.cdp.claims import ISSUER, CdpClaims, unverified_payload, whole_body
from moonkey_core.providers.cdp.replies import api_error, content, failure, judge, no_such_user, rejected_key
from moonkey_core.providers.cdp.wire import USER_ID, check_end_user, parse_end_user
from moonkey_core.providers.oidc.arguments import address, text, words
from moonkey_core.providers.oidc.provider import key_source
from moonkey_core.providers.verification_calls import result_of, shared_call
from moonkey_core.settings.arguments import suggests_arguments
from moonkey_core.settings.fields import seconds

BASE_URL = "https://api.cdp.coinbase.com/platform"
"""The root of CDP's API."""

_NAME = "cdp"
_LEEWAY = 5.0  # seconds: the default of a client's setting
_LIVES = (60.0, LONGEST_LIFE)  # seconds
_MAX_BYTES = 256 * 1024
_PROBE_SECONDS = 1.0  # for which one reply about our own key is reused
_USER_SECONDS = 60.0  # for which a loaded user is remembered
_NO_API = "CDP has no API for that."


class CDP(ProviderBase):
    """Access tokens of the end users of a CDP project (embedded wallets).

    CDP is asked about each token, once for the time of the ``session_cache_ttl`` setting. With ``jwks_url`` or
    ``keys`` tokens are verified here. CDP publishes no key set, so there is no default.
    """

    capabilities: frozenset[Capability] = frozenset({"introspect", "get_user", "enrolled_mfa"})
    takes_opaque: bool = False
    browser_signs_out: bool = True
    states_session_start = False
    longest_session: timedelta | None = timedelta(days=7)
    mfa_scope: Literal["credential", "user"] = "credential"
    instead: Mapping[Capability, str] = MappingProxyType(
        {
            "list_sessions": f"{_NO_API} A token names no session.",
            "revoke_session": f"{_NO_API} The front end ends the session by signOut(). Here its tokens can be "
            "refused: client.revocations.add(session_id=…) or (user_id=…).",
            "revoke_user": f"{_NO_API} Its tokens can be refused here: client.revocations.add(user_id=…).",
            "extend": f"{_NO_API} Its SDK in the browser renews tokens for 7 days.",
            "refresh_jwt": f"{_NO_API} Its SDK in the browser renews tokens.",
            "sign_in": "Users sign in by CDP's SDK in the browser.",
        }
    )

    @suggests_arguments
    def __init__(
        self,
        api_key_id: str,
        api_key_secret: str | Secret,
        project_id: str,
        *,
        base_url: str = BASE_URL,
        audience: str | Sequence[str] = (),
        jwks_url: str | None = None,
        keys: Mapping[str, object] | str | None = None,
        leeway: float | None = None,
        longest_life: float = LONGEST_LIFE,
        name: str = _NAME,
    ) -> None:
        """Make a provider. No network call is made before the first token.

        Args:
            api_key_id: The id of the API key of this app.
            api_key_secret: Its secret: an EC key in PEM, or an Ed25519 key in base64.
            project_id: The id of the CDP project whose users may sign in.
            base_url: The root of the API.
            audience: The ``aud`` of the JWTs that the API key signs; by default they have none.
            jwks_url: The address of the key set of access tokens, if you were given one. They are verified here
                then.
            keys: The same as a fixed key set (JWK set, as a mapping or JSON) or public key (PEM).
            leeway: The clock difference that is allowed, in seconds.
            longest_life: The longest life of a token that is accepted, in seconds. Revocations are remembered for
                that long.
            name: The name of the provider in events, metrics and errors.

        Raises:
            ConfigurationError: An argument is missing or wrong.
        """
        self.name = name
        self._root = address("base_url", base_url).rstrip("/").removesuffix("/v2")
        secret = api_key_secret if isinstance(api_key_secret, Secret) else Secret(_given(api_key_secret))
        named = words("audience", audience, can_be_empty=True)
        self._api_key = ApiKey(text("api_key_id", api_key_id), secret, named or None)
        self.longest_life: float = _seconds("longest_life", longest_life, *_LIVES)
        own_leeway = None if leeway is None else _seconds("leeway", leeway, 0.0, 60.0)
        self._leeway = _LEEWAY if own_leeway is None else own_leeway
        self._claims = CdpClaims(text("project_id", project_id), self.longest_life)
        self.jwt_claims: CdpClaims = self._claims  # pyright: ignore[reportIncompatibleVariableOverride]
        self.jwt_rules: JwtRules | None = None
        self.keys: KeySource | None = None
        if keys is not None or jwks_url is not None:
            self.jwt_rules = replace(self._claims.rules, leeway=own_leeway)
            self.keys = key_source(keys, jwks_url, KeySource())
        self._validate_url = f"{self._root}/v2/end-users/auth/validate-token"
        self._list_url = f"{self._root}/v2/end-users"
        self._validates = self._api_key.for_call("POST", self._validate_url)
        self._lists = self._api_key.for_call("GET", self._list_url)

    @property
    def issuers(self) -> tuple[str, ...]:
        """The one issuer of its tokens, by which they come to it where a client has several providers."""
        return (ISSUER,)

    @property
    def scopes(self) -> Mapping[str, str]:
        """What its ids belong to: the project, as the issuer is that of all projects."""
        return {ISSUER: self._claims.scope}

    def __repr__(self) -> str:
        """Return the name and the project."""
        return f"<provider {self.name!r} for {self._claims.scope}>"

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        """Ask CDP to validate an access token. Concurrent requests with the same token share one call.

        What is no token of this project, or is over, is refused without a call. After that, a token counts only if
        CDP says so, and names the same user. Source: CDP's API reference, Validate End User Access Token.

        Raises:
            InvalidCredentials: The token is not valid.
            ExpiredCredentials: It is over.
            ProviderError: CDP cannot be reached or understood, or does not accept our API key.
        """
        if request.claims is None:
            payload = unverified_payload(request.value)
            self._claims.check(payload, _clock.wall(), self._leeway)
        else:
            payload = dict(decoded(request.claims))
        reply = require_reply((yield self._validation(request)))
        if reply.status != 200:
            yield from self._explain(reply, request)
        return (yield from result_of(reply, request, partial(self._result, payload, reply), self.introspect))

    def _validation(self, request: IntrospectionRequest) -> Fetch:
        call = Fetch(
            "POST",
            self._validate_url,
            json={"accessToken": request.value},
            authorization=self._validates,
            judge=_judge_user,
            max_bytes=_MAX_BYTES,
            operation="end_users.validate_token",
            priority=request.was_good,
        )
        return shared_call(call, request, partial(_cleaned, request.value))

    def _explain(self, reply: Reply, request: IntrospectionRequest) -> Plan[None]:
        """Raise what a reply without a user means: of a 401 that is not known before our own key was tried.

        Raises:
            InvalidCredentials: The token is not valid.
            ProviderError: The reply says nothing about it.
        """
        error = api_error(reply, (request.value,))
        if error is None or error.status not in (400, 401, 404):
            raise failure(reply)
        if error.status == 401:
            yield from self.check_key(is_fresh=request.was_good)
        evidence = f"It answered {error.status}, {error.detail!r}."
        if error.status == 401:
            raise InvalidCredentials(reason="token_inactive", evidence=evidence)
        # A wrong address or request of ours could be answered so, too: nothing is over for certain.
        reason = "user_unknown" if error.status == 404 else "session_refused"
        raise InvalidCredentials(reason=reason, evidence=evidence, session_is_over=False)

    def check_key(self, *, is_fresh: bool = False) -> Plan[None]:
        """Check that CDP accepts our API key, after a 401 that may mean the token or the key.

        One user is listed, as the reply about a single user says nothing about the key. The reply is shared by all
        that ask within a second. ``is_fresh``: a reply of before this call does not count, as the key may
        have been withdrawn since, and the token was good.

        Raises:
            ProviderRejectedKey: CDP does not accept the key.
            ProviderUnavailable: The reply does not show whether it does.
        """
        probe = Fetch(
            "GET",
            f"{self._list_url}?pageSize=1",
            authorization=self._lists,
            judge=judge,
            coalesce_key=f"key-probe {'now ' if is_fresh else ''}{self._list_url}",
            ttl=0.0 if is_fresh else _PROBE_SECONDS,
            max_bytes=_MAX_BYTES,
            operation="key-probe",
            priority=True,
        )
        reply = require_reply((yield probe))
        if reply.status == 401 and (api_error(reply) is not None or not reply.body):
            raise rejected_key(reply)
        if reply.status != 200:
            raise failure(reply)
        content(reply)

    def _result(self, payload: Mapping[str, Any], reply: Reply) -> IntrospectionResult:
        """Return the result in a reply with the user of the token.

        Raises:
            InvalidCredentials: The token is no access token that may be sent as it is.
            ProviderUnavailable: The reply cannot be read, or is about another user.
        """
        end_user = content(reply)
        try:
            user_id = check_end_user(end_user)
        except ValueError:
            raise ProviderUnavailable(reason="api_content", address=reply.address) from None
        claims = self._claims.session_claims(payload, self._claims.ends_at(payload))
        if claims.user_id != user_id:
            raise ProviderUnavailable(reason="api_mismatch", address=reply.address)
        return IntrospectionResult(
            claims.session_id,
            user_id,
            None,
            claims.ends_at,
            reply.asked_at or _clock.wall(),
            whole_body(payload, end_user),
            issued_at=self._claims.issued_at(payload),
            scope=claims.scope,
            names_session=False,
        )

    def without_credentials(self, body: Mapping[str, Any]) -> bytes:
        """Return the claims of a token and its user as JSON. Neither holds a credential."""
        return json.dumps(dict(body)).encode()

    def get_user(self, user_id: str, *, remember: bool = False) -> Plan[User]:
        """Return one user; ``remember`` shares and keeps the result for a minute.

        Raises:
            NotFound: CDP knows no such user.
            ProviderError: CDP cannot be reached or understood, or does not accept our API key.
        """
        if not USER_ID.fullmatch(user_id):
            raise NotFound(evidence="Ids of CDP are 1 to 100 letters, digits and hyphens.")
        url = f"{self._list_url}/{quote(user_id, safe='')}"
        fetch = Fetch(
            "GET",
            url,
            authorization=self._api_key.for_call("GET", url),
            judge=partial(judge, check=partial(_check_user, user_id)),
            max_bytes=_MAX_BYTES,
            operation="end_users.get",
        )
        if remember:
            fetch = replace(
                fetch,
                coalesce_key=f"user {url}",
                ttl=_USER_SECONDS,
                reuse_refusals=False,
            )
        reply = require_reply((yield fetch))
        if reply.status == 401 and api_error(reply) is not None:
            yield from self.check_key()
        if reply.status != 200:
            raise no_such_user(reply) or failure(reply)
        found = content(reply)
        try:
            user = parse_end_user(found)
        except ValueError:
            raise ProviderUnavailable(reason="api_content", address=reply.address) from None
        if user.id != user_id:
            raise ProviderUnavailable(reason="api_mismatch", address=reply.address)
        return user.replace(scope=self._claims.scope)


_judge_user = partial(judge, check=check_end_user)


def _cleaned(token: str, body: bytes) -> bytes:
    """Return a good reply as other processes may use it.

    Raises:
        ValueError: It is none, or repeats the token.
    """
    try:
        found = content(Reply(200, {}, body))
    except MoonKeyError:
        raise ValueError("not a good reply") from None
    check_end_user(found)
    kept = json.dumps(found).encode()
    if token.encode() in kept:
        raise ValueError("a reply with a credential")
    return kept


def _check_user(user_id: str, body: Mapping[str, Any]) -> None:
    if check_end_user(body) != user_id:
        raise ValueError("another user")


def _given(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError("api_key_secret of CDP is missing: the secret of the API key of this app.")
    return value


def _seconds(name: str, value: float, low: float, high: float) -> float:
    try:
        return seconds(low, high)(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} of CDP {error}") from None
