"""Whoever acts for a user is told to the hooks, with each request that is made so."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import MoonKey
from moonkey_core.emulator.oidc.server import OidcEmulator
from moonkey_core.events import Delegated, Verified
from moonkey_core.provider import OIDC


@pytest.mark.parametrize("kind", ["user", "machine"])
def test_each_request(oidc: OidcEmulator, kind: str) -> None:
    seen: list[Any] = []
    act = {"sub": "support", "act": {"sub": "history"}}
    token = oidc.token(kind=kind, session_id="s1", user_id="u1", claims={"act": act})
    provider = OIDC(oidc.issuer, oidc.audience, keys=oidc.jwks(), allow_machines=True)
    with MoonKey(provider=provider) as client:
        client.hooks.add(seen.append)
        for one in (token, token, oidc.token(kind=kind)):
            auth = client.authenticate({"authorization": f"Bearer {one}"})
            assert auth.principal == kind
    found = [one for one in seen if isinstance(one, Delegated)]
    assert [one.actor for one in found] == ["support"] * 2
    assert {(one.scope, one.provider) for one in found} == {(oidc.issuer, "oidc")}
    if kind == "user":
        assert (found[0].user_id, found[0].session_id) == ("u1", "s1")
    outcomes = [one.outcome for one in seen if isinstance(one, Verified)]
    assert outcomes == ["authenticated" if kind == "user" else "machine"] * 3


def test_an_actor_that_cannot_be_read_is_refused(oidc: OidcEmulator) -> None:
    with MoonKey(provider=OIDC(oidc.issuer, oidc.audience, keys=oidc.jwks())) as client:
        odd: list[Any] = ["support", {}, {"sub": 7}, {"sub": ""}, [], {"sub": "a\nb"}]
        for act in odd:
            auth = client.authenticate({"authorization": f"Bearer {oidc.token(claims={'act': act})}"})
            assert auth.is_rejected, act
