"""When the key set is fetched, what is used meanwhile, and what trouble does to it (rules S14 to S18)."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moonkey_core import Auth, InvalidCredentials, ProviderError, ProviderRejectedKey, ProviderUnavailable
from moonkey_core._plan import Fetch, Outcome, TransportError
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import claims, header, key_set, public_jwk, sign

GOOD = replied(200, key_set("old"))


class Ring(Decisions):
    """Decisions whose key set is fetched; ``published`` is what the fetch brings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(jwks="", **options)
        self.published: Outcome = GOOD
        self.answer = self.usual_or_published

    def usual_or_published(self, fetch: Fetch) -> Outcome:
        return self.published if "jwks" in fetch.url else replied(200, verified_body())

    @property
    def fetched(self) -> int:
        return self.calls("jwks")

    def shown(self, kid: str, made_at: float | None = None) -> Auth:
        """Show a good JWT that the key of this name has signed just now."""
        return self.authenticate(sign(header(kid=kid), claims(self.now if made_at is None else made_at), kid))


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


def test_the_set_is_fetched_again_at_its_age() -> None:
    ring = Ring(jwks_ttl=600)
    assert ring.shown("old").is_authenticated
    ring.now += 599
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


BAD: dict[str, Outcome] = {
    "refused connection": TransportError("connect", unsent=True),
    "timeout": TransportError("timeout"),
    "reset": TransportError("broken"),
    "too large": TransportError("too_large"),
    "html": replied(200, b"<html>"),
    "html refusal": replied(403, b"<html>"),
    "html challenge": replied(401, b"<html>"),
    "empty": replied(200, b""),
    "list": replied(200, b"[]"),
    "null": replied(200, b"null"),
    "truncated": replied(200, GOOD.body[:-2]),
    "no keys": replied(200, {"keys": []}),
    "only a private key": replied(200, {"keys": [public_jwk("old", d="AQAB")]}),
    "only a twin": replied(200, {"keys": [public_jwk("old"), public_jwk("old")]}),
    "only for encryption": replied(200, {"keys": [public_jwk("old", use="enc")]}),
    **{
        f"status {status}": replied(status, key_set("evil")) for status in (201, 204, 206, 304, 404, 429, 500, 503)
    },
    "redirect": replied(302, key_set("evil"), location="http://127.0.0.1:1/keys"),
}


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


class KeyRingMachine(RuleBasedStateMachine):
    """Any sequence of good and bad answers, JWTs and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(jwks_ttl=600, jwks_max_stale=3600)
        self.answered: Counter[str] = Counter()
        self.last_good_at: float | None = None
        self.good: set[str] = set()

    @rule(names=st.lists(st.sampled_from(["old", "new", "third"]), min_size=1, unique=True))
    def publish(self, names: list[str]) -> None:
        self.ring.published = replied(200, key_set(*names))

    @rule(bad=st.sampled_from(list(BAD.values())))
    def break_it(self, bad: Outcome) -> None:
        self.ring.published = bad

    @rule(seconds=st.sampled_from([0.5, 5.0, 29.0, 31.0, 601.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        self.ring.now += seconds

    @rule(kid=st.sampled_from(["old", "new", "third"]))
    def show(self, kid: str) -> None:
        before = self.ring.fetched
        auth = self.ring.shown(kid)
        fetched = self.ring.fetched - before
        assert fetched <= 1
        if fetched and self.ring.published not in BAD.values():
            self.last_good_at = self.ring.now
            self.good = {
                name for name in ("old", "new", "third") if f'"{name}"'.encode() in self.ring.published.body
            }
        age = None if self.last_good_at is None else self.ring.now - self.last_good_at
        if auth.is_authenticated:
            assert kid in self.good
            assert age is not None
            assert age < 3600
        elif auth.is_rejected:
            assert kid not in self.good
            assert age is not None
            assert age < 600
        else:
            assert isinstance(auth.error, ProviderError)
            assert kid not in self.good or age is None or age >= 3600
        self.answered[auth.state] += 1

    @precondition(lambda self: self.ring.fetched > 0)
    @rule()
    def forge(self) -> None:
        token = sign(header(kid="old"), claims(self.ring.now), "foreign")
        assert not self.ring.authenticate(token).is_authenticated
        self.note_silent_fetch()

    def note_silent_fetch(self) -> None:
        ring_set = self.ring.core.keys._set
        if ring_set is not None:
            self.last_good_at, self.good = ring_set.fetched_at, set(ring_set.keys)

    @invariant()
    def no_more_fetches_than_time_allows(self) -> None:
        passed = self.ring.now - NOW
        # Three from the bucket, one per refill, one per age of the set; in trouble the pauses are 1 s at least.
        assert self.ring.fetched <= 8 + passed


TestKeyRingMachine = KeyRingMachine.TestCase
TestKeyRingMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True)
