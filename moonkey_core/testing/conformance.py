"""The checks that a provider of your own has to pass, and those of its JWTs; see ``docs/providers.md``.

::

    @pytest.mark.parametrize("check", provider_conformance(make, sign, claims), ids=str)
    def test_my_provider(check):
        check()
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import rsa

from moonkey_core import _clock
from moonkey_core._provider import Capability, Provider, ProviderBase, SessionClaims
from moonkey_core._verified import CacheEntry
from moonkey_core.auth import cache_entry
from moonkey_core.client import MoonKey
from moonkey_core.errors import ExpiredCredentials, InvalidCredentials, NotSupported
from moonkey_core.testing.conformance_replies import REPLY_CHECKS
from moonkey_core.testing.conformance_subject import OPAQUE, Check, Service, Sign, Subject, expect, rules_of

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
_ID_CLAIMS: Mapping[str, Any] = MappingProxyType({"nonce": "n-1"})
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


def provider_conformance(
    make: Callable[[], Provider],
    sign: Sign,
    claims: Callable[[], Mapping[str, Any]],
    *,
    audience_claim: str | None = None,
    user_claim: str = "sub",
    id_claims: Mapping[str, Any] = _ID_CLAIMS,
    answer: Service | None = None,
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
        answer: Answers each call of the provider, as its service would where all is well: about a good credential,
            a refresh, an extension, a step of a sign-in. Needed where it can be called for one of them. A JWT in
            a reply is one that ``sign`` has signed, of the session that ``claims`` name.
    """
    subject = Subject(make, sign, claims, user_claim, answer)
    named: dict[str, Callable[[Subject], None]] = {
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
        **REPLY_CHECKS,
    }
    return tuple(Check(name, partial(run, subject)) for name, run in named.items())


def _says_what_it_is(subject: Subject) -> None:
    provider, rules = subject.make(), rules_of(subject)
    expect(
        provider.name.islower() and provider.name != "moonkey", "its name is not a word of its own in lower case"
    )
    expect(provider.capabilities <= set(get_args(Capability)), "it names capabilities that do not exist")
    for capability in provider.capabilities & _METHODS.keys():
        for method in _METHODS[capability]:
            own, usual = getattr(type(provider), method, None), getattr(ProviderBase, method, None)
            has_it = own is not usual if own is not None else hasattr(provider, method)
            expect(has_it, f"its capability {capability} needs {method} of its own")
    needs_asking = {"refresh_jwt", "extend", "hydrate", "custom_claims"} & provider.capabilities
    expect(not needs_asking or "introspect" in provider.capabilities, f"{needs_asking} needs introspect")
    expect(set(rules.issuers) <= provider.scopes.keys(), "its scopes leave an issuer out")
    expect("moonkey" not in provider.scopes.values(), "its ids would be those of MoonKey")
    expect(0 < rules.longest_life < 366 * 86_400, "its longest_life is no bound")


def _names_its_scope(subject: Subject) -> None:
    provider, claims = subject.make(), dict(subject.claims())
    scope = provider.jwt_claims.session_claims(claims, claims["exp"]).scope
    if scope != "moonkey":  # none was given: then it is that of the issuer
        expect(scope in provider.scopes.values(), f"its scope {scope!r} is none of those it names")


def _accepts(subject: Subject) -> None:
    provider, token = subject.make(), subject.token()
    with MoonKey(provider=provider) as client:
        first, second = (client.authenticate({"authorization": f"Bearer {token}"}) for _ in range(2))
    expect(first.is_authenticated, f"a good token was refused: {first.error!r}")
    expect(second.source == "cache", "a good token is not remembered")
    entry = cache_entry(first)
    assert entry is not None
    # The client corrects the users of what it reads, so the provider itself is asked.
    user, session = provider.user(entry.body), provider.session(entry.body)
    expect(user.id == entry.user_id, "user() and session_claims() name two users")
    expect(session.id == entry.session_id, "session() and session_claims() name two sessions")
    expect(session.user_id == entry.user_id, "the session is that of another user")
    if "refresh_jwt" not in provider.capabilities:  # else the provider is asked about the session later
        expect(entry.ends_at <= subject.claims()["exp"] + 1, "the session outlasts its token")
    expect(session.expires_at.timestamp() <= entry.ends_at + 1, "session() ends later than session_claims()")
    expect(entry.started_at is None or entry.started_at <= _clock.wall() + 60, "the session starts in the future")
    named, users = provider.jwt_claims.claimed_ids(subject.claims())
    expect(named in (None, entry.session_id), "claimed_ids() and session_claims() name two sessions")
    expect(
        all(provider.same_user(one, entry.user_id) for one in users),
        "claimed_ids() and session_claims() name two users",
    )


