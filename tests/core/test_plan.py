"""Running a plan: only what it returns is its result."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from moonkey_core._plan import Done, Fetch, Outcome, Plan, arun, run, step
from moonkey_core._transport.single_flight import SyncSharing
from support.decisions import replied

FETCH = Fetch("GET", "https://api.example.com/")
CALL = replied(200, {})


def plan() -> Plan[str]:
    outcome = yield FETCH
    return f"verified {outcome is CALL}"


def nested() -> Plan[str]:
    return (yield from plan()) + "!"


def test_a_plan_runs_to_its_result() -> None:
    assert run(nested(), lambda _: CALL) == "verified True!"

    async def exchange(_: Fetch) -> Outcome:
        return CALL

    assert asyncio.run(arun(nested(), exchange)) == "verified True!"


def test_steps() -> None:
    made = plan()
    assert step(made, None) is FETCH
    assert step(made, CALL) == Done("verified True")


@pytest.mark.parametrize("value", ["verified", None, True])
def test_a_stop_that_leaks_out_of_a_transport_is_never_a_result(value: object) -> None:
    def exchange(_: Fetch) -> Outcome:
        raise StopIteration(value)

    with pytest.raises((StopIteration, RuntimeError)):
        run(nested(), exchange)

    async def aexchange(_: Fetch) -> Outcome:
        raise StopIteration(value)

    with pytest.raises(RuntimeError):
        asyncio.run(arun(nested(), aexchange))


def test_a_stop_inside_a_plan_is_never_a_result() -> None:
    def inner() -> Generator[Any, Any, str]:
        yield FETCH
        raise StopIteration("verified")

    def outer() -> Plan[str]:
        return (yield from inner())

    with pytest.raises(RuntimeError):
        run(outer(), lambda _: CALL)


def test_a_plan_that_needs_no_call() -> None:
    def ready() -> Plan[str]:
        return "ready"
        yield FETCH

    def never(_: Fetch) -> Outcome:
        raise AssertionError

    assert run(ready(), never) == "ready"


def test_a_leader_that_fails_lets_a_waiter_lead() -> None:
    sharing = SyncSharing(lambda: 0.0, lambda _fetch, _outcome: True)
    fetch = Fetch("GET", "https://api.example.com/", share="one", linger=5)

    def fails() -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharing.call(fetch, lambda: 5.0, fails)
    assert sharing.call(fetch, lambda: 5.0, lambda: CALL) is CALL

    def never() -> Outcome:
        raise AssertionError

    assert sharing.call(fetch, lambda: 5.0, never) is CALL


def test_what_lingers_is_bounded() -> None:
    sharing = SyncSharing(lambda: 0.0, lambda _fetch, _outcome: True)
    for place in range(40):
        fetch = Fetch("GET", "https://api.example.com/", share=f"user {place}", linger=60)
        sharing.call(fetch, lambda: 5.0, lambda: replied(200, b"x" * 1_000_000))
    kept = sharing._lingering._answers
    assert 1 <= len(kept) <= 8
    assert kept.currsize <= 8 * 1024 * 1024
