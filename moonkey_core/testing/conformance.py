"""A suite of checks that a provider of your own has to pass; see ``docs/providers.md``.

::

    @pytest.mark.parametrize("check", provider_conformance(make, sign, claims), ids=str)
    def test_my_provider(check):
        check()
"""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import rsa

from moonkey_core import _clock
from moonkey_core._plan import Done, Fetch, Plan, Reply, ReplyClass, step
from moonkey_core._provider import (
    Capability,
    IntrospectionRequest,
    IntrospectionResult,
    JwtRules,
    Provider,
    ProviderBase,
    SessionClaims,
)
from moonkey_core._transport.replies import judge
from moonkey_core._verified import CacheEntry
from moonkey_core.auth import Auth, cache_entry
from moonkey_core.client import MoonKey
from moonkey_core.errors import (
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    NotSupported,
    ProviderUnavailable,
)
from moonkey_core.events import Event, UpstreamCall

Sign = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""Signs with the provider's key: takes what the header has beside ``alg`` and ``kid``, and the claims."""

_KEY_OPERATIONS = ("jwks", "discovery")
_ID_CLAIMS: Mapping[str, Any] = MappingProxyType({"nonce": "n-1"})
_METHODS: Mapping[Capability, tuple[str, ...]] = {
    "introspect": ("introspect",),
    "get_user": ("get_user",),
    "list_sessions": ("list_sessions",),
    "revoke_session": ("revoke", "ends_sessions_by_id"),
    "revoke_user": ("revoke_user",),
    "sign_in": ("verify_otp", "limits", "factor_names", "send_otp", "magic_link_token", "oauth_proof"),
    "custom_claims": ("checked_claims",),
    "authorization_check": ("check_question", "known_grants", "load_grants", "allows"),
}
_OPAQUE = "an-opaque-credential-0123456789"
_TROUBLE = (429, 500, 502, 503)
_BODIES = (
    b"",
    b"<html>",
    b"[]",
    b"null",
    b"7",
    b"{",
    b"\xff\xfe",
    b"{}",
    b'{"": [[]]}',
    b'{"error": 7, "active": "yes"}',
)
_MOST_CALLS = 5
_ODD: tuple[Any, ...] = (
    None,
    True,
    7,
    -1,
    1.5,
    "",
    " ",
    "\x00",
    "a" * 5000,
    [],
    [7],
    [[]],
    {},
    {"id": 7},
    10**400,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Call it; it raises ``AssertionError`` where the provider fails."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: The provider fails it.
        """
        try:
            self.run()
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"the provider raised {error!r}.") from error

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class _Subject:
    """A provider under test, with what makes its tokens."""

    def __init__(
        self, make: Callable[[], Provider], sign: Sign, claims: Callable[[], Mapping[str, Any]], user_claim: str
    ) -> None:
        self.make = make
        self.sign = sign
        self.claims = claims
        self.user_claim = user_claim

    def token(self, header: Mapping[str, Any] | None = None, /, **changes: Any) -> str:
        """Return a good token but for the changes; a change to ``...`` leaves a claim out."""
        claims = {name: value for name, value in {**self.claims(), **changes}.items() if value is not ...}
        return self.sign(header or {}, claims)

    def shown(self, token: str, before: Callable[[MoonKey], object] = lambda _: None) -> Auth:
        """Authenticate a request with a token, and check that no call was made about it."""
        calls: list[str] = []

        def count(event: Event) -> None:
            if isinstance(event, UpstreamCall) and event.operation not in _KEY_OPERATIONS:
                calls.append(event.operation)

        provider = self.make()
        # Clients with one secret share their revocations. An old token is not sent anywhere.
        renews: dict[str, Any] = {"refresh_jwt": False} if "refresh_jwt" in provider.capabilities else {}
        with MoonKey(provider=provider, secret_key=f"conformance-{secrets.token_hex(16)}", **renews) as client:
            client.hooks.add(count)
            before(client)
            auth = client.authenticate({"authorization": f"Bearer {token}"})
        _expect("introspect" in provider.capabilities or not calls, f"a call was made: {calls}")
        return auth

    def refused(self, token: str, what: str) -> InvalidCredentials:
        auth = self.shown(token)
        _expect(not auth.is_authenticated, f"{what} was accepted")
        _expect(auth.is_rejected, f"{what} is no outage, but was answered as one: {auth.error!r}")
        error = auth.error
        _expect(isinstance(error, InvalidCredentials) and error.status == 401, f"{what} gave {error!r}, not a 401")
        assert isinstance(error, InvalidCredentials)
        _expect(token.split(".")[-1] not in str(error), "the error shows the token")
        return error


def provider_conformance(
    make: Callable[[], Provider],
    sign: Sign,
    claims: Callable[[], Mapping[str, Any]],
    *,
    audience_claim: str | None = None,
    user_claim: str = "sub",
    id_claims: Mapping[str, Any] = _ID_CLAIMS,
    answer: Callable[[Fetch], Reply] | None = None,
) -> tuple[Check, ...]:
    """Return the checks for a provider whose JWTs are verified here.

    Args:
        make: Makes the provider. Its keys should be fixed, or served where the tests run.
        sign: Signs a header and claims with a key of the provider.
        claims: Returns the claims of a good token that was issued now.
        audience_claim: The claim that says whom a token is for, if not that of the provider's rules.
        user_claim: The claim with the user's id.
        id_claims: What an ID token has and an access token of the provider has not; empty where ID tokens are
            accepted.
        answer: Answers a call of the provider about a good opaque credential, as its service would. Needed where
            it can be asked about one.
    """
    subject = _Subject(make, sign, claims, user_claim)
    named: dict[str, Callable[[_Subject], None]] = {
        "says what it is": _says_what_it_is,
        "names the scope of its ids": _names_its_scope,
        "accepts a good token": _accepts,
        "names one session for one token": _is_steady,
        "refuses a revoked session": _refuses_revoked,
        "refuses a revoked user": _refuses_revoked_user,
        "refuses a forged signature": _refuses_forged,
        "refuses symmetric and no algorithms": _refuses_algorithms,
        "refuses another issuer": _refuses_issuers,
        "refuses another audience": partial(_refuses_audiences, claim=audience_claim),
        "refuses an expired token as expired": _refuses_expired,
        "refuses a token of the wrong time": _refuses_times,
        "refuses tokens of other kinds": _refuses_kinds,
        "refuses an ID token": partial(_refuses_id_token, claims=id_claims),
        "refuses a token that is bound to a key": _refuses_bound,
        "refuses a token without a user": _refuses_no_user,
        "refuses an opaque credential without a call": _refuses_opaque,
        "reads hostile claims without an exception": _reads_hostile,
        "keeps users apart": _keeps_users_apart,
        "refuses what it cannot do": _refuses_operations,
        "reads the reply about a good credential": partial(_introspects, answer=answer),
        "takes no trouble for a refusal": _judges_trouble,
        "judges any reply without an exception": _judges_any,
    }
    return tuple(Check(name, partial(run, subject)) for name, run in named.items())


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(f"{problem}.")


def _rules(subject: _Subject) -> JwtRules:
    rules = subject.make().jwt_rules
    _expect(rules is not None and bool(rules.issuers), "it has no jwt_rules with issuers")
    assert rules is not None
    return rules


def _says_what_it_is(subject: _Subject) -> None:
    provider, rules = subject.make(), _rules(subject)
    _expect(
        provider.name.islower() and provider.name != "moonkey", "its name is not a word of its own in lower case"
    )
    _expect(provider.capabilities <= set(get_args(Capability)), "it names capabilities that do not exist")
    for capability in provider.capabilities & _METHODS.keys():
        for method in _METHODS[capability]:
            own, usual = getattr(type(provider), method, None), getattr(ProviderBase, method, None)
            has_it = own is not usual if own is not None else hasattr(provider, method)
            _expect(has_it, f"its capability {capability} needs {method} of its own")
    needs_asking = {"refresh_jwt", "extend"} & provider.capabilities
    _expect(not needs_asking or "introspect" in provider.capabilities, f"{needs_asking} needs introspect")
    _expect(set(rules.issuers) <= provider.scopes.keys(), "its scopes leave an issuer out")
    _expect("moonkey" not in provider.scopes.values(), "its ids would be those of MoonKey")
    _expect(0 < rules.longest_life < 366 * 86_400, "its longest_life is no bound")


def _names_its_scope(subject: _Subject) -> None:
    provider, claims = subject.make(), dict(subject.claims())
    scope = provider.jwt_claims.session_claims(claims, claims["exp"]).scope
    if scope != "moonkey":  # none was given: then it is that of the issuer
        _expect(scope in provider.scopes.values(), f"its scope {scope!r} is none of those it names")


def _accepts(subject: _Subject) -> None:
    provider, token = subject.make(), subject.token()
    with MoonKey(provider=provider) as client:
        first, second = (client.authenticate({"authorization": f"Bearer {token}"}) for _ in range(2))
    _expect(first.is_authenticated, f"a good token was refused: {first.error!r}")
    _expect(second.source == "cache", "a good token is not remembered")
    entry = cache_entry(first)
    assert entry is not None
    # The client corrects the users of what it reads, so the provider itself is asked.
    user, session = provider.user(entry.body), provider.session(entry.body)
    _expect(user.id == entry.user_id, "user() and session_claims() name two users")
    _expect(session.id == entry.session_id, "session() and session_claims() name two sessions")
    _expect(session.user_id == entry.user_id, "the session is that of another user")
    if "refresh_jwt" not in provider.capabilities:  # else the provider is asked about the session later
        _expect(entry.ends_at <= subject.claims()["exp"] + 1, "the session outlasts its token")
    _expect(session.expires_at.timestamp() <= entry.ends_at + 1, "session() ends later than session_claims()")
    _expect(entry.started_at is None or entry.started_at <= _clock.wall() + 60, "the session starts in the future")
    named, users = provider.jwt_claims.claimed_ids(subject.claims())
    _expect(named in (None, entry.session_id), "claimed_ids() and session_claims() name two sessions")
    _expect(
        all(provider.same_user(one, entry.user_id) for one in users),
        "claimed_ids() and session_claims() name two users",
    )


def _is_steady(subject: _Subject) -> None:
    token = subject.token()
    found = {(auth.user, auth.session) for auth in (subject.shown(token), subject.shown(token)) if auth}
    _expect(len(found) == 1, "two processes see two users or sessions in one token")
    claims = dict(subject.claims())
    facts = {subject.make().jwt_claims.session_claims(claims, claims["exp"]) for _ in range(2)}
    _expect(len(facts) == 1, "two processes see two times in one token")


def _refuses_revoked(subject: _Subject) -> None:
    _refuses_after(subject, "session", lambda entry: {"session_id": entry.session_id})


def _refuses_revoked_user(subject: _Subject) -> None:
    _refuses_after(subject, "user", lambda entry: {"user_id": entry.user_id})


def _refuses_after(subject: _Subject, what: str, ids: Callable[[CacheEntry], dict[str, Any]]) -> None:
    token = subject.token()
    entry = cache_entry(subject.shown(token))
    assert entry is not None
    named, scope = ids(entry), entry.scope
    auth = subject.shown(token, lambda client: client.revocations.add(**named, issuer=scope))
    _expect(not auth.is_authenticated, f"a revoked {what} was accepted")


def _refuses_forged(subject: _Subject) -> None:
    head, body, signature = subject.token().split(".")
    subject.refused(f"{head}.{body}.{'A' * len(signature)}", "a token with a wrong signature")
    other = _encoded({**subject.claims(), subject.user_claim: "somebody-else"})
    subject.refused(f"{head}.{other}.{signature}", "a token with changed claims")
    header = pyjwt.get_unverified_header(f"{head}.{body}.{signature}")
    key = rsa.generate_private_key(65537, 2048)
    named = {name: value for name, value in header.items() if name != "alg"}
    forged = pyjwt.encode(dict(subject.claims()), key, "RS256", headers=named)
    subject.refused(forged, "a token that another key has signed")


def _refuses_algorithms(subject: _Subject) -> None:
    header = pyjwt.get_unverified_header(subject.token())
    for algorithm in ("none", "None", "HS256", "HS512"):
        head, body = _encoded({**header, "alg": algorithm}), _encoded(subject.claims())
        subject.refused(f"{head}.{body}.{'A' * 43}", f"a token with alg {algorithm}")


def _refuses_issuers(subject: _Subject) -> None:
    issuer = str(subject.claims()["iss"])
    slashed = issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"
    for other in (slashed, f"{issuer}.example", issuer.upper(), "https://elsewhere.example", "", ...):
        if other != issuer:
            subject.refused(subject.token(iss=other), f"a token of the issuer {other!r}")


def _refuses_audiences(subject: _Subject, claim: str | None) -> None:
    name = claim or _rules(subject).audience_claim
    good = subject.claims().get(name)
    own = [one for one in (good if isinstance(good, list) else [good]) if isinstance(one, str)]
    alike = [other for one in own for other in (f"{one}.example", f"{one}/x", f"x{one}", one[:-1], one[1:])]
    nested: list[Any] = [value for one in own for value in ({one: one}, [[one]])]
    other: Any
    for other in ("https://somebody-else.example", *alike, alike, *nested, [], "", 7, ...):
        subject.refused(subject.token(**{name: other}), f"a token with {name} {other!r}")


def _refuses_expired(subject: _Subject) -> None:
    now = int(_clock.wall())
    nbf = now - 1000 if "nbf" in subject.claims() else ...  # a provider may require it
    error = subject.refused(subject.token(iat=now - 1000, nbf=nbf, exp=now - 400), "an expired token")
    _expect(isinstance(error, ExpiredCredentials), f"an expired token is {error.reason}, not expired")
    _expect(not error.session_is_over, "an expired token ends its session, which may go on with a newer one")
    name = _rules(subject).audience_claim
    wrong = subject.token(iat=now - 1000, nbf=nbf, exp=now - 400, iss="https://elsewhere.example")
    error = subject.refused(wrong, f"an expired token of another issuer ({name})")
    _expect(not isinstance(error, ExpiredCredentials), "a foreign token is called expired")


def _refuses_times(subject: _Subject) -> None:
    now, longest = int(_clock.wall()), _rules(subject).longest_life
    cases: dict[str, dict[str, Any]] = {
        "no exp": {"exp": ...},
        "exp as text": {"exp": str(now + 60)},
        "an infinite exp": {"exp": 1e308},
        "iat in the future": {"iat": now + 3600, "exp": now + 7200},
        "nbf in the future": {"nbf": now + 3600},
        "too long a life": {"iat": now, "exp": now + int(longest) + 60},
    }
    for what, changes in cases.items():
        subject.refused(subject.token(**changes), f"a token with {what}")


def _refuses_kinds(subject: _Subject) -> None:
    for kind in ("logout+jwt", "secevent+jwt", "dpop+jwt"):
        subject.refused(subject.token({"typ": kind}), f"a token of the type {kind}")
    subject.refused(subject.token({"crit": ["exp"]}), "a token with a critical header")
    subject.refused(".".join(("eyJhbGciOiJSU0EtT0FFUCJ9", "AA", "AA", "AA", "AA")), "an encrypted token")
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    subject.refused(subject.token(events=events), "a logout token")


def _refuses_id_token(subject: _Subject, claims: Mapping[str, Any]) -> None:
    if claims:
        subject.refused(subject.token(**claims), "an ID token")


def _refuses_bound(subject: _Subject) -> None:
    for how in ({"jkt": "thumbprint"}, {"x5t#S256": "thumbprint"}):
        subject.refused(subject.token(cnf=how), "a token that is bound to a key, presented as Bearer (RFC 9449)")


def _refuses_no_user(subject: _Subject) -> None:
    for value in (..., "", None, 7, ["user"], {"id": "user"}):
        what = f"a token with {subject.user_claim} {value!r}"
        subject.refused(subject.token(**{subject.user_claim: value}), what)


def _refuses_opaque(subject: _Subject) -> None:
    if "introspect" not in subject.make().capabilities:
        subject.refused("an-opaque-credential-0123456789", "an opaque credential")


def _reads_hostile(subject: _Subject) -> None:
    provider, good = subject.make(), dict(subject.claims())
    now = good["exp"]
    for name in (*good, "act"):
        left_out = () if name in ("iss", "iat", "exp") else (...,)  # without these it comes to no reader
        for value in (*_ODD, *left_out):
            payload = {key: one for key, one in {**good, name: value}.items() if one is not ...}
            session_id, users = provider.jwt_claims.claimed_ids(payload)
            _expect(session_id is None or isinstance(session_id, str), f"claimed_ids returns {name} as it is")
            _expect(all(isinstance(user, str) for user in users), f"claimed_ids returns {name} as it is")
            try:
                found = provider.jwt_claims.session_claims(payload, now)
            except InvalidCredentials:
                continue
            _reads(provider, payload, found, f"{name} {value!r:.40}")


def _reads(provider: Provider, payload: Mapping[str, Any], found: SessionClaims, what: str) -> None:
    """Check what an odd payload was read as, if it was not refused."""
    ids: tuple[Any, ...] = (found.user_id, found.session_id)
    _expect(all(isinstance(one, str) and one for one in ids), f"{what} gave the ids {ids!r:.80}")
    actor: Any = found.actor
    _expect(actor is None or (isinstance(actor, str) and bool(actor)), f"{what} gave the actor {actor!r:.80}")
    if all(isinstance(payload.get(name), int) and 0 < payload[name] < 2**33 for name in ("iat", "exp")):
        body = json.dumps(dict(payload)).encode()  # the core has checked both by now
        provider.user(body)
        provider.session(body)


def _keeps_users_apart(subject: _Subject) -> None:
    provider = subject.make()
    ids = ("a", "user_a", "auth0|a", "A", "ä", "b", "user_b", "auth0|b")
    for one in ids:
        _expect(provider.same_user(one, provider.key_of_user(one)), f"key_of_user({one!r}) is another user")
        for other in ids:
            same, alike = provider.same_user(one, other), provider.key_of_user(one) == provider.key_of_user(other)
            _expect(same == alike, f"same_user and key_of_user differ about {one!r} and {other!r}")
            _expect(not same or one[-1] != "a" or other[-1] != "b", f"{one!r} and {other!r} are one user")
    found = [subject.shown(subject.token(**{subject.user_claim: one})) for one in ("Ab-1", "ab-1")]
    if all(auth.is_authenticated for auth in found):  # else its ids have a form of their own
        one, other = (entry.user_id for entry in map(cache_entry, found) if entry is not None)
        _expect(
            one != other or provider.same_user("Ab-1", "ab-1"),
            "two users whose ids differ in case have become one, which same_user denies",
        )


def _refuses_operations(subject: _Subject) -> None:
    provider: Any = subject.make()
    calls: dict[Capability, Callable[[], Any]] = {
        "get_user": lambda: provider.get_user("user"),
        "introspect": lambda: provider.introspect(_request()),
        "list_sessions": lambda: provider.list_sessions("user"),
        "revoke_session": lambda: provider.revoke("session_token", _OPAQUE),
        "revoke_user": lambda: provider.revoke_user("user"),
    }
    for capability, call in calls.items():
        if capability in provider.capabilities or not hasattr(provider, _METHODS[capability][0]):
            continue
        try:
            next(call())
        except NotSupported:
            continue
        except StopIteration:
            pass
        raise AssertionError(f"{capability} is no capability, and does not raise NotSupported.")


# --- what it makes of replies


def _request() -> IntrospectionRequest:
    return IntrospectionRequest("session_token", _OPAQUE, b"digest", store_name="name", store_ttl=60.0)


def _introspects(subject: _Subject, answer: Callable[[Fetch], Reply] | None) -> None:
    provider = subject.make()
    if "introspect" not in provider.capabilities or not getattr(provider, "takes_opaque", True):
        return
    _expect(answer is not None, "it can be asked: give answer, which replies as its service would")
    assert answer is not None
    asked: list[tuple[Fetch, Reply]] = []

    def reply(fetch: Fetch) -> Reply:
        asked.append((fetch, answer(fetch)))
        return asked[-1][1]

    result = _played(provider.introspect(_request()), reply)
    _expect(isinstance(result, IntrospectionResult), f"a good credential was not accepted: {result!r}")
    assert isinstance(result, IntrospectionResult)
    _expect(
        result.scope in {*provider.scopes.values()}, f"its scope {result.scope!r} is none of those that it names"
    )
    ids: tuple[Any, ...] = (result.session_id, result.user_id)
    _expect(all(isinstance(one, str) and one for one in ids), f"it gave the ids {ids!r:.80}")
    _expect(math.isfinite(result.ends_at) and result.ends_at > _clock.wall(), "the session of a good one is over")
    kept = provider.without_credentials(result.body)
    _expect(_OPAQUE not in str(kept), "without_credentials() leaves the credential in")
    user, session = provider.user(kept), provider.session(kept)
    _expect(provider.same_user(user.id, result.user_id), "user() and introspect() name two users")
    _expect(session.id == result.session_id, "session() and introspect() name two sessions")
    for fetch, got in asked:
        _expect(_OPAQUE not in fetch.url, "the credential stands in an address, which is logged on the way")
        _expect(_judged(fetch, got) == "success", "its judge takes a good reply for none")


def _judges_trouble(subject: _Subject) -> None:
    for status in _TROUBLE:
        for body in (b"", b"<html>", b'{"active": false}'):
            found = _asked(subject, Reply(status, {}, body), expected="trouble")
            is_trouble = found is None or isinstance(found, ProviderUnavailable)
            _expect(is_trouble, f"a reply with status {status} gave {found!r}, and says nothing of the credential")


def _judges_any(subject: _Subject) -> None:
    for status in (200, 201, 204, 302, 400, 401, 403, 404, 409, 422, 599):
        for body in _BODIES:
            found = _asked(subject, Reply(status, {"content-type": "application/json"}, body))
            _expect(
                found is None or isinstance(found, MoonKeyError),
                f"a reply {body!r} with status {status} was taken for that of a good credential",
            )


def _asked(subject: _Subject, reply: Reply, expected: ReplyClass | None = None) -> object:
    """Return what becomes of a credential where each call gets the same reply; ``None`` where none is made."""
    provider = subject.make()
    if "introspect" not in provider.capabilities:
        return None

    def answer(fetch: Fetch) -> Reply:
        judged = _judged(fetch, reply)
        _expect(judged in get_args(ReplyClass), f"its judge says {judged!r}")
        _expect(expected in (None, judged), f"its judge takes status {reply.status} for a {judged}")
        return reply

    is_opaque = getattr(provider, "takes_opaque", True)
    value = _OPAQUE if is_opaque else subject.token()
    return _played(provider.introspect(replace(_request(), value=value)), answer)


def _judged(fetch: Fetch, reply: Reply) -> str:
    return (fetch.judge or judge)(reply)


def _played(plan: Plan[Any], answer: Callable[[Fetch], Reply]) -> object:
    """Return the result of a plan, or its error, where these are the replies to its calls."""
    try:
        found = step(plan, None)
        for _ in range(_MOST_CALLS):
            if isinstance(found, Done):
                return found.value
            found = step(plan, answer(found))
    except MoonKeyError as error:
        return error
    raise AssertionError(f"it makes more than {_MOST_CALLS} calls about one credential.")


def _encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(dict(value)).encode()).rstrip(b"=").decode()