def _is_steady(subject: Subject) -> None:
    token = subject.token()
    found = {(auth.user, auth.session) for auth in (subject.shown(token), subject.shown(token)) if auth}
    expect(len(found) == 1, "two processes see two users or sessions in one token")
    claims = dict(subject.claims())
    facts = {subject.make().jwt_claims.session_claims(claims, claims["exp"]) for _ in range(2)}
    expect(len(facts) == 1, "two processes see two times in one token")


def _refuses_revoked(subject: Subject) -> None:
    _refuses_after(subject, "session", lambda entry: {"session_id": entry.session_id})


def _refuses_revoked_user(subject: Subject) -> None:
    _refuses_after(subject, "user", lambda entry: {"user_id": entry.user_id})


def _refuses_after(subject: Subject, what: str, ids: Callable[[CacheEntry], dict[str, Any]]) -> None:
    token = subject.token()
    entry = cache_entry(subject.shown(token))
    assert entry is not None
    named, scope = ids(entry), entry.scope
    auth = subject.shown(token, lambda client: client.revocations.add(**named, issuer=scope))
    expect(not auth.is_authenticated, f"a revoked {what} was accepted")


def _refuses_forged(subject: Subject) -> None:
    head, body, signature = subject.token().split(".")
    subject.refused(f"{head}.{body}.{'A' * len(signature)}", "a token with a wrong signature")
    other = _encoded({**subject.claims(), subject.user_claim: "somebody-else"})
    subject.refused(f"{head}.{other}.{signature}", "a token with changed claims")
    header = pyjwt.get_unverified_header(f"{head}.{body}.{signature}")
    key = rsa.generate_private_key(65537, 2048)
    named = {name: value for name, value in header.items() if name != "alg"}
    forged = pyjwt.encode(dict(subject.claims()), key, "RS256", headers=named)
    subject.refused(forged, "a token that another key has signed")


def _refuses_algorithms(subject: Subject) -> None:
    header = pyjwt.get_unverified_header(subject.token())
    for algorithm in ("none", "None", "HS256", "HS512"):
        head, body = _encoded({**header, "alg": algorithm}), _encoded(subject.claims())
        subject.refused(f"{head}.{body}.{'A' * 43}", f"a token with alg {algorithm}")


def _refuses_issuers(subject: Subject) -> None:
    issuer = str(subject.claims()["iss"])
    slashed = issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"
    for other in (slashed, f"{issuer}.example", issuer.upper(), "https://elsewhere.example", "", ...):
        if other != issuer:
            subject.refused(subject.token(iss=other), f"a token of the issuer {other!r}")


def _refuses_audiences(subject: Subject, claim: str | None) -> None:
    name = claim or rules_of(subject).audience_claim
    good = subject.claims().get(name)
    own = [one for one in (good if isinstance(good, list) else [good]) if isinstance(one, str)]
    alike = [other for one in own for other in (f"{one}.example", f"{one}/x", f"x{one}", one[:-1], one[1:])]
    nested: list[Any] = [value for one in own for value in ({one: one}, [[one]])]
    other: Any
    for other in ("https://somebody-else.example", *alike, alike, *nested, [], "", 7, ...):
        subject.refused(subject.token(**{name: other}), f"a token with {name} {other!r}")


def _refuses_expired(subject: Subject) -> None:
    now = int(_clock.wall())
    nbf = now - 1000 if "nbf" in subject.claims() else ...  # a provider may require it
    error = subject.refused(subject.token(iat=now - 1000, nbf=nbf, exp=now - 400), "an expired token")
    expect(isinstance(error, ExpiredCredentials), f"an expired token is {error.reason}, not expired")
    expect(not error.session_is_over, "an expired token ends its session, which may go on with a newer one")
    name = rules_of(subject).audience_claim
    wrong = subject.token(iat=now - 1000, nbf=nbf, exp=now - 400, iss="https://elsewhere.example")
    error = subject.refused(wrong, f"an expired token of another issuer ({name})")
    expect(not isinstance(error, ExpiredCredentials), "a foreign token is called expired")


def _refuses_times(subject: Subject) -> None:
    now, longest = int(_clock.wall()), rules_of(subject).longest_life
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


