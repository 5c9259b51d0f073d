"""Times with up to nine digits: read exactly, compared exactly, and never made later."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moonkey_core.providers.stytch.times import (
    in_datetime,
    in_seconds,
    is_over,
    nanoseconds,
    optional_nanoseconds,
    written,
)

MOMENTS = st.integers(1, 253_402_300_799_999_999_999)


@given(MOMENTS)
@example(1_777_630_061_123_456_789)
def test_what_is_written_is_read(moment: int) -> None:
    assert nanoseconds(written(moment)) == moment


@given(MOMENTS)
def test_a_float_is_the_last_that_is_not_later(moment: int) -> None:
    found = in_seconds(moment)
    assert Fraction(found) <= Fraction(moment, 10**9) < Fraction(math.nextafter(found, math.inf))


@given(MOMENTS)
def test_a_datetime_is_cut_to_microseconds(moment: int) -> None:
    found = in_datetime(moment) - datetime(1970, 1, 1, tzinfo=UTC)
    assert (found.days * 86_400 + found.seconds) * 10**6 + found.microseconds == moment // 1000


@given(st.integers(1_000_000_000, 4_000_000_000), st.integers(-3, 3), st.sampled_from([0.0, 5.0, 0.5]))
def test_an_end_is_decided_by_the_nanosecond(now: int, nano: int, leeway: float) -> None:
    ends_at = now * 10**9 + nano
    assert is_over(ends_at, leeway, now + leeway) is (nano <= 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01T10:00:00Z", 1_777_629_600_000_000_000),
        ("2026-05-01T10:00:00.1Z", 1_777_629_600_100_000_000),
        ("2026-05-01T10:00:00.000000001Z", 1_777_629_600_000_000_001),
        ("2026-05-01t10:00:00z", 1_777_629_600_000_000_000),
        ("2026-05-01T12:00:00+02:00", 1_777_629_600_000_000_000),
        ("2026-05-01T05:30:00-04:30", 1_777_629_600_000_000_000),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999_999),
    ],
)
def test_forms(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        None, "", 1_777_629_600, 1.5, True, b"2026-05-01T10:00:00Z", "2026-05-01", "2026-05-01T10:00:00",
        "2026-05-01 10:00:00Z", "2026-05-01T10:00Z", "2026-05-01T10:00:00.Z", "2026-05-01T10:00:00.1234567890Z",
        "2026-05-01T10:00:00,5Z", "2026-13-01T10:00:00Z", "2026-02-30T10:00:00Z", "2026-05-01T24:00:00Z",
        "2026-05-01T10:00:60Z", "2026-05-01T10:00:00+0200", "2026-05-01T10:00:00+24:00",
        "2026-05-01T10:00:00+02:60",
        "2026-05-01T10:00:00Z\n", " 2026-05-01T10:00:00Z", "٢٠٢٦-05-01T10:00:00Z", "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "99999-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|range|month|hour|day|second|isoformat"):
        nanoseconds(value)


@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}[Z+\-0-9:]{1,6}", fullmatch=True)
)
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        moment = nanoseconds(text)
    except ValueError:
        return
    assert nanoseconds(written(moment)) == moment


def test_a_time_that_says_nothing_is_none() -> None:
    assert [optional_nanoseconds(one) for one in (None, "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z")] == [
        None
    ] * 3
    with pytest.raises(ValueError, match="not a time"):
        optional_nanoseconds("soon")
