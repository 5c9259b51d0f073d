"""Counting attempts: exactly so many within a sliding time, in bounded space, by any number of threads."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core._operations import attempts as _attempts
from moonkey_core._operations.attempts import Attempts
from support.together import together


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def test_so_many_and_no_more(attempts: Attempts, clock: Clock) -> None:
    for _ in range(3):
        assert attempts.count("send", "a", 3, 60) is None
        clock.now += 10
    assert attempts.count("send", "a", 3, 60) == 30
    assert attempts.counted("send", "a") == 3
    clock.now += 29.5
    assert attempts.count("send", "a", 3, 60) == 0.5
    clock.now += 0.5
    assert attempts.count("send", "a", 3, 60) is None
    assert attempts.count("send", "a", 3, 60) == 10


def test_kinds_and_values_are_counted_apart(attempts: Attempts) -> None:
    assert attempts.count("send", "a", 1, 60) is None
    assert attempts.count("try", "a", 1, 60) is None
    assert attempts.count("send", "b", 1, 60) is None
    assert attempts.count("send", "a", 1, 60) == 60


def test_what_is_given_back(attempts: Attempts, clock: Clock) -> None:
    attempts.give_back("send", "a")
    for _ in range(5):
        assert attempts.count("send", "a", 1, 60) is None
        attempts.give_back("send", "a")
    assert attempts.counted("send", "a") == 0
    attempts.count("send", "a", 2, 60)
    clock.now += 30
    attempts.count("send", "a", 2, 60)
    attempts.give_back("send", "a")
    clock.now += 30
    assert attempts.counted("send", "a") == 0


@given(st.lists(st.floats(0, 30), max_size=40), st.integers(1, 5))
def test_never_more_within_any_such_time(pauses: Iterable[float], most: int) -> None:
    clock = Clock()
    attempts = Attempts(clock)
    passed: list[float] = []
    for pause in pauses:
        clock.now += pause
        wait = attempts.count("send", "a", most, 60)
        recent = [at for at in passed if clock.now - at < 60]
        assert (wait is None) is (len(recent) < most)
        if wait is None:
            passed.append(clock.now)
        else:
            assert wait == pytest.approx(recent[-most] + 60 - clock.now)


def test_the_table_does_not_grow(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_attempts, "_COUNTED", 10)
    bounded = Attempts(Clock())
    for number in range(50):
        bounded.count("send", str(number), 1, 60)
    assert len(bounded._logs) == 10
    assert bounded.count("send", "49", 1, 60) is not None


def test_what_is_over_is_forgotten(attempts: Attempts, clock: Clock) -> None:
    for number in range(50):
        attempts.count("send", str(number), 1, 60)
    clock.now += 61
    attempts.count("send", "a", 1, 60)
    assert len(attempts._logs) == 1


def test_no_address_is_kept(attempts: Attempts) -> None:
    attempts.count("send", "me@example.com", 1, 60)
    assert "example" not in repr(dict(attempts._logs))
    assert Attempts().count("send", "me@example.com", 1, 60) is None


def test_threads(attempts: Attempts) -> None:
    found = together(16, lambda _: attempts.count("try", "a", 5, 60))
    assert found.count(None) == 5
