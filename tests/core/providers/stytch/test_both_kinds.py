"""What holds for consumers and for members alike: fresh answers where a route wants them, renewed connections."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import Auth, InvalidCredentials, Requirements, Settings, Stytch
from moonkey_core._operations.core import Core
from moonkey_core._session_life.watch_policy import WatchedSession
from moonkey_core.provider import StytchB2B
from moonkey_core.web.request import mapped_headers
from support.signed_tokens import key_set
from support.stytch_tokens import CLAIM, ORGANIZATION, PROJECT, SECRET, at, jwt, session_claim

NOW = 1_777_629_600
KINDS: dict[str, Any] = {"stytch": Stytch, "stytch_b2b": StytchB2B}
each_kind = pytest.mark.parametrize("kind", KINDS)


def core_of(kind: str) -> Core:
    return Core(Settings.load({"provider": KINDS[kind](PROJECT, SECRET, keys=key_set())}, {}), lambda: float(NOW))


def jwt_of(kind: str, now: float = NOW, **changes: Any) -> str:
    organization = {"organization_id": "organization-test-1", "slug": "first"}
    return jwt(now, **{**({ORGANIZATION: organization} if kind == "stytch_b2b" else {}), **changes})


def judged(core: Core, token: str) -> Auth:
    found = core.begin(mapped_headers({"authorization": f"Bearer {token}"}), None)
    assert isinstance(found, Auth)
    assert found.is_authenticated, found.error
    return found


@each_kind
def test_stytch_is_asked_where_a_route_wants_it_fresh(kind: str) -> None:
    core, headers = core_of(kind), mapped_headers({"authorization": f"Bearer {jwt_of(kind)}"})
    assert isinstance(core.begin(headers, None), Auth)
    pending = core.begin(headers, Requirements(max_staleness=0))
    assert not isinstance(pending, Auth)
    fetch = next(core.finish(pending))
    assert fetch.operation == "sessions.verify"
    assert fetch.json == {"session_jwt": jwt_of(kind)}


@each_kind
def test_a_newer_jwt_renews_a_connection_of_its_session(kind: str) -> None:
    core = core_of(kind)
    watched = WatchedSession(judged(core, jwt_of(kind, NOW - 60)), NOW, can_verify=True)
    later: dict[str, Any] = {CLAIM: session_claim(NOW, expires_at=at(NOW + 9000))}
    watched.renew(judged(core, jwt_of(kind, **later)), NOW, (), core.revocations)
    assert watched.ends_at == NOW + 9000
    others: list[dict[str, Any]] = [
        {"sub": "user-test-other"},
        {CLAIM: session_claim(NOW, id="session-test-other")},
    ]
    for other in others:
        with pytest.raises(InvalidCredentials) as refused:
            watched.renew(judged(core, jwt_of(kind, **other)), NOW, (), core.revocations)
        assert refused.value.reason == "renewal_refused"
