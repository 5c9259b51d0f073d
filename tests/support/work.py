"""How much work a piece of code is: counted, not timed."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import traceback
import tracemalloc
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, TypeVar

import moonkey_core

T = TypeVar("T")

_PACKAGES = tuple(
    moonkey_core.__path__[0].removesuffix("moonkey_core") + name
    for name in ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")
)


_DEADLINE = 300  # seconds
_TRIES = 5


def alone(call: Callable[[], T]) -> T:
    """What a call returns in a copy of this process that has this thread only.

    Memory is traced for the whole process: what a server of another test allocates in its own thread meanwhile
    would be taken for a cost of the call. What earlier tests have left to the collector stays there, unseen: to
    look at all of it takes seconds. The result has to be one that can be pickled.
    """
    context = multiprocessing.get_context("fork")
    answers, to_answer = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(to_answer, call), daemon=True)
    with warnings.catch_warnings():
        # Since Python 3.12. A lock that another thread holds stays held in the copy: the deadline is for that.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    to_answer.close()
    try:
        assert answers.poll(_DEADLINE), f"no answer came within {_DEADLINE} s"
        error, found = answers.recv()
    finally:
        process.kill()
        process.join()
        answers.close()
    assert not error, error
    answer: T = found
    return answer


def _answer(answers: Connection, call: Callable[[], object]) -> None:
    gc.freeze()
    try:
        answers.send(("", call()))
    except BaseException:
        answers.send((traceback.format_exc(), None))


def assert_linear(work: Callable[[int], Any], size: int) -> None:
    """That ``work`` of three sizes grows evenly: what is made for each unit costs no more the more there are."""
    uneven = alone(lambda: _unevenness(work, [count * size for count in (1, 2, 3)]))
    assert not uneven, uneven


def _unevenness(work: Callable[[int], Any], sizes: list[int]) -> str:
    """The figures of the three sizes whose second step is larger than their first: none if ``work`` is linear.

    ``work`` does its work once before it is counted, as what is made once is made then. The least of several tries
    decides, as a table that grows does so now and then only.
    """
    for size in sizes:
        work(size)
    least: list[tuple[int, ...]] = [_counted(lambda size=size: work(size)) for size in sizes]  # type: ignore[misc]
    for _ in range(_TRIES):
        uneven = [
            (one, two, three)
            for one, two, three in zip(*least, strict=True)
            if three - two > 1.3 * max(two - one, 0) + 10 * sizes[0] + three / 50
        ]
        if not uneven:
            return ""
        again = [_counted(lambda size=size: work(size)) for size in sizes]  # type: ignore[misc]
        least = [tuple(map(min, *both)) for both in zip(least, again, strict=True)]
    return str(uneven)


def _counted(call: Callable[[], Any]) -> tuple[int, int]:
    """The steps that our own packages take in a call, and the bytes that come into being between two steps.

    A step is an instruction of the interpreter. One that copies a lot takes a lot of memory, though that may be
    gone at the next: so the highest that it goes in between is what counts. In this thread only.
    """
    meter = _Meter()
    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(meter.on_call)
    try:
        call()
    finally:
        sys.settrace(before)
        tracemalloc.stop()
    assert meter.steps > 0
    return meter.steps, meter.bytes


class _Meter:
    def __init__(self) -> None:
        self.steps = self.bytes = self._held = 0

    def on_call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_PACKAGES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._on_step

    def _on_step(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.steps += 1
        held, peak = tracemalloc.get_traced_memory()
        self.bytes += max(peak - self._held, 0)
        tracemalloc.reset_peak()
        self._held = held
        return self._on_step
