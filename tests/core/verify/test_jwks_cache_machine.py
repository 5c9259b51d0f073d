"""Any sequence of answers, JWTs and waiting keeps the promises of the key-set cache (rules S17 and S18)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moonkey_core import ProviderError
from moonkey_core._plan import Outcome
from support.decisions import NOW, replied
from support.jwks_decisions import BAD, JwksDecisions
from support.odd_jwts import claims, header, key_set, sign

pytestmark = pytest.mark.rule("S17", "S18")


class JwksCacheMachine(RuleBasedStateMachine):
    """Any sequence of good and bad answers, JWTs and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions = JwksDecisions(jwks_ttl=600, jwks_max_stale=3600)
        self.answered: Counter[str] = Counter()
        self.last_good_at: float | None = None
        self.good: set[str] = set()
        self.published = {"old"}

    @rule(names=st.lists(st.sampled_from(["old", "new", "third"]), min_size=1, unique=True))
    def publish(self, names: list[str]) -> None:
        self.decisions.published = replied(200, key_set(*names))
        self.published = set(names)

    @rule(bad=st.sampled_from(list(BAD.values())))
    def break_it(self, bad: Outcome) -> None:
        self.decisions.published = bad

    @rule(seconds=st.sampled_from([0.5, 5.0, 29.0, 31.0, 601.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        self.decisions.now += seconds

    @rule(kid=st.sampled_from(["old", "new", "third"]))
    def show(self, kid: str) -> None:
        before = self.decisions.fetched
        auth = self.decisions.shown(kid)
        fetched = self.decisions.fetched - before
        assert fetched <= 1
        if fetched and self.decisions.published not in BAD.values():
            self.last_good_at = self.decisions.now
            self.good = self.published
        age = None if self.last_good_at is None else self.decisions.now - self.last_good_at
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

    @precondition(lambda self: self.decisions.fetched > 0)
    @rule()
    def forge(self) -> None:
        token = sign(header(kid="old"), claims(self.decisions.now), "foreign")
        assert not self.decisions.authenticate(token).is_authenticated
        self.note_silent_fetch()

    def note_silent_fetch(self) -> None:
        current = self.decisions.core.keys.current
        if current is not None:
            self.last_good_at, self.good = current.fetched_at, set(current.keys)

    @invariant()
    def no_more_fetches_than_time_allows(self) -> None:
        passed = self.decisions.now - NOW
        # Three from the bucket, one per refill, one per age of the set; in trouble the pauses are 1 s at least.
        assert self.decisions.fetched <= 8 + passed


TestJwksCacheMachine = JwksCacheMachine.TestCase
TestJwksCacheMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True)
