"""The models that an app's own provider makes: requests share them, so nothing in them can be changed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from own_provider import PlainIssuer

from moonkey_core import MoonKey
from moonkey_core.models import Factor, Grants, Session, User
from moonkey_core.provider import Body, KeySource, decoded
from support.changes import refused_changes
from support.foreign_tokens import AUDIENCE, ISSUER, key_set, token


class Careless(PlainIssuer):
    """A provider that hands on the claims themselves, and takes them apart where it can."""

    def user(self, body: Body) -> User:
        claims: Any = decoded(body)
        return User(claims.pop("sub"), extra=claims)

    def session(self, body: Body) -> Session:
        claims: Any = decoded(body)
        end = datetime.fromtimestamp(claims["exp"], UTC)
        factors: Any = [Factor("otp", extra={"of": ["a"]})]
        grants = Grants(roles=claims["roles"])
        return Session(claims["sid"], claims["sub"], end, factors=factors, extra=claims, grants=grants)


def everything(user: User, session: Session) -> str:
    return repr((user.id, user.extra, session.claims, session.factors, session.factors[0].extra, session.grants))


@pytest.mark.rule("S25", "jwt")
@pytest.mark.parametrize("kind", [PlainIssuer, Careless])
def test_no_request_changes_what_the_next_one_sees(kind: type[PlainIssuer]) -> None:
    now = int(time.time())
    jwt = token(iat=now - 1, exp=now + 600, roles=["reader"], teams=[{"id": 1, "of": ["a"]}])
    seen = set[str]()
    with MoonKey(provider=kind(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))) as client:
        for source in ("local", "cache", "cache"):
            auth = client.authenticate({"authorization": f"Bearer {jwt}"})
            assert auth.source == source
            assert auth.is_authenticated
            user, session = auth.user, auth.session
            seen.add(everything(user, session) if kind is Careless else repr((user, session.claims)))
            assert refused_changes(user) + refused_changes(session) > 50
            assert session.roles == ("reader",)
    assert len(seen) == 1
    assert "teams" in seen.pop()
