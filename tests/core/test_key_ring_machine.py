"""Any sequence of answers, JWTs and waiting keeps the promises of the key ring (rules S17 and S18)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moonkey_core import ProviderError
from moonkey_core._plan import Outcome
from support.decisions import NOW, replied
from support.key_ring import BAD, Ring
from support.odd_jwts import claims, header, key_set, sign

pytestmark = pytest.mark.rule("S17", "S18")


class KeyRingMachine(RuleBasedStateMachine):
    """Any sequence of good and bad answers, JWTs and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(jwks_ttl=600, jwks_max_stale=3600)
        self.answered: Counter[str] = Counter()
        self.last_good_at: float | None = None
        self.good: set[str] = set()
        self.published = {"old"}

    @rule(names=st.lists(st.sampled_from(["old", "new", "third"]), min_size=1, unique=True))
    def publish(self, names: list[str]) -> None:
        self.ring.published = replied(200, key_set(*names))
        self.published = set(names)

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
            self.good = self.published
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
        ring_set = self.ring.core.keys.current
        if ring_set is not None:
            self.last_good_at, self.good = ring_set.fetched_at, set(ring_set.keys)

    @invariant()
    def no_more_fetches_than_time_allows(self) -> None:
        passed = self.ring.now - NOW
        # Three from the bucket, one per refill, one per age of the set; in trouble the pauses are 1 s at least.
        assert self.ring.fetched <= 8 + passed


TestKeyRingMachine = KeyRingMachine.TestCase
TestKeyRingMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True)
