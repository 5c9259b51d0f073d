"""The suite for providers of one's own: the documented one passes, and one that leaves a rule out does not."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from own_provider import PlainIssuer

from moonkey_core.provider import (
    Fetch,
    IntrospectionRequest,
    IntrospectionResult,
    InvalidCredentials,
    KeySource,
    Plan,
    ProviderUnavailable,
    Reply,
    Session,
    SessionClaims,
)
from moonkey_core.testing import provider_conformance
from support.documents import run, text
from support.foreign_tokens import AUDIENCE, ISSUER, claims, key_set, private_key


def make() -> PlainIssuer:
    return PlainIssuer(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))


def sign(header: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    headers = {"kid": "key of RS256", "typ": "at+jwt", **header}
    return pyjwt.encode(dict(body), private_key("RS256"), "RS256", headers=headers)


def good() -> Mapping[str, Any]:
    return claims(time.time())


CHECKS = provider_conformance(make, sign, good)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_the_documented_provider_passes(check: Any) -> None:
    check()


def failures(made: Any) -> list[str]:
    found = []
    for check in provider_conformance(made, sign, good):
        try:
            check()
        except AssertionError:
            found.append(check.name)
    return found


def change_rules(made: PlainIssuer, **changes: Any) -> PlainIssuer:
    assert made.jwt_rules is not None
    made.jwt_rules = dataclasses.replace(made.jwt_rules, **changes)
    return made


def without_audience() -> PlainIssuer:
    return change_rules(make(), audience=())


def any_type() -> PlainIssuer:
    return change_rules(make(), types=frozenset({"jwt", "at+jwt", "logout+jwt", "secevent+jwt"}))


class Careless(PlainIssuer):
    """It believes every claim."""

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        return SessionClaims(payload.get("sub", ""), payload.get("sid", ""), None, expires_at, payload["iss"])


def careless() -> PlainIssuer:
    return Careless(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))


def test_a_provider_without_its_audience_rule_fails() -> None:
    assert failures(without_audience) == ["refuses another audience"]


def test_a_provider_that_takes_any_type_fails() -> None:
    assert failures(any_type) == ["refuses tokens of other kinds"]


def test_a_provider_that_believes_every_claim_fails() -> None:
    assert {
        "refuses a token that is bound to a key",
        "refuses a token without a user",
        "reads hostile claims without an exception",
    } <= set(failures(careless))


class Variant(PlainIssuer):
    """It has read the session, and then changes it."""

    change: Mapping[str, Any] = {}

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        found = super().session_claims(payload, expires_at)
        return found._replace(**{name: value(payload) for name, value in self.change.items()})


class IdTokens(PlainIssuer):
    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        return super().session_claims({k: v for k, v in payload.items() if k != "nonce"}, expires_at)


class LooseAudience(PlainIssuer):
    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        if AUDIENCE not in str(payload.get("aud")):
            raise InvalidCredentials(reason="jwt_audience")
        return super().session_claims(payload, expires_at)


class LastingSession(PlainIssuer):
    def session(self, body: Any) -> Session:
        found = super().session(body)
        return found.replace(expires_at=found.expires_at + timedelta(days=1))


class OtherIds(PlainIssuer):
    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        return "another session", ("another user",)


class OneSpelling(PlainIssuer):
    def key_of_user(self, user_id: str) -> str:
        return user_id.lower()


def varied(**change: Any) -> type[PlainIssuer]:
    return type("Varied", (Variant,), {"change": change})


BROKEN: dict[str, tuple[type[PlainIssuer], str]] = {
    "ID tokens": (IdTokens, "refuses an ID token"),
    "an audience that only looks like it": (LooseAudience, "refuses another audience"),
    "a session that outlasts its token": (LastingSession, "accepts a good token"),
    "other ids before it is verified": (OtherIds, "accepts a good token"),
    "two normal forms": (OneSpelling, "keeps users apart"),
    "users in lower case": (varied(user_id=lambda found: found["sub"].lower()), "keeps users apart"),
    "a start that is each time another": (
        varied(started_at=lambda _: time.time()),
        "names one session for one token",
    ),
    "a scope that it does not name": (varied(scope=lambda _: "elsewhere"), "names the scope of its ids"),
    "a start that is to come": (varied(started_at=lambda _: 9e9), "accepts a good token"),
    "an actor as it stands there": (
        varied(actor=lambda found: found.get("act")),
        "reads hostile claims without an exception",
    ),
    "a call that it cannot make": (
        type("Asking", (PlainIssuer,), {"capabilities": frozenset({"introspect"})}),
        "says what it is",
    ),
    "a refresh without a call": (
        type("Refreshing", (PlainIssuer,), {"capabilities": frozenset({"refresh_jwt"})}),
        "says what it is",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_provider_fails(what: str) -> None:
    kind, name = BROKEN[what]

    def broken() -> PlainIssuer:
        made = kind(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))
        return change_rules(made, audience=()) if kind is LooseAudience else made

    found = next(check for check in provider_conformance(broken, sign, good) if check.name == name)
    with pytest.raises(AssertionError):
        found()


class Asking(PlainIssuer):
    """It can be asked about a credential as well, by one call."""

    capabilities = frozenset({"introspect"})
    scope = ISSUER
    kept: Any = staticmethod(lambda body: {name: value for name, value in body.items() if name != "token"})
    judged: Any = None

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        reply = yield Fetch("POST", "https://id.example/ask", json={"token": request.value}, judge=self.judged)
        return self.read(reply)

    def read(self, reply: Any) -> IntrospectionResult:
        if not isinstance(reply, Reply) or reply.status >= 500 or reply.status == 429:
            raise ProviderUnavailable
        try:
            body = json.loads(reply.body)
            good = reply.status == 200 and isinstance(body["sub"], str) and isinstance(body["exp"], int)
        except (ValueError, KeyError, TypeError):
            raise ProviderUnavailable from None
        if not good:
            raise InvalidCredentials
        return IntrospectionResult(body["sid"], body["sub"], None, float(body["exp"]), 0.0, body, scope=self.scope)

    def without_credentials(self, body: Any) -> Any:
        return json.dumps(self.kept(body)).encode()


def answer(fetch: Fetch) -> Reply:
    assert fetch.json is not None
    return Reply(200, {}, json.dumps({**good(), "token": fetch.json["token"]}).encode())


def asking(**change: Any) -> Callable[[], Asking]:
    kind: Any = type("Changed", (Asking,), change)
    return lambda: kind(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))


def failures_of(made: Callable[[], Any], replies: Any = answer) -> set[str]:
    found = set()
    for check in provider_conformance(made, sign, good, answer=replies)[-11:]:
        try:
            check()
        except AssertionError:
            found.add(check.name)
    return found


def says_no_to_all(self: Any, reply: Any) -> Any:
    raise InvalidCredentials


def breaks(self: Any, reply: Any) -> Any:
    return Asking.read(self, Reply(200, {}, json.dumps({**good(), **json.loads(reply.body)}).encode()))


READS, TROUBLE, ANY = (
    "reads the reply about a good credential",
    "takes no trouble for a refusal",
    "judges any reply without an exception",
)
MFA = "says which second factors a user has only where it can"


def test_a_provider_that_can_be_asked_passes() -> None:
    assert failures_of(asking()) == set()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"scope": "elsewhere"}, READS),
        ({"scope": "moonkey"}, READS),
        ({"kept": staticmethod(lambda body: body)}, READS),
        ({"kept": staticmethod(lambda body: {**body, "sub": "another", "token": ""})}, READS),
        ({"kept": staticmethod(lambda body: {**body, "sid": "another", "token": ""})}, READS),
        ({"judged": staticmethod(lambda reply: "refusal")}, READS),
        ({"judged": staticmethod(lambda reply: "success")}, TROUBLE),
        ({"read": says_no_to_all}, TROUBLE),
        ({"judged": staticmethod(lambda reply: json.loads(reply.body) and "success")}, ANY),
        ({"judged": staticmethod(lambda reply: "fine")}, ANY),
        ({"read": breaks}, ANY),
    ],
)
def test_a_provider_that_reads_replies_wrongly_fails(change: dict[str, Any], name: str) -> None:
    assert name in failures_of(asking(**change))


def test_a_provider_that_can_be_asked_needs_an_answer() -> None:
    assert failures_of(asking(), None) == {READS, MFA}


def test_a_provider_that_does_more_than_it_says_fails() -> None:
    assert "refuses what it cannot do" in failures_of(asking(capabilities=frozenset()))


@pytest.mark.parametrize(
    "capability",
    ["list_sessions", "revoke_session", "revoke_user", "sign_in", "custom_claims", "authorization_check"],
)
def test_a_provider_that_says_more_than_it_does_fails(capability: str) -> None:
    made = asking(capabilities=frozenset({"introspect", capability}))
    first = provider_conformance(made, sign, good)[0]
    with pytest.raises(AssertionError, match=f"its capability {capability} needs"):
        first()


def test_a_provider_of_id_tokens_passes_if_it_says_so() -> None:
    def made() -> IdTokens:
        return IdTokens(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))

    for check in provider_conformance(made, sign, good, id_claims={}):
        if check.name == "refuses an ID token":
            check()


def test_the_example_is_the_one_in_the_documentation_and_has_forty_lines() -> None:
    source = (Path(__file__).parents[3] / "examples" / "own_provider.py").read_text()
    assert len(source.splitlines()) <= 40
    assert source in text("docs/providers.md")


def test_the_documented_provider_and_its_test_run_as_they_are_written() -> None:
    own = run("docs/providers.md", "own")["PlainIssuer"]
    shown = {"PlainIssuer": own, "KeySource": KeySource, "ISSUER": ISSUER, "AUDIENCE": AUDIENCE}
    keys = {"PUBLIC_KEYS": key_set("RS256"), "PRIVATE_KEY": private_key("RS256")}
    names = run("docs/providers.md", "conformance", **shown, **keys)
    assert names["make"]().jwt_rules.issuers == (ISSUER,)
    assert "test_my_provider" in names
