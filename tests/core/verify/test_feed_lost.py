"""What a worker does while it may have missed revocations: it trusts no JWT by itself, until the feed is back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from moonkey_core import Auth, InvalidCredentials, ProviderUnavailable, RevokedCredentials
from moonkey_core._operations.client_base import health_report
from moonkey_core.gate import Requirements
from support.cookie_visits import FRESH, visit
from support.decisions import NOW
from support.jwks_decisions import JwksDecisions
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
NOWHERE = "redis://127.0.0.1:1/0"


@dataclass
class FakeFeed:
    """A feed that is live or lost as the test says."""

    is_live: bool = True
    unsent: int = 0
    known: float = math.inf
    is_starting: bool = False
    trouble: str | None = None

    def known_for(self) -> float:
        return self.known

    def lag(self) -> float:
        return 0.25 if self.is_live else 7.0


def made(feed: FakeFeed, **options: Any) -> tuple[KnownToTheApi, str]:
    """Decisions, and a JWT of a session that the API knows as well."""
    jwt = good(NOW - 1)
    return KnownToTheApi([jwt, TOKEN], feed=feed, **options), jwt


@pytest.mark.rule("S36")
def test_while_it_is_live_jwts_are_judged_here() -> None:
    decisions, jwt = made(FakeFeed())
    assert [decisions.authenticate(jwt).source for _ in range(3)] == ["local", "cache", "cache"]
    assert decisions.fetches == []


@pytest.mark.rule("S36", "jwt")
@pytest.mark.parametrize("seen_before", [True, False])
def test_when_it_is_lost_the_api_is_asked(seen_before: bool) -> None:
    feed = FakeFeed()
    decisions, jwt = made(feed)
    if seen_before:
        assert decisions.authenticate(jwt).source == "local"
    feed.is_live = False
    assert decisions.known({"session-token": [jwt]}) is None
    auth = decisions.authenticate(jwt)
    assert (auth.source, auth.as_of, decisions.asked) == ("remote", NOW, 1)
    assert auth.user is not None
    assert auth.user.id == "user_1"
    del decisions.good[jwt]  # ended elsewhere, and nobody has told us
    decisions.now += 1.1
    assert isinstance(decisions.authenticate(jwt).error, InvalidCredentials)


@pytest.mark.usefixtures("exact_lives")
@pytest.mark.rule("S36")
@pytest.mark.parametrize("lag", [0.1, 1, 5, 60])
def test_an_answer_is_reused_for_the_greatest_lag(lag: float) -> None:
    decisions, jwt = made(FakeFeed(is_live=False), max_revocation_lag=lag)
    assert decisions.authenticate(jwt).source == "remote"
    del decisions.good[jwt]
    decisions.now = NOW + lag * 0.99
    auth = decisions.authenticate(jwt)
    assert (auth.source, auth.as_of, decisions.asked) == ("cache", NOW, 1)
    assert decisions.known({"session-token": [jwt]}) is not None
    decisions.now = NOW + lag * 1.01
    assert decisions.known({"session-token": [jwt]}) is None
    assert decisions.authenticate(jwt).is_rejected
    assert decisions.asked == 2


@pytest.mark.rule("S36", "pair")
def test_an_answer_about_a_pair_is_reused_as_long() -> None:
    decisions, _ = made(FakeFeed(is_live=False), cookies=True)
    first, again = visit(decisions, jwt=FRESH), visit(decisions, jwt=FRESH)
    assert (first.source, again.source, again.as_of, decisions.asked) == ("remote", "cache", NOW, 1)
    decisions.now += 1.1
    assert visit(decisions, jwt=FRESH).source == "remote"
    del decisions.good[TOKEN]
    decisions.now += 1.1
    assert visit(decisions, jwt=FRESH).is_rejected


@pytest.mark.rule("S34")
def test_an_answer_about_a_pair_makes_its_jwt_fresher() -> None:
    decisions = KnownToTheApi([TOKEN], cookies=True)
    decisions.now += 100
    wanted = Requirements(max_staleness=60)
    sources = [visit(decisions, jwt=FRESH, requirements=wanted).source for _ in range(3)]
    assert sources == ["remote", "cache", "cache"]
    assert decisions.asked == 1
    assert decisions.authenticate(TOKEN).source == "remote"  # the token alone is not remembered


def test_an_answer_is_shared_and_does_not_linger() -> None:
    decisions, jwt = made(FakeFeed(is_live=False))
    shares = set()
    for _ in range(3):
        plan, fetch = decisions.begin(jwt)
        shares.add(fetch.coalesce_key)
        assert fetch.ttl == 0
        assert fetch.until_revoked
        plan.close()
    assert len(shares) == 1
    assert None not in shares


def test_a_route_that_wants_a_call_of_its_own_has_it() -> None:
    decisions, jwt = made(FakeFeed(is_live=False))
    for count in (1, 2, 3):
        plan, fetch = decisions.begin(jwt, max_staleness=0)
        assert fetch.coalesce_key is None
        plan.close()
        assert decisions.authenticate(jwt, max_staleness=0).source == "remote"
        assert decisions.asked == count


def test_a_clock_that_was_set_back_reuses_nothing() -> None:
    decisions, jwt = made(FakeFeed(is_live=False))
    assert decisions.authenticate(jwt).source == "remote"
    decisions.now = NOW - 0.5
    assert decisions.authenticate(jwt).source == "remote"


@pytest.mark.usefixtures("exact_lives")
@pytest.mark.rule("S34", "S36", "token")
def test_answers_about_tokens_are_reused_no_longer_either() -> None:
    feed = FakeFeed()
    decisions, _ = made(feed, session_cache_ttl=30)
    assert decisions.authenticate(TOKEN).source == "remote"
    decisions.now = NOW + 10
    assert decisions.authenticate(TOKEN).source == "cache"
    feed.is_live = False
    assert decisions.authenticate(TOKEN).source == "remote"
    decisions.now = NOW + 10.9
    assert decisions.authenticate(TOKEN).source == "cache"
    decisions.now = NOW + 11.1
    assert decisions.authenticate(TOKEN).source == "remote"
    feed.is_live = True
    decisions.now = NOW + 40
    assert decisions.authenticate(TOKEN).source == "cache"


@pytest.mark.rule("S36")
def test_back_again() -> None:
    feed = FakeFeed(is_live=False)
    decisions, jwt = made(feed)
    assert decisions.authenticate(jwt).source == "remote"
    feed.is_live = True
    decisions.now += 100
    auth = decisions.authenticate(jwt)
    assert (auth.source, auth.as_of) == ("cache", NOW)  # it was asked about while the feed was lost
    assert decisions.authenticate(good(NOW - 2)).source == "local"
    assert decisions.asked == 1


@pytest.mark.rule("S36")
def test_what_comes_with_the_feed_counts_from_then_on() -> None:
    feed = FakeFeed(is_live=False)
    decisions, jwt = made(feed)
    assert decisions.authenticate(jwt).is_authenticated
    decisions.core.revocations.add(session_id="sess_1")
    assert isinstance(decisions.authenticate(jwt).error, RevokedCredentials)
    feed.is_live = True
    assert isinstance(decisions.authenticate(jwt).error, RevokedCredentials)


def test_a_bad_jwt_costs_no_call_all_the_same() -> None:
    decisions, _ = made(FakeFeed(is_live=False))
    for bad in (sign(header(), claims(NOW), "foreign"), good(NOW, iss="another"), good(NOW + 100)):
        assert decisions.authenticate(bad).is_rejected
    assert decisions.fetches == []


@pytest.mark.rule("S13")
def test_an_answer_about_somebody_else_is_trouble() -> None:
    decisions, jwt = made(FakeFeed(is_live=False))
    for changes in ({"session": {"id": "sess_2"}}, {"session": {"user_id": "user_2"}}):
        decisions.good[jwt] = changes
        assert isinstance(decisions.authenticate(jwt).error, ProviderUnavailable)


@pytest.mark.rule("S36")
class TestWithoutTheApi:
    def test_it_is_not_known(self) -> None:
        feed = FakeFeed()
        decisions, jwt = made(feed)
        assert decisions.authenticate(jwt).is_authenticated
        feed.is_live, decisions.down = False, True
        assert isinstance(decisions.authenticate(jwt).error, ProviderUnavailable)
        feed.is_live = True
        assert decisions.authenticate(jwt).is_authenticated  # trouble is no refusal, and not remembered

    def test_grace_where_it_is_on(self) -> None:
        feed = FakeFeed()
        decisions, jwt = made(feed, grace_seconds=30)
        assert decisions.authenticate(jwt).is_authenticated
        feed.is_live, decisions.down = False, True
        decisions.now = NOW + 30
        assert decisions.authenticate(jwt).source == "grace"
        assert decisions.authenticate(good(NOW - 2)).is_unavailable  # never seen before
        decisions.now = NOW + 30.1
        assert decisions.authenticate(jwt).is_unavailable


@pytest.mark.rule("S36")
class TestLocal:
    """``on_feed_lost="local"``."""

    def test_it_goes_on_and_says_so(self) -> None:
        feed = FakeFeed(is_live=False)
        decisions, jwt = made(feed, on_feed_lost="local", session_cache_ttl=30)
        assert [decisions.authenticate(jwt).source for _ in range(2)] == ["local", "cache"]
        assert decisions.fetches == []
        assert decisions.authenticate(TOKEN).source == "remote"
        decisions.now += 20
        assert decisions.authenticate(TOKEN).source == "cache"
        health = health_report(decisions.core)
        assert (health.feed, health.degraded) == ("lost", True)

    def test_the_jwts_own_age_is_the_end(self) -> None:
        decisions, jwt = made(FakeFeed(is_live=False), on_feed_lost="local", refresh_jwt=False)
        assert decisions.authenticate(jwt).is_authenticated
        decisions.now = NOW + 299
        assert decisions.authenticate(jwt).is_rejected


@pytest.mark.rule("S36")
@pytest.mark.usefixtures("exact_lives")
class TestBounded:
    """``on_feed_lost="bounded"``: what was said last counts for up to ``feed_lost_bound`` seconds."""

    def made(self, **options: Any) -> tuple[KnownToTheApi, str, FakeFeed]:
        feed = FakeFeed(is_live=False)
        decisions, jwt = made(feed, on_feed_lost="bounded", **options)
        return decisions, jwt, feed

    def test_an_answer_about_a_jwt_counts_up_to_the_bound(self) -> None:
        decisions, jwt, _ = self.made()
        assert decisions.authenticate(jwt).source == "remote"
        del decisions.good[jwt]
        for seconds in (1, 5, 9.9):
            decisions.now = NOW + seconds
            auth = decisions.authenticate(jwt)
            assert (auth.source, auth.as_of, decisions.asked) == ("cache", NOW, 1)
        decisions.now = NOW + 10.1
        assert decisions.authenticate(jwt).is_rejected

    def test_a_pair_and_a_token_likewise(self) -> None:
        decisions, _, _ = self.made(cookies=True, session_cache_ttl=60, feed_lost_bound=20)
        ways: list[Callable[[], Auth]] = [
            lambda: visit(decisions, jwt=FRESH),
            lambda: decisions.authenticate(TOKEN),
        ]
        for present in ways:
            decisions.now = NOW
            assert present().is_authenticated
            asked = decisions.asked
            decisions.now = NOW + 19.9
            assert (present().source, decisions.asked) == ("cache", asked)
            decisions.now = NOW + 20.1
            assert (present().source, decisions.asked) == ("remote", asked + 1)

    def test_a_token_that_is_never_remembered_is_asked_about_each_time(self) -> None:
        decisions, _, feed = self.made()
        feed.known = 0
        assert [decisions.authenticate(TOKEN).source for _ in range(2)] == ["remote"] * 2

    def test_what_the_feed_has_told_counts_as_long(self) -> None:
        decisions, jwt, feed = self.made()
        feed.known = 1.5
        assert [decisions.authenticate(jwt).source for _ in range(2)] == ["local", "cache"]
        feed.known = 9.9
        assert decisions.authenticate(jwt).source == "cache"
        assert decisions.authenticate(good(NOW - 2)).source == "local"
        assert decisions.asked == 0
        feed.known = 10.1
        assert decisions.authenticate(jwt).source == "remote"

    def test_what_is_revoked_here_is_refused_at_once(self) -> None:
        decisions, jwt, feed = self.made()
        feed.known = 0
        assert decisions.authenticate(jwt).is_authenticated
        decisions.core.revocations.add(session_id="sess_1")
        assert isinstance(decisions.authenticate(jwt).error, RevokedCredentials)
        decisions.core.revocations.add(user_id="user_1")
        assert isinstance(decisions.authenticate(good(NOW - 2)).error, RevokedCredentials)

    def test_a_route_may_ask_for_less(self) -> None:
        decisions, jwt, feed = self.made()
        feed.known = 0
        assert decisions.authenticate(jwt, max_staleness=0).source == "remote"
        decisions.now = NOW + 5
        assert decisions.authenticate(jwt, max_staleness=4).source == "remote"

    def test_health_and_the_settings_say_how_long(self) -> None:
        decisions, _, _ = self.made(feed_lost_bound=25)
        assert health_report(decisions.core).feed_lost_bound == 25
        assert health_report(made(FakeFeed(), redis_url=NOWHERE)[0].core).feed_lost_bound == 1
        assert health_report(KnownToTheApi().core).feed_lost_bound is None


@pytest.mark.parametrize("on_feed_lost", ["remote", "bounded"])
def test_what_began_together_is_not_asked_about_together(on_feed_lost: str) -> None:
    """The life of an answer is shortened by a part that differs among sessions; no life is longer than it may."""
    bound = 10.0
    options: dict[str, Any] = {
        "on_feed_lost": on_feed_lost,
        "max_revocation_lag": 10,
        "session_cache_ttl": 60,
    }
    feed = FakeFeed(is_live=False)
    decisions = KnownToTheApi(feed=feed, **options)
    tokens = {f"session_{number:040d}": number for number in range(300)}
    for token, number in tokens.items():
        decisions.good[token] = {"session": {"id": f"sess_{number}"}}
        assert decisions.authenticate(token).source == "remote"
    left = set(tokens)
    ends = []
    for step in range(42):  # the last one is just after the bound
        decisions.now = NOW + bound * 0.79 + step * 0.0525
        gone = {token for token in left if decisions.known({"session-token": [token]}) is None}
        ends.append(len(gone))
        left -= gone
    assert (left, ends[0]) == (set(), 0)
    assert max(ends) < 60  # of 300, in a fortieth of the time; 7 or 8 are expected


def test_a_feed_that_is_lost_is_not_lost_for_all_sessions_together() -> None:
    feed = FakeFeed(is_live=False)
    decisions = KnownToTheApi(feed=feed, on_feed_lost="bounded")
    jwts = [good(NOW, session={"id": f"sess_{number}"}, jti=f"sess_{number}") for number in range(200)]
    trusted = []
    for known in (4.9, 7.5, 10.1):
        feed.known = known
        trusted.append(sum(decisions.known({"session-token": [jwt]}) is not None for jwt in jwts))
    assert (trusted[0], trusted[2]) == (200, 0)
    assert 40 < trusted[1] < 160


def test_health_tells_of_the_feed() -> None:
    feed = FakeFeed()
    decisions, jwt = made(feed)
    decisions.authenticate(jwt)
    health = health_report(decisions.core)
    assert (health.feed, health.feed_lag, health.degraded, health.remembered) == ("live", 0.25, False, 1)
    feed.is_live = False
    health = health_report(decisions.core)
    assert (health.feed, health.feed_lag, health.degraded) == ("lost", 7.0, True)
    health = health_report(KnownToTheApi().core)
    assert (health.feed, health.feed_lag, health.degraded) == ("none", None, False)


def test_keys_are_fetched_as_ever() -> None:
    decisions = JwksDecisions(feed=FakeFeed(is_live=False))
    assert decisions.shown("old").source == "remote"
    assert decisions.fetched == 1
    assert decisions.shown("never").is_rejected


def test_an_older_revocation_of_the_user_is_no_reason_there_either() -> None:
    """The JWT proves when its session began, whether the answer says it too or not."""
    decisions, _ = made(FakeFeed(is_live=False))
    jwt = good(NOW)
    decisions.good[jwt] = {}
    decisions.core.revocations.add(user_id="user_1", issued_before=NOW - 1000)
    assert decisions.authenticate(jwt).source == "remote"


class Listened(FakeFeed):
    """Looking whether it is live is what starts a real one."""

    looked = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "is_live":
            Listened.looked += 1
        return super().__getattribute__(name)


@pytest.mark.parametrize("is_live", [True, False])
def test_who_goes_on_without_it_listens_all_the_same(is_live: bool) -> None:
    Listened.looked = 0
    decisions, jwt = made(Listened(is_live), on_feed_lost="local")
    assert decisions.authenticate(jwt).source == "local"
    assert Listened.looked >= 1
    assert decisions.authenticate(jwt).source == "cache"
    assert decisions.fetches == []
