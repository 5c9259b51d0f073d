"""When the key set is fetched, what is used meanwhile, and what trouble does to it (rules S14 to S18)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import InvalidCredentials, ProviderRejectedKey, ProviderUnavailable
from moonkey_core._plan import Done, Outcome, Plan, Reply, TransportError, run, step
from moonkey_core._verify.jwks_cache import freshness_lifetime
from support.decisions import NOW, Decisions, replied
from support.jwks_decisions import BAD, GOOD, JwksDecisions
from support.odd_jwts import claims, header, key_set, sign


def test_the_first_need_fetches_and_the_next_do_not() -> None:
    decisions = JwksDecisions()
    assert decisions.fetched == 0
    for _ in range(5):
        assert decisions.shown("old").is_authenticated
    assert decisions.fetched == 1
    only = decisions.fetches[0]
    assert (only.method, only.url) == ("GET", "https://api.moonkey.fun/v1/auth/jwks/default")
    assert "sk_test" not in repr(only)
    assert only.headers == {"authorization": "Bearer sk_test_decisions"}
    assert only.max_bytes == 512 * 1024


def test_the_set_is_fetched_again_ahead_of_its_age_beside_the_requests() -> None:
    decisions = JwksDecisions(jwks_ttl=600)
    assert decisions.shown("old").is_authenticated
    decisions.now += 479
    assert decisions.shown("old").is_authenticated
    assert decisions.fetched == 1
    later: list[Plan[None]] = []
    decisions.core.run_later = later.append
    decisions.now += 1
    for _ in range(5):
        assert decisions.shown("old").is_authenticated
    assert decisions.fetched == 1  # no request makes it
    run(later.pop(), decisions.exchange)
    assert (decisions.fetched, later) == (2, [])
    decisions.now += 479
    assert decisions.shown("old").is_authenticated
    assert (decisions.fetched, later) == (2, [])


def test_nobody_waits_for_the_fetch_that_is_due_up_to_twice_the_age() -> None:
    """S17. Nobody was there to run it: at twice its age, a request does."""
    decisions = JwksDecisions(jwks_ttl=600)
    decisions.core.run_later = lambda plan: plan.close()
    assert decisions.shown("old").is_authenticated
    decisions.now += 1199
    assert decisions.shown("old").source == "stale"
    assert decisions.fetched == 1
    decisions.now += 3  # the time that the one who took the fetch had for it
    assert decisions.shown("old").source == "local"
    assert decisions.fetched == 2


@pytest.mark.parametrize(
    ("headers", "life"),
    [
        ({"cache_control": "max-age=1800"}, 1800),
        ({"cache_control": "public, max-age=120, must-revalidate"}, 120),
        ({"cache_control": "max-age=1000", "age": "400"}, 600),
        ({"cache_control": "max-age=5"}, 60),
        ({"cache_control": "max-age=0"}, 60),
        ({"cache_control": "max-age=999999999"}, 3600),
        ({"cache_control": "MAX-AGE=100"}, 100),
        ({"cache_control": "s-max-age=100"}, 600),
        ({"cache_control": "max-age=-5"}, 600),
        ({"cache_control": "max-age=1e3"}, 600),
        ({"cache_control": "no-cache"}, 600),
        ({"cache_control": "max-age=100", "age": "nonsense"}, 100),
        ({}, 600),
    ],
)
def test_the_reply_says_how_long_it_is_good_within_bounds(headers: dict[str, str], life: float) -> None:
    assert freshness_lifetime(replied(200, b"", **headers), 600.0) == life


@given(st.text(), st.text(), st.floats(1, 86_400))
def test_any_headers_give_a_life_within_bounds(directives: str, age: str, usual: float) -> None:
    life = freshness_lifetime(replied(200, b"", cache_control=directives, age=age), usual)
    assert min(usual, 60) <= life <= max(usual, 3600)


def test_the_age_in_a_reply_counts() -> None:
    decisions = JwksDecisions(jwks_ttl=600)
    decisions.published = replied(200, key_set("old"), cache_control="max-age=3000")
    assert decisions.shown("old").is_authenticated
    decisions.now += 2399
    assert decisions.shown("old").is_authenticated
    assert decisions.fetched == 1
    decisions.now += 1
    assert decisions.shown("old").is_authenticated
    assert decisions.fetched == 2


def test_a_clock_that_was_set_back_is_no_eternal_life() -> None:
    decisions = JwksDecisions()
    assert decisions.shown("old").is_authenticated
    decisions.now -= 86_400
    decisions.published = replied(200, key_set("new"))
    assert decisions.shown("new").is_authenticated
    assert decisions.shown("old").is_rejected


def test_a_new_key_is_accepted_at_once_right_after_a_fetch() -> None:
    decisions = JwksDecisions()
    assert decisions.shown("old").is_authenticated
    decisions.published = replied(200, key_set("old", "new"))
    assert decisions.shown("new").is_authenticated
    assert decisions.shown("old").is_authenticated
    assert decisions.fetched == 2


@pytest.mark.rule("S7")
def test_a_removed_key_is_refused_after_the_next_fetch() -> None:
    decisions = JwksDecisions()
    assert decisions.shown("old").is_authenticated
    decisions.published = replied(200, key_set("new"))
    assert decisions.shown("new").is_authenticated
    auth = decisions.shown("old")
    assert isinstance(auth.error, InvalidCredentials)


@pytest.mark.long
@pytest.mark.rule("S18", "jwt")
def test_unknown_key_ids_draw_from_a_bucket_of_three() -> None:
    decisions = JwksDecisions()
    assert decisions.shown("old").is_authenticated
    for place in range(50):
        made_at = decisions.now - 10
        token = sign(header(kid=f"forged{place}"), claims(made_at), "foreign")
        auth = decisions.authenticate(token)
        assert isinstance(auth.error, InvalidCredentials), auth  # made before the last fetch, and not in it
    assert decisions.fetched == 1 + 3
    for refills in range(1, 4):
        decisions.now += 30
        for place in range(10):
            decisions.shown(f"other{place}")
        assert decisions.fetched == 4 + refills
    decisions.now += 86_400
    decisions.shown("old")
    before = decisions.fetched
    for place in range(10):
        decisions.authenticate(sign(header(kid=f"late{place}"), claims(decisions.now), "foreign"))
    assert decisions.fetched == before + 3


@pytest.mark.rule("S18")
def test_with_an_empty_bucket_a_younger_jwt_cannot_be_judged() -> None:
    decisions = JwksDecisions()
    for place in range(4):
        decisions.authenticate(sign(header(kid=f"forged{place}"), claims(decisions.now), "foreign"))
    decisions.now += 20
    auth = decisions.shown("new")  # made after the last fetch: its key may be one of today
    assert isinstance(auth.error, ProviderUnavailable)
    assert auth.error.reason == "jwks_limited"
    decisions.published = replied(200, key_set("old", "new"))
    decisions.now += 10
    assert decisions.shown("new").is_authenticated


@pytest.mark.rule("S17")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_answer_never_replaces_good_keys(bad: Outcome) -> None:
    decisions = JwksDecisions(jwks_ttl=60, jwks_max_stale=3600)
    assert decisions.shown("old").is_authenticated
    decisions.published = bad
    for minutes in (1, 2, 30, 59):
        decisions.now = NOW + 60 * minutes
        assert decisions.shown("old").is_authenticated, minutes
        auth = decisions.shown("evil")
        assert auth.is_unavailable, auth  # a key that is not known cannot be judged in trouble
    decisions.now = NOW + 3600
    auth = decisions.shown("old")
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert auth.error.status == 503
    decisions.published = GOOD
    decisions.now += 30
    assert decisions.shown("old").is_authenticated


@pytest.mark.rule("S17")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_while_asking_for_an_unknown_key_fails_it_cannot_be_known(bad: Outcome) -> None:
    decisions = JwksDecisions()
    assert decisions.shown("old").is_authenticated
    decisions.published = bad
    auth = decisions.shown("evil", decisions.now - 60)
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert decisions.shown("old").is_authenticated


@pytest.mark.rule("S17")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_answer_first_of_all_is_no_verdict(bad: Outcome) -> None:
    decisions = JwksDecisions()
    decisions.published = bad
    auth = decisions.shown("evil")
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert auth.error.retry_after


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", {"status_code": 401, "error_type": "unauthorized", "error_message": "no"}])
def test_a_rejected_api_key_is_ours_to_mend(status: int, body: object) -> None:
    decisions = JwksDecisions()
    decisions.published = replied(status, body)
    auth = decisions.shown("old")
    assert isinstance(auth.error, ProviderRejectedKey)
    assert auth.is_unavailable
    assert auth.error.status == 500


@pytest.mark.rule("S17")
def test_without_stale_time_the_age_is_the_end() -> None:
    decisions = JwksDecisions(jwks_ttl=60, jwks_max_stale=0)
    assert decisions.shown("old").is_authenticated
    decisions.published = replied(500)
    decisions.now += 60
    assert decisions.shown("old").is_unavailable


@pytest.mark.long
@pytest.mark.rule("S18")
def test_failed_fetches_cool_down_and_the_pause_doubles() -> None:
    decisions = JwksDecisions()
    decisions.published = replied(500)
    seen: list[float] = []
    for _ in range(1200):
        before = decisions.fetched
        decisions.shown("old")
        if decisions.fetched > before:
            seen.append(decisions.now - NOW)
        decisions.now += 0.1
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(seen)]
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert set(pauses[5:]) == {30}


def test_trouble_is_told_apart_from_a_wrong_key_each_time_anew() -> None:
    decisions = JwksDecisions()
    decisions.published = replied(401)
    errors = [decisions.shown("old").error for _ in range(3)]
    assert decisions.fetched == 1
    assert all(isinstance(error, ProviderRejectedKey) for error in errors)
    assert len({id(error) for error in errors}) == 3  # each with a traceback of its own


def test_a_fixed_key_set_is_never_fetched() -> None:
    decisions = Decisions(jwks=key_set("old"))
    decisions.now += 10 * 86_400
    assert decisions.authenticate(sign(header(kid="old"), claims(decisions.now), "old")).is_authenticated
    assert decisions.authenticate(sign(header(kid="new"), claims(decisions.now), "new")).is_rejected
    assert decisions.fetches == []


@pytest.mark.rule("S14")
def test_the_secret_goes_to_the_key_set_only_in_a_header_and_only_if_told() -> None:
    decisions = JwksDecisions(jwks_auth="none", jwks_url="https://keys.example.com/jwks")
    assert decisions.shown("old").is_authenticated
    (fetch,) = decisions.fetches
    assert (fetch.authorization, fetch.headers, fetch.url) == (None, None, "https://keys.example.com/jwks")


@pytest.mark.rule("S18")
def test_unknown_key_ids_draw_from_the_bucket_while_fetches_fail_as_well() -> None:
    """S18."""
    decisions = JwksDecisions(jwks_ttl=86_400)
    assert decisions.shown("old").is_authenticated
    decisions.published = TransportError("broken")
    for _ in range(25):  # 25 seconds: no draw comes back
        decisions.shown("unknown")
        decisions.now += 1
    assert decisions.fetched == 1 + 3


@pytest.mark.rule("S18")
def test_who_has_a_usable_key_does_not_wait_for_somebody_elses_fetch() -> None:
    """S17. The first to find the set old makes the fetch; until it ends, all others go on with what they have."""
    decisions = JwksDecisions()
    assert decisions.shown("old").is_authenticated
    decisions.now += 1201
    key_for = decisions.core.keys.key_for("old", decisions.now)
    fetch = next(key_for)
    assert "jwks" in fetch.url
    before = decisions.fetched
    assert decisions.shown("old").is_authenticated
    assert decisions.fetched == before
    key_for.close()


class TestSharedKeySet:
    """Which key set from the store of the fleet is of use."""

    STORE = {"redis_url": "redis://127.0.0.1:1/0"}  # named only: all calls are scripted

    def accepts(self, decisions: JwksDecisions, kid: str, algorithm: str = "") -> Callable[[Reply], bool] | None:
        """What the fetch that this key id needs asks of a stored key set."""
        plan = decisions.core.keys.key_for(kid, decisions.now, algorithm)
        policy = next(plan).store_policy
        plan.close()
        assert policy is not None
        assert policy.read
        assert policy.claim_seconds == decisions.settings.jwks_timeout
        return policy.accepts

    def test_any_where_none_is_known_or_the_known_one_is_old(self) -> None:
        decisions = JwksDecisions(**self.STORE)
        assert self.accepts(decisions, "old") is None
        decisions.now += 10
        assert decisions.core.keys.current is None
        run(decisions.core.keys.key_for("old", decisions.now), decisions.exchange)
        decisions.now += 1201
        assert self.accepts(decisions, "new") is None

    @pytest.mark.parametrize(
        ("body", "age", "is_of_use"),
        [
            (key_set("old", "new"), -1.0, True),
            (key_set("new"), -1.0, True),
            (key_set("old", "new"), 0.0, False),
            (key_set("old", "new"), 1.0, False),
            (key_set("old"), -1.0, False),
            (b"no key set", -1.0, False),
        ],
    )
    def test_a_younger_one_with_the_key_that_is_missing(self, body: object, age: float, is_of_use: bool) -> None:
        decisions = JwksDecisions(**self.STORE)
        run(decisions.core.keys.key_for("old", decisions.now), decisions.exchange)
        current = decisions.core.keys.current
        assert current is not None
        accepts = self.accepts(decisions, "new")
        assert accepts is not None
        stored = replace(replied(200, body), asked_at=current.fetched_at - age)
        assert accepts(stored) is is_of_use

    def test_what_was_taken_from_it_is_no_verdict(self) -> None:
        """A process that knows no keys takes those of the store; whether a key is missing, the provider says."""
        decisions = JwksDecisions(**self.STORE)
        plan = decisions.core.keys.key_for("new", decisions.now)
        next(plan)
        fetch = plan.send(replace(GOOD, asked_at=decisions.now - 1, from_store=True))
        assert fetch.store_policy is not None
        assert fetch.store_policy.accepts is not None
        assert not fetch.store_policy.accepts(replace(GOOD, asked_at=decisions.now, from_store=True))
        found = step(plan, replace(replied(200, key_set("old", "new")), asked_at=decisions.now))
        assert isinstance(found, Done)

    def test_the_bucket_comes_before_the_store(self) -> None:
        decisions = JwksDecisions(**self.STORE)
        assert decisions.shown("old").is_authenticated
        for place in range(20):
            decisions.shown(f"made_up_{place}")
        assert decisions.fetched == 1 + 3  # each of them looks into the store first; the others do nothing


class TestRetryAfter:
    """A key set's server that is too busy says when to come back: clients are told, and it is left alone."""

    @pytest.mark.parametrize("status", [429, 503])
    def test_it_is_passed_on_and_runs_down(self, status: int) -> None:
        decisions = JwksDecisions()
        decisions.answer = lambda _: replied(status, b"", retry_after="120")
        first = decisions.shown("old").error
        decisions.now += 20
        second = decisions.shown("old").error
        assert isinstance(first, ProviderUnavailable)
        assert isinstance(second, ProviderUnavailable)
        assert (first.retry_after, second.retry_after) == (120, 100)
        assert len(decisions.fetches) == 1  # not a second time in the first 30 s
        decisions.now += 200
        decisions.answer = JwksDecisions().answer
        assert decisions.shown("old").is_authenticated

    def test_it_is_that_of_the_last_fetch_only(self) -> None:
        decisions = JwksDecisions()
        answers = [replied(429, b"", retry_after="3600"), replied(500, b"")]
        decisions.answer = lambda _: answers[min(len(decisions.fetches) - 1, 1)]
        assert decisions.shown("old").is_unavailable
        decisions.now += 31  # however long the server wants to be left alone, it is asked again
        error = decisions.shown("old").error
        assert len(decisions.fetches) == 2
        assert isinstance(error, ProviderUnavailable)
        assert error.retry_after == 1.0