def _refuses_kinds(subject: Subject) -> None:
    for kind in ("logout+jwt", "secevent+jwt", "dpop+jwt"):
        subject.refused(subject.token({"typ": kind}), f"a token of the type {kind}")
    subject.refused(subject.token({"crit": ["exp"]}), "a token with a critical header")
    subject.refused(".".join(("eyJhbGciOiJSU0EtT0FFUCJ9", "AA", "AA", "AA", "AA")), "an encrypted token")
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    subject.refused(subject.token(events=events), "a logout token")


def _refuses_id_token(subject: Subject, claims: Mapping[str, Any]) -> None:
    if claims:
        subject.refused(subject.token(**claims), "an ID token")


def _refuses_bound(subject: Subject) -> None:
    for how in ({"jkt": "thumbprint"}, {"x5t#S256": "thumbprint"}):
        subject.refused(subject.token(cnf=how), "a token that is bound to a key, presented as Bearer (RFC 9449)")


def _refuses_no_user(subject: Subject) -> None:
    for value in (..., "", None, 7, ["user"], {"id": "user"}):
        what = f"a token with {subject.user_claim} {value!r}"
        subject.refused(subject.token(**{subject.user_claim: value}), what)


def _refuses_opaque(subject: Subject) -> None:
    if "introspect" not in subject.make().capabilities:
        subject.refused(OPAQUE, "an opaque credential")


def _reads_hostile(subject: Subject) -> None:
    provider, good = subject.make(), dict(subject.claims())
    now = good["exp"]
    for name in (*good, "act"):
        left_out = () if name in ("iss", "iat", "exp") else (...,)  # without these it comes to no reader
        for value in (*_ODD, *left_out):
            payload = {key: one for key, one in {**good, name: value}.items() if one is not ...}
            session_id, users = provider.jwt_claims.claimed_ids(payload)
            expect(session_id is None or isinstance(session_id, str), f"claimed_ids returns {name} as it is")
            expect(all(isinstance(user, str) for user in users), f"claimed_ids returns {name} as it is")
            try:
                found = provider.jwt_claims.session_claims(payload, now)
            except InvalidCredentials:
                continue
            _reads(provider, payload, found, f"{name} {value!r:.40}")


def _reads(provider: Provider, payload: Mapping[str, Any], found: SessionClaims, what: str) -> None:
    """Check what an odd payload was read as, if it was not refused."""
    ids: tuple[Any, ...] = (found.user_id, found.session_id)
    expect(all(isinstance(one, str) and one for one in ids), f"{what} gave the ids {ids!r:.80}")
    actor: Any = found.actor
    expect(actor is None or (isinstance(actor, str) and bool(actor)), f"{what} gave the actor {actor!r:.80}")
    if all(isinstance(payload.get(name), int) and 0 < payload[name] < 2**33 for name in ("iat", "exp")):
        body = json.dumps(dict(payload)).encode()  # the core has checked both by now
        provider.user(body)
        provider.session(body)


def _keeps_users_apart(subject: Subject) -> None:
    provider = subject.make()
    ids = ("a", "user_a", "auth0|a", "A", "ä", "b", "user_b", "auth0|b")
    for one in ids:
        expect(provider.same_user(one, provider.key_of_user(one)), f"key_of_user({one!r}) is another user")
        for other in ids:
            same, alike = provider.same_user(one, other), provider.key_of_user(one) == provider.key_of_user(other)
            expect(same == alike, f"same_user and key_of_user differ about {one!r} and {other!r}")
            expect(not same or one[-1] != "a" or other[-1] != "b", f"{one!r} and {other!r} are one user")
    found = [subject.shown(subject.token(**{subject.user_claim: one})) for one in ("Ab-1", "ab-1")]
    if all(auth.is_authenticated for auth in found):  # else its ids have a form of their own
        one, other = (entry.user_id for entry in map(cache_entry, found) if entry is not None)
        expect(
            one != other or provider.same_user("Ab-1", "ab-1"),
            "two users whose ids differ in case have become one, which same_user denies",
        )


def _refuses_operations(subject: Subject) -> None:
    provider: Any = subject.make()
    calls: dict[Capability, Callable[[], Any]] = {
        "get_user": lambda: provider.get_user("user"),
        "introspect": lambda: provider.introspect(subject.request()),
        "list_sessions": lambda: provider.list_sessions("user"),
        "revoke_session": lambda: provider.revoke("session_token", OPAQUE),
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


def _encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(dict(value)).encode()).rstrip(b"=").decode()
