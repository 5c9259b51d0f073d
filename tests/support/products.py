"""Of a test with several lists of parameters, ``make test`` runs so many that each value takes part.

That each value is right with each of the other lists is what the whole product shows: in ``make test-all``, and
with other releases and Pythons, where ``TESTS_WHOLE_PRODUCTS`` is set.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pytest

_SMALL = 6  # products of fewer tests are left whole


def mark_long(items: Iterable[pytest.Item]) -> None:
    """Mark as ``long`` what no value of a parameter needs."""
    if os.environ.get("TESTS_WHOLE_PRODUCTS"):
        return
    products: defaultdict[str, list[tuple[pytest.Item, Sequence[str]]]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and not item.get_closest_marker("long"):
            products[item.nodeid.partition("[")[0]].append((item, item.callspec._idlist))
    for product in products.values():
        kept = cover([values for _, values in product])
        for place, (item, _) in enumerate(product):
            if place not in kept:
                item.add_marker(pytest.mark.long)


def cover(rows: Sequence[Sequence[str]]) -> set[int]:
    """Return the places of few rows that have each value of each column: all of them, if they are no product.

    The row that adds most is taken next; of several, the one whose values were taken least often, so that a short
    list of values is spread over a long one.
    """
    widths = {len(row) for row in rows}
    if len(rows) < _SMALL or len(widths) > 1 or max(widths) < 2:
        return set(range(len(rows)))
    cells = [list(enumerate(row)) for row in rows]
    times = Counter[tuple[int, str]]()
    wanted = {cell for row in cells for cell in row}
    kept: set[int] = set()
    while not wanted <= times.keys():
        place = min(
            (place for place in range(len(rows)) if place not in kept),
            key=lambda place: (
                sum(cell in times for cell in cells[place]),
                sum(times[cell] for cell in cells[place]),
                place,
            ),
        )
        kept.add(place)
        times.update(cells[place])
    return kept
