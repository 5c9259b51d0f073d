"""A demand for freshness that a shared or a stored answer does not meet: asked again, and by a call of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import Auth
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.arguments import given
from moonkey_core._plan import Fetch, Outcome, Reply
from moonkey_core.gate import Requirements
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW, verified_body
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
FRESH, OLD = good(NOW - 20), good(NOW - 400)
GET = RequestInfo("GET", "https")
HOUR_AGO = int(NOW) - 3600


@dataclass
class Feed:
    is_live: bool = False
    unsent: int = 0

    def lag(self) -> float:
        return 7.0


class Late(KnownToTheApi):
    """Whatever others may have asked before was answered ``age`` seconds ago; a call of one's own is answered now.

    With a store of the fleet, what it keeps is as old.
    """

    def __init__(self, age: float, *, store: bool = False, **options: Any) -> None:
        super().__init__([TOKEN, FRESH, OLD], cookies=True, **options)
        self.age = age
        if store:
            self.core.introspector._store_name = lambda _: "place"
        self.answer = self.late
        self.good[TOKEN] = {"session_token": TOKEN, "session_jwt": good(NOW - 1)}
        self.good[OLD] = {"session_jwt": good(NOW - 1)}

    def late(self, fetch: Fetch) -> Outcome:
        found = self.by_heart(fetch)
        assert isinstance(found, Reply)
        if fetch.coalesce_key is None and fetch.store_policy is None:
            return found
        body = self.core.provider.without_credentials(json.loads(found.body)) if fetch.store_policy else found.body
        assert isinstance(body, bytes)
        return Reply(200, {}, body, asked_at=self.now - self.age, from_store=fetch.store_policy is not None)


def cookies(token: str, jwt: str | None = None) -> dict[str, list[str]]:
    line = f"__Host-moonkey_session={token}" + ("" if jwt is None else f"; __Host-moonkey_jwt={jwt}")
    return {"cookie": [line]}


PRESENTED: dict[str, dict[str, list[str]]] = {
    "a token": {"session-token": [TOKEN]},
    "a bearer token": {"authorization": [f"Bearer {TOKEN}"]},
    "a JWT": {"session-token": [FRESH]},
    "an old JWT": {"authorization": [f"Bearer {OLD}"]},
    "a cookie": cookies(TOKEN),
    "a pair": cookies(TOKEN, FRESH),
    "a pair with an old JWT": cookies(TOKEN, OLD),
    "a pair with junk": cookies(TOKEN, "junk"),
}


def asked_twice(decisions: Late, headers: dict[str, list[str]], requirements: Requirements | None) -> Auth:
    auth = decisions.read(headers, requirements, GET)
    assert auth.is_authenticated, auth
    first, second = (fetch for fetch in decisions.fetches if "sessions/verify" in fetch.url)
    assert first.coalesce_key is not None
    assert (second.coalesce_key, second.store_policy, second.ttl) == (None, None, 0)  # nobody else's answer
    assert first.json == second.json
    assert (auth.source, auth.as_of) == ("remote", decisions.now)
    return auth


def asked_once(decisions: Late, headers: dict[str, list[str]], requirements: Requirements | None) -> None:
    auth = decisions.read(headers, requirements, GET)
    assert auth.is_authenticated, auth
    assert decisions.asked == 1
    assert auth.as_of == decisions.now - decisions.age


@pytest.mark.parametrize("presented", PRESENTED)
class TestOfARoute:
    """``max_staleness=2``."""

    def test_an_answer_that_is_too_old_whenever_it_is_shared(self, presented: str) -> None:
        asked_twice(Late(2.1), PRESENTED[presented], Requirements(max_staleness=2))

    def test_one_that_is_just_fresh_enough(self, presented: str) -> None:
        asked_once(Late(2), PRESENTED[presented], Requirements(max_staleness=2))

    @pytest.mark.parametrize("ttl", [1, 60])
    def test_one_that_the_fleet_keeps(self, presented: str, ttl: float) -> None:
        """The store is asked for no older one; if it gives one, that is not believed."""
        decisions = Late(5, store=True, session_cache_ttl=ttl)
        asked_twice(decisions, PRESENTED[presented], Requirements(max_staleness=2))
        stored = decisions.fetches[0].store_policy
        if stored is not None:
            assert stored.max_age == min(ttl, 2)

    def test_none_at_all_is_taken_where_it_has_to_be_of_now(self, presented: str) -> None:
        decisions = Late(0.1, store=True, session_cache_ttl=60)
        auth = decisions.read(PRESENTED[presented], Requirements(max_staleness=0), GET)
        assert (auth.source, auth.as_of, decisions.asked) == ("remote", NOW, 1)
        assert (decisions.fetches[0].coalesce_key, decisions.fetches[0].store_policy) == (None, None)


@pytest.mark.parametrize("presented", PRESENTED)
class TestOfALostFeed:
    """Revocations of the last ``max_revocation_lag`` seconds may have been missed, and no more."""

    @pytest.mark.parametrize("store", [False, True])
    def test_an_answer_that_is_five_seconds_old(self, presented: str, store: bool) -> None:
        decisions = Late(5, store=store, feed=Feed(), session_cache_ttl=60, max_revocation_lag=1)
        asked_twice(decisions, PRESENTED[presented], None)

    def test_one_of_the_last_moment(self, presented: str) -> None:
        asked_once(Late(1, feed=Feed(), max_revocation_lag=1), PRESENTED[presented], None)

    def test_the_shorter_time_counts(self, presented: str) -> None:
        for lag, most in ((1, 30), (30, 1)):
            decisions = Late(5, feed=Feed(), max_revocation_lag=lag)
            asked_twice(decisions, PRESENTED[presented], Requirements(max_staleness=most))

    def test_an_app_that_goes_on_does_not_mind(self, presented: str) -> None:
        decisions = Late(5, feed=Feed(), on_feed_lost="local")
        auth = decisions.read(PRESENTED[presented], None, GET)
        assert auth.is_authenticated
        assert decisions.asked <= 1


@pytest.mark.parametrize("presented", ["a token", "a bearer token", "a cookie", "a pair with junk", "a new JWT"])
def test_a_session_that_is_doubted_is_asked_about_after_the_doubt(presented: str) -> None:
    """It began in the very moment in which others of its user were ended: a shared answer may be from before."""
    new = good(NOW)
    decisions = Late(0.5, leeway=0)
    for credential in (TOKEN, new):
        decisions.good[credential] = {"session": {"started_at": int(NOW)}}
    decisions.core.revocations.add_cutoff("user_1", keep=None)
    assert decisions.core.revocations.needs_introspection("sess_1", "user_1", NOW)
    asked_twice(decisions, PRESENTED.get(presented, {"session-token": [new]}), None)


def share_of(decisions: KnownToTheApi, credential: str, extend: int | None = None) -> str | None:
    kind: Any = "session_jwt" if "." in credential else "session_token"
    fetch = next(decisions.core.authenticator.verify(given(kind, credential), extend))
    assert "sessions/verify" in fetch.url
    assert (fetch.json or {}).get("session_expires_in") == extend
    return fetch.coalesce_key


class TestExtending:
    """Who extends a session shares the answer of nobody who does not, nor of one who extends it otherwise."""

    @pytest.mark.parametrize("credential", [TOKEN, FRESH, OLD], ids=["token", "JWT", "old JWT"])
    @pytest.mark.parametrize("options", [{}, {"jwt_issuer": ""}, {"session_cache_ttl": 60}], ids=repr)
    def test_a_method(self, credential: str, options: dict[str, Any]) -> None:
        for minutes in (10, 60):
            assert share_of(KnownToTheApi(**options), credential, minutes) is None

    @pytest.mark.parametrize("presented", ["an old JWT", "a pair with an old JWT"])
    def test_by_the_way(self, presented: str) -> None:
        """An old JWT is renewed in the same call; those who extend it by other minutes are others."""
        shares = set()
        for days in (None, 7, 14):
            extend = {} if days is None else {"extend_on_activity": timedelta(days=days)}
            decisions = KnownToTheApi([TOKEN], cookies=True, load_user=False, **extend)
            old = good(NOW - 400, session={"id": "sess_1", "started_at": HOUR_AGO, "expires_at": int(NOW) + 600})
            headers = cookies(TOKEN, old) if "pair" in presented else {"session-token": [old]}
            decisions.good[old] = decisions.good[TOKEN] = {"session_jwt": good(NOW - 1)}
            assert decisions.read(headers, None, GET).is_authenticated
            (fetch,) = decisions.fetches
            assert ("session_expires_in" in (fetch.json or {})) == (days is not None)
            assert fetch.coalesce_key is not None
            shares.add(fetch.coalesce_key.rsplit(":", 1)[0])  # the last part is a digest with a key of its own
        assert len(shares) == 3

    @pytest.mark.parametrize("presented", ["a token", "a JWT", "a cookie", "a pair"])
    def test_off_the_path_of_a_request(self, presented: str) -> None:
        later: list[Fetch] = []
        options: dict[str, Any] = {"extend_on_activity": timedelta(days=7), "cookies": True}
        decisions = KnownToTheApi([TOKEN], **options)
        jwt = good(NOW - 20, session={"id": "sess_1", "started_at": HOUR_AGO, "expires_at": int(NOW) + 600})
        changes = {"session": {"started_at": HOUR_AGO, "expires_at": int(NOW) + 600}}
        decisions.good = {TOKEN: changes, jwt: changes}
        headers = {
            name: [line.replace(FRESH, jwt) for line in lines] for name, lines in PRESENTED[presented].items()
        }
        assert decisions.read(headers, None, GET).is_authenticated
        later = [fetch for fetch in decisions.fetches if "session_expires_in" in (fetch.json or {})]
        assert len(later) == 1
        assert (later[0].coalesce_key, later[0].store_policy) == (None, None)


def test_the_answer_of_a_method_is_of_now_too() -> None:
    decisions = Late(5, feed=Feed())
    plan = operations.verify(decisions.core, session_token=TOKEN)
    first = next(plan)
    second = plan.send(decisions.late(first))
    assert (first.coalesce_key is None, second.coalesce_key) == (False, None)
    with pytest.raises(StopIteration) as done:
        plan.send(decisions.late(second))
    assert done.value.value.user.id == verified_body()["session"]["user_id"]
