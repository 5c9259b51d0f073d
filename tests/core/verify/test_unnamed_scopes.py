"""Ids of a scope that the provider does not name could meet equal ids of another one: they are never accepted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from own_provider import PlainIssuer

from moonkey_core import MoonKey
from moonkey_core._plan import Plan
from moonkey_core.auth import Auth
from moonkey_core.provider import IntrospectionRequest, IntrospectionResult, KeySource, SessionClaims
from support.decisions import NOW, replied
from support.foreign_tokens import AUDIENCE, ISSUER, ForeignDecisions, jwks_body, key_set, token

SCOPES: list[Any] = ["elsewhere", "", ISSUER + "/", ISSUER.upper(), "plain", None, 7]


class Scoped(PlainIssuer):
    """A provider whose ids belong to ``scope``. It can be asked, too."""

    capabilities = frozenset({"introspect"})
    scope: Any = ISSUER

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        return super().session_claims(payload, expires_at)._replace(scope=self.scope)

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        yield from ()
        claims = {"sub": "u", "sid": "s", "iat": NOW, "exp": NOW + 600}
        return IntrospectionResult("s", "u", NOW, NOW + 600, NOW, claims, scope=self.scope)


def made(scope: Any, keys: KeySource | None = None) -> Scoped:
    found = Scoped(ISSUER, AUDIENCE, keys or KeySource(jwks=key_set("RS256")))
    found.scope = scope
    return found


def jwt(decisions: ForeignDecisions) -> Auth:
    return decisions.read({"authorization": [f"Bearer {token()}"]})


def opaque(decisions: ForeignDecisions) -> Auth:
    return decisions.read({"authorization": ["Bearer " + "a" * 40]})


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("show", [jwt, opaque])
def test_they_are_refused_as_a_fault_of_the_provider(scope: Any, show: Callable[[ForeignDecisions], Auth]) -> None:
    decisions = ForeignDecisions(made(scope))
    for _ in range(2):
        auth = show(decisions)
        assert auth.is_unavailable
        assert auth.error is not None
        assert (auth.error.status, auth.error.reason) == (500, "provider_scope")
        assert not isinstance(scope, str) or repr(scope) in str(auth.error)
    assert show(ForeignDecisions(made(ISSUER))).is_authenticated
    assert show(ForeignDecisions(made("moonkey"))).is_authenticated  # none is given: that of the issuer


def test_also_where_the_key_has_to_be_fetched_first() -> None:
    decisions = ForeignDecisions(made("elsewhere", KeySource(url="https://keys.example.net/k")))
    decisions.answer = lambda _: replied(200, jwks_body("RS256"))
    for _ in range(2):
        error = jwt(decisions).error
        assert error is not None
        assert error.reason == "provider_scope"


def test_among_several_providers_it_takes_no_scope_of_another() -> None:
    other = PlainIssuer("https://other.example.com", AUDIENCE, KeySource(jwks=key_set("RS256")))
    other.name = "other"
    for scope, accepted in (("https://other.example.com", False), (ISSUER, True)):
        with MoonKey(providers=[made(scope), other], cache_secret="c" * 32) as client:
            now = int(time.time())
            auth = client.authenticate({"authorization": f"Bearer {token(iat=now - 1, exp=now + 600)}"})
            assert auth.is_authenticated is accepted, auth.error
            assert accepted or (auth.error is not None and auth.error.reason == "provider_scope")
