"""The budget of calls: whose calls go first, whose are refused, and what is never refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey, Settings
from moonkey_core._plan import TransportError
from moonkey_core._transport.call_budget import MAX_WAIT, CallBudget
from moonkey_core.auth import Auth
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event, Verified
from moonkey_core.gate import Requirements
from moonkey_core.web.responses import refuse
from support.clients import Both
from support.decisions import bearer
from support.foreign_tokens import provider
from support.patience import PATIENT
from support.visitors import verifications

LONG = 3600.0  # seconds that a call has left


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def is_refused(found: float | TransportError) -> bool:
    return isinstance(found, TransportError)


def drained(rate: float) -> tuple[CallBudget, Clock]:
    """A budget of which strangers have taken what they can."""
    clock = Clock()
    budget = CallBudget(rate, clock)
    while not is_refused(budget.take(False, LONG)):
        pass
    return budget, clock


class TestTheBudget:
    @pytest.mark.parametrize("rate", [0.1, 1, 2, 7.5, 100])
    def test_strangers_are_refused_and_told_when_to_come_back(self, rate: float) -> None:
        budget, clock = drained(rate)
        refused = budget.take(False, LONG)
        assert isinstance(refused, TransportError)
        assert (refused.kind, refused.unsent) == ("over_budget", True)
        assert refused.retry_after is not None
        clock.now += refused.retry_after
        assert budget.take(False, LONG) == 0

    def test_a_part_is_left_to_known_sessions(self) -> None:
        budget, _ = drained(100)
        taken = 0
        while budget.take(True, LONG) == 0:
            taken += 1
        assert taken >= 10

    def test_known_sessions_wait_for_their_turn_one_after_another(self) -> None:
        budget, _ = drained(100)
        waits = []
        while not is_refused(found := budget.take(True, LONG)):
            waits.append(found)
        assert waits == sorted(waits)  # type: ignore[type-var]
        assert 90 <= sum(0 < wait <= MAX_WAIT for wait in waits) <= 101  # type: ignore[operator]

    @pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
    def test_less_than_one_in_a_second(self, rate: float) -> None:
        """Strangers take each turn at once; a known session gets the next one all the same."""
        budget, clock = drained(rate)
        for _ in range(5):
            wait = budget.take(True, LONG)
            assert wait == pytest.approx(1 / rate)
            clock.now += 1 / rate
            assert is_refused(budget.take(False, LONG))

    def test_no_one_waits_longer_than_the_call_may_take(self) -> None:
        budget, _ = drained(1)
        assert is_refused(budget.take(True, 0.1))
        assert budget.take(True, LONG) == pytest.approx(1.0)

    @given(
        rate=st.sampled_from([0.5, 3.0, 40.0]),
        calls=st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=200),
    )
    def test_no_more_calls_than_the_rate_and_one_burst(self, rate: float, calls: list[tuple[bool, float]]) -> None:
        clock = Clock()
        budget = CallBudget(rate, clock)
        made = []
        for is_known, seconds in calls:
            clock.now += seconds
            found = budget.take(is_known, LONG)
            if not isinstance(found, TransportError):
                made.append(clock.now + found)
                assert is_known or found == 0
        made.sort()
        burst = max(rate / 2, 1)
        for place, begin in enumerate(made):
            within = sum(moment <= begin + 1 for moment in made[place:])
            assert within <= burst + rate + 1.001

    def test_strangers_do_not_starve_known_sessions(self) -> None:
        """A flood of strangers, and known sessions at nine tenths of the rate."""
        clock = Clock()
        budget = CallBudget(10, clock)
        known = []
        for step in range(1000):
            clock.now += 0.01
            for _ in range(5):
                budget.take(False, LONG)
            if step % 11 == 0:
                known.append(budget.take(True, LONG))
        assert not any(is_refused(one) for one in known)
        assert all(isinstance(one, float) and one <= 0.2 for one in known)


class Site:
    """A client whose budget does not refill: it has the clock of the test."""

    def __init__(self, how: str, emulator: Emulator, rate: float, **options: Any) -> None:
        usual: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        self.both = Both("sync" if how == "sync" else "async", {**usual, "call_budget": rate, **options})
        self.client: MoonKey | AsyncMoonKey = self.both.client
        self.clock = Clock()
        budget = CallBudget(rate, self.clock)
        self.budget = self.client._exchange._monitor._budget = budget
        self.events: list[Event] = []
        self.client.hooks.add(self.events.append)

    def visit(self, credential: str, **demand: Any) -> Auth:
        found: Auth = self.both("authenticate", bearer(credential), Requirements(**demand))
        return found

    def drain(self) -> None:
        while not is_refused(self.budget.take(False, LONG)):
            pass

    def close(self) -> None:
        self.both.close()


@pytest.fixture
def site(how: str, emulator: Emulator) -> Iterator[Site]:
    with closing(Site(how, emulator, 100, jwt_issuer=emulator.issuer)) as site:
        emulator.clear_requests()
        yield site


def test_known_sessions_are_served_and_strangers_get_503(
    site: Site, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    ada, ben, new = (emulator.sign_in(email=f"{name}@example.com") for name in ("ada", "ben", "new"))
    assert site.visit(ada.session_token).is_authenticated
    assert site.visit(ben.session_jwt).is_authenticated
    asked = verifications(emulator)
    site.drain()
    for stranger in (new.session_token, "session_" + "0" * 40):
        auth = site.visit(stranger)
        assert auth.is_unavailable
        assert auth.error is not None
        assert auth.error.reason == "api_over_budget"
        refusal = refuse(auth.error, site.client.settings, bearer(stranger))
        headers = {name.lower(): value for name, value in refusal.headers}
        assert (refusal.status, int(headers["retry-after"]) >= 1) == (503, True)
        assert "www-authenticate" not in headers
        assert "set-cookie" not in headers
    assert verifications(emulator) == asked
    assert site.visit(ada.session_token).is_authenticated
    assert site.visit(ben.session_jwt, max_staleness=0).source == "remote"
    assert verifications(emulator) == asked + 2
    reasons = [event.reason for event in site.events if isinstance(event, Verified)]
    assert reasons == [None, None, "api_over_budget", "api_over_budget", None, None]
    assert "call_budget_spent" in {getattr(record, "reason", None) for record in caplog.records}


def test_a_new_jwt_of_a_known_session_is_known(site: Site, emulator: Emulator) -> None:
    ada, new = emulator.sign_in(), emulator.sign_in(email="new@example.com")
    assert site.visit(ada.session_token).is_authenticated
    site.drain()
    assert site.visit(new.session_jwt, max_staleness=0).is_unavailable  # genuine, and never seen here
    assert site.visit(ada.session_jwt, max_staleness=0).source == "remote"


def test_a_known_session_waits_a_moment_and_is_served(site: Site, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    assert site.visit(ada.session_token).is_authenticated
    site.drain()
    while site.budget.take(True, LONG) == 0:
        pass
    assert site.visit(ada.session_token).is_authenticated  # after some hundredths of a second
    while not is_refused(site.budget.take(True, LONG)):
        pass
    auth = site.visit(ada.session_token)
    assert auth.is_unavailable
    assert site.visit("session_" + "0" * 40).is_unavailable


def test_keys_and_revocations_cost_nothing_of_it(site: Site, emulator: Emulator) -> None:
    ada = emulator.sign_in()
    site.drain()
    while not is_refused(site.budget.take(True, LONG)):
        pass
    assert site.visit(ada.session_jwt).source == "local"  # the key set was fetched
    site.both("sessions.revoke", session_id=ada.session_id)
    assert site.visit(ada.session_jwt).is_rejected


def test_a_grace_period_bridges_it(how: str, emulator: Emulator) -> None:
    with closing(Site(how, emulator, 0.5, grace_seconds=300)) as site:
        ada = emulator.sign_in()
        assert site.visit(ada.session_token).source == "remote"
        while not is_refused(site.budget.take(True, LONG)):
            pass
        assert site.visit(ada.session_token).source == "grace"


@pytest.mark.parametrize("value", [0, -1, "many", True, float("nan"), float("inf")])
def test_a_wrong_budget(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"call_budget.*number"):
        Settings.load({"secret_key": "sk_test_x", "call_budget": value}, {})


@pytest.mark.parametrize(("budget", "timeout", "is_right"), [(0.19, 5, False), (0.2, 5, True), (0.5, 1.9, False)])
def test_a_budget_whose_turns_come_too_late(budget: float, timeout: float, *, is_right: bool) -> None:
    given = {"secret_key": "sk_test_x", "call_budget": budget, "timeout": timeout}
    if is_right:
        assert Settings.load(given, {}).call_budget == budget
        return
    with pytest.raises(ConfigurationError, match=r"call_budget.*less than one call within timeout.*Raise it"):
        Settings.load(given, {})


def test_a_budget_of_a_variable() -> None:
    assert Settings.load({"secret_key": "sk_test_x"}, {"MOONKEY_CALL_BUDGET": "2.5"}).call_budget == 2.5
    assert Settings.load({"secret_key": "sk_test_x"}, {}).call_budget is None


def test_a_provider_that_cannot_be_asked_needs_none() -> None:
    with pytest.raises(ConfigurationError, match=r"call_budget.*cannot say whether a credential is valid"):
        MoonKey(provider=provider(), call_budget=10)
