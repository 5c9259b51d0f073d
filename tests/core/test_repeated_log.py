"""The first line of a kind at once, then a count per interval."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from moonkey_core import _clock, _repeated_log
from moonkey_core._repeated_log import INTERVAL, log_repeated, summarize


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Clock]:
    caplog.set_level("DEBUG", "moonkey")
    clock = Clock()
    monkeypatch.setattr(_clock, "monotonic", clock)
    yield clock
    _repeated_log.reset()


def say(reason: str = "api_timeout") -> None:
    log_repeated(logging.WARNING, "refused: %s", reason, extra={"reason": reason})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_one_line_then_a_count(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        say()
    say("api_broken")
    assert warnings(caplog) == ["refused: api_timeout", "refused: api_broken"]
    clock.now += INTERVAL
    say()
    assert warnings(caplog)[2:] == ["refused: api_timeout (and 4 more like it since the last such line)"]
    assert len(caplog.records) == 7
    assert {getattr(record, "reason", None) for record in caplog.records} == {"api_timeout", "api_broken"}


def test_the_rest_is_told_at_the_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        say()
    say("api_broken")
    summarize()
    assert warnings(caplog)[2:] == ["2 more like the last line: api_timeout"]
    say()  # the next outage begins anew
    assert warnings(caplog)[3:] == ["refused: api_timeout"]


def test_a_clock_that_goes_back_does_not_silence(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    say()
    clock.now -= 500
    say()
    assert warnings(caplog) == ["refused: api_timeout", "refused: api_timeout"]


def test_none_is_lost_between_threads(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    def many() -> None:
        for _ in range(200):
            say()

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summarize()
    assert warnings(caplog) == ["refused: api_timeout", f"{8 * 200 - 1} more like the last line: api_timeout"]
