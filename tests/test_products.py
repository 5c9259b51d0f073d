"""Which tests of a product of parameters are run by ``make test``."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from support.products import cover

STACKS = ("flask", "django", "starlette")


@pytest.mark.parametrize("lengths", [(3, 7), (7, 3), (2, 3, 5), (4, 4), (1, 9)])
def test_each_value_takes_part_and_no_more_are_run(lengths: tuple[int, ...]) -> None:
    rows = [tuple(map(str, row)) for row in product(*map(range, lengths))]
    kept = cover(rows)
    for column, length in enumerate(lengths):
        assert len({rows[place][column] for place in kept}) == length
    assert len(kept) == max(lengths)


def test_a_short_list_is_spread_over_a_long_one() -> None:
    rows = [(value, stack) for value in "abcdefghi" for stack in STACKS]
    assert Counter(rows[place][1] for place in cover(rows)) == dict.fromkeys(STACKS, 3)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(value,) for value in "abcdefghi"], id="one list"),
        pytest.param([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")], id="few"),
        pytest.param([(value, value) for value in "abcdefghi"], id="no value stands twice"),
        pytest.param([*[("a", value) for value in "bcdefg"], ("a",)], id="of another kind"),
    ],
)
def test_what_is_run_whole(rows: list[tuple[str, ...]]) -> None:
    assert cover(rows) == set(range(len(rows)))
