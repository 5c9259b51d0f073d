"""Reports of dead credentials through a real Redis."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from support.feeds import MakeProcess
from support.scripted import wait_until

pytestmark = pytest.mark.long

DIGEST = "0123456789abcdef" * 2


@pytest.mark.rule("S52", "connection")
def test_the_others_are_told(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    assert wait_until(lambda: one.is_live and other.is_live)
    now = one.known.clock()
    one.known.add_report(session_id="sess_1", credentials=(DIGEST,))
    assert wait_until(lambda: other.known.is_reported_dead((DIGEST,), now))
    assert wait_until(lambda: other.known.needs_introspection("sess_1", "user_1", now, now))
    assert not other.refuses("sess_1")


@pytest.mark.rule("S52", "connection")
def test_who_comes_later_is_told_as_well(make_process: MakeProcess) -> None:
    one = make_process()
    one.known.add_report(session_id="sess_1", credentials=(DIGEST,))
    assert wait_until(lambda: one.is_live and one.feed.unsent == 0)
    other = make_process()
    assert wait_until(lambda: other.is_live)
    assert other.known.is_reported_dead((DIGEST,), one.known.clock() - 60)
    assert other.known.reported_until("sess_1") > one.known.clock() - 60


@pytest.mark.rule("S35", "S37")
def test_they_never_crowd_out_revocations(make_process: MakeProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "moonkey")

    def reasons() -> set[str]:
        return {record.__dict__["reason"] for record in list(caplog.records) if record.name == "moonkey"}

    def report(numbers: range) -> None:
        for number in numbers:
            one.known.add_report(credentials=(f"{number:032x}",))

    one, other = (make_process(max_revocations=100) for _ in range(2))
    assert wait_until(lambda: one.is_live and other.is_live)
    for first in (0, 60):  # fewer at a time than wait in the queue, so that all of them come to the stream
        report(range(first, first + 60))
        assert wait_until(lambda: one.feed.unsent == 0)
    report(range(120, 121))  # the stream is half full, so this one is sure to be dropped
    assert wait_until(lambda: "feed_reports_dropped" in reasons())
    report(range(121, 400))
    one.known.add(session_id="sess_1")
    assert wait_until(lambda: other.refuses("sess_1") and one.feed.unsent == 0)
    assert "feed_full" not in reasons()
    assert not other.refuses("sess_2")


@pytest.mark.rule("S52")
def test_who_knows_whose_it_was_tells_the_others(make_process: MakeProcess) -> None:
    one, knowing, other = make_process(), make_process(), make_process()
    assert wait_until(lambda: one.is_live and knowing.is_live and other.is_live)
    knowing.known.note_session((DIGEST,), "sess_1")
    now = one.known.clock()
    one.known.add_report(credentials=(DIGEST,), is_known=False)
    for process in (one, knowing, other):
        assert wait_until(partial(process.known.needs_introspection, "sess_1", "user_1", now, now))
        assert not process.refuses("sess_1")
