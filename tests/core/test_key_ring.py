"""When the key set is fetched, what is used meanwhile, and what trouble does to it (rules S14 to S18)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import InvalidCredentials, ProviderRejectedKey, ProviderUnavailable
from moonkey_core._plan import Outcome, Plan, TransportError, run
from moonkey_core._verify.key_set import life_of
from support.decisions import NOW, Decisions, replied
from support.key_ring import BAD, GOOD, Ring
from support.odd_jwts import claims, header, key_set, sign


def test_the_first_need_fetches_and_the_next_do_not() -> None:
    ring = Ring()
    assert ring.fetched == 0
    for _ in range(5):
        assert ring.shown("old").is_authenticated
    assert ring.fetched == 1
    only = ring.fetches[0]
    assert (only.method, only.url) == ("GET", "https://api.moonkey.fun/v1/auth/jwks/default")
    assert "sk_test" not in repr(only)
    assert only.send_key
    assert only.max_bytes == 512 * 1024


def test_the_set_is_fetched_again_ahead_of_its_age_beside_the_requests() -> None:
    ring = Ring(jwks_ttl=600)
    assert ring.shown("old").is_authenticated
    ring.now += 479
    assert ring.shown("old").is_authenticated
    assert ring.fetched == 1
    later: list[Plan[None]] = []
    ring.core.run_later = later.append
    ring.now += 1
    for _ in range(5):
        assert ring.shown("old").is_authenticated
    assert ring.fetched == 1  # no request makes it
    run(later.pop(), ring.exchange)
    assert (ring.fetched, later) == (2, [])
    ring.now += 479
    assert ring.shown("old").is_authenticated
    assert (ring.fetched, later) == (2, [])


def test_nobody_waits_for_the_fetch_that_is_due_up_to_twice_the_age() -> None:
    """S17. Nobody was there to run it: at twice its age, a request does."""
    ring = Ring(jwks_ttl=600)
    ring.core.run_later = lambda plan: plan.close()
    assert ring.shown("old").is_authenticated
    ring.now += 1199
    assert ring.shown("old").source == "stale"
    assert ring.fetched == 1
    ring.now += 3  # the time that the one who took the fetch had for it
    assert ring.shown("old").source == "local"
    assert ring.fetched == 2


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
    assert life_of(replied(200, b"", **headers), 600.0) == life


@given(st.text(), st.text(), st.floats(1, 86_400))
def test_any_headers_give_a_life_within_bounds(directives: str, age: str, usual: float) -> None:
    life = life_of(replied(200, b"", cache_control=directives, age=age), usual)
    assert min(usual, 60) <= life <= max(usual, 3600)


def test_the_age_in_a_reply_counts() -> None:
    ring = Ring(jwks_ttl=600)
    ring.published = replied(200, key_set("old"), cache_control="max-age=3000")
    assert ring.shown("old").is_authenticated
    ring.now += 2399
    assert ring.shown("old").is_authenticated
    assert ring.fetched == 1
    ring.now += 1
    assert ring.shown("old").is_authenticated
    assert ring.fetched == 2


def test_a_clock_that_was_set_back_is_no_eternal_life() -> None:
    ring = Ring()
    assert ring.shown("old").is_authenticated
    ring.now -= 86_400
    ring.published = replied(200, key_set("new"))
    assert ring.shown("new").is_authenticated
    assert ring.shown("old").is_rejected


def test_a_new_key_is_accepted_at_once_right_after_a_fetch() -> None:
    ring = Ring()
    assert ring.shown("old").is_authenticated
    ring.published = replied(200, key_set("old", "new"))
    assert ring.shown("new").is_authenticated
    assert ring.shown("old").is_authenticated
    assert ring.fetched == 2


def test_a_removed_key_is_refused_after_the_next_fetch() -> None:
    ring = Ring()
    assert ring.shown("old").is_authenticated
    ring.published = replied(200, key_set("new"))
    assert ring.shown("new").is_authenticated
    auth = ring.shown("old")
    assert isinstance(auth.error, InvalidCredentials)


def test_unknown_key_ids_draw_from_a_bucket_of_three() -> None:
    ring = Ring()
    assert ring.shown("old").is_authenticated
    for place in range(50):
        made_at = ring.now - 10
        token = sign(header(kid=f"forged{place}"), claims(made_at), "foreign")
        auth = ring.authenticate(token)
        assert isinstance(auth.error, InvalidCredentials), auth  # made before the last fetch, and not in it
    assert ring.fetched == 1 + 3
    for refills in range(1, 4):
        ring.now += 30
        for place in range(10):
            ring.shown(f"other{place}")
        assert ring.fetched == 4 + refills
    ring.now += 86_400
    ring.shown("old")
    before = ring.fetched
    for place in range(10):
        ring.authenticate(sign(header(kid=f"late{place}"), claims(ring.now), "foreign"))
    assert ring.fetched == before + 3


def test_with_an_empty_bucket_a_younger_jwt_cannot_be_judged() -> None:
    ring = Ring()
    for place in range(4):
        ring.authenticate(sign(header(kid=f"forged{place}"), claims(ring.now), "foreign"))
    ring.now += 20
    auth = ring.shown("new")  # made after the last fetch: its key may be one of today
    assert isinstance(auth.error, ProviderUnavailable)
    assert auth.error.reason == "jwks_limited"
    ring.published = replied(200, key_set("old", "new"))
    ring.now += 10
    assert ring.shown("new").is_authenticated


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_answer_never_replaces_good_keys(bad: Outcome) -> None:
    ring = Ring(jwks_ttl=60, jwks_max_stale=3600)
    assert ring.shown("old").is_authenticated
    ring.published = bad
    for minutes in (1, 2, 30, 59):
        ring.now = NOW + 60 * minutes
        assert ring.shown("old").is_authenticated, minutes
        auth = ring.shown("evil")
        assert auth.is_unavailable, auth  # a key that is not known cannot be judged in trouble
    ring.now = NOW + 3600
    auth = ring.shown("old")
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert auth.error.status == 503
    ring.published = GOOD
    ring.now += 30
    assert ring.shown("old").is_authenticated


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_while_asking_for_an_unknown_key_fails_it_cannot_be_known(bad: Outcome) -> None:
    ring = Ring()
    assert ring.shown("old").is_authenticated
    ring.published = bad
    auth = ring.shown("evil", ring.now - 60)
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert ring.shown("old").is_authenticated


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_answer_first_of_all_is_no_verdict(bad: Outcome) -> None:
    ring = Ring()
    ring.published = bad
    auth = ring.shown("evil")
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert auth.error.retry_after


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", {"status_code": 401, "error_type": "unauthorized", "error_message": "no"}])
def test_a_rejected_api_key_is_ours_to_mend(status: int, body: object) -> None:
    ring = Ring()
    ring.published = replied(status, body)
    auth = ring.shown("old")
    assert isinstance(auth.error, ProviderRejectedKey)
    assert auth.is_unavailable
    assert auth.error.status == 500


def test_without_stale_time_the_age_is_the_end() -> None:
    ring = Ring(jwks_ttl=60, jwks_max_stale=0)
    assert ring.shown("old").is_authenticated
    ring.published = replied(500)
    ring.now += 60
    assert ring.shown("old").is_unavailable


def test_failed_fetches_cool_down_and_the_pause_doubles() -> None:
    ring = Ring()
    ring.published = replied(500)
    seen: list[float] = []
    for _ in range(1200):
        before = ring.fetched
        ring.shown("old")
        if ring.fetched > before:
            seen.append(ring.now - NOW)
        ring.now += 0.1
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(seen)]
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert set(pauses[5:]) == {30}


def test_trouble_is_told_apart_from_a_wrong_key_each_time_anew() -> None:
    ring = Ring()
    ring.published = replied(401)
    errors = [ring.shown("old").error for _ in range(3)]
    assert ring.fetched == 1
    assert all(isinstance(error, ProviderRejectedKey) for error in errors)
    assert len({id(error) for error in errors}) == 3  # each with a traceback of its own


def test_a_fixed_key_set_is_never_fetched() -> None:
    ring = Decisions(jwks=key_set("old"))
    ring.now += 10 * 86_400
    assert ring.authenticate(sign(header(kid="old"), claims(ring.now), "old")).is_authenticated
    assert ring.authenticate(sign(header(kid="new"), claims(ring.now), "new")).is_rejected
    assert ring.fetches == []


def test_the_secret_goes_to_the_key_set_only_in_a_header_and_only_if_told() -> None:
    ring = Ring(jwks_auth="none", jwks_url="https://keys.example.com/jwks")
    assert ring.shown("old").is_authenticated
    assert (ring.fetches[0].send_key, ring.fetches[0].url) == (False, "https://keys.example.com/jwks")


def test_unknown_key_ids_draw_from_the_bucket_while_fetches_fail_as_well() -> None:
    """S18."""
    ring = Ring(jwks_ttl=86_400)
    assert ring.shown("old").is_authenticated
    ring.published = TransportError("broken")
    for _ in range(25):  # 25 seconds: no draw comes back
        ring.shown("unknown")
        ring.now += 1
    assert ring.fetched == 1 + 3


def test_who_has_a_usable_key_does_not_wait_for_somebody_elses_fetch() -> None:
    """S17. The first to find the set old makes the fetch; until it ends, all others go on with what they have."""
    ring = Ring()
    assert ring.shown("old").is_authenticated
    ring.now += 1201
    key_for = ring.core.keys.key_for("old", ring.now)
    fetch = next(key_for)
    assert "jwks" in fetch.url
    before = ring.fetched
    assert ring.shown("old").is_authenticated
    assert ring.fetched == before
    key_for.close()
