"""Running a plan: only what it returns is its result."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from moonkey_core._plan import Done, Fetch, Outcome, Plan, arun, run, step
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


def test_a_plan_whose_call_fails_cleans_up_at_once() -> None:
    """Not only when its memory is freed: the traceback may keep that for long."""
    ended: list[str] = []

    def lasting() -> Plan[None]:
        try:
            yield FETCH
        finally:
            ended.append("cleaned up")

    def exchange(_: Fetch) -> Outcome:
        raise RuntimeError("closed")

    with pytest.raises(RuntimeError) as error:
        run(lasting(), exchange)
    assert ended == ["cleaned up"]
    del error

    async def cancelled() -> None:
        started = asyncio.Event()

        async def aexchange(_: Fetch) -> Outcome:
            started.set()
            never: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            return await never

        task = asyncio.create_task(arun(lasting(), aexchange))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as error:
            await task
        assert ended == ["cleaned up"] * 2, error

    asyncio.run(cancelled())
