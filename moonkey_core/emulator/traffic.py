"""The counts of the calls that the API got."""

from __future__ import annotations

from collections import Counter


class Traffic:
    """The calls by method and route since the last clearing, and how many ran at once at most.

    Only known routes are counted by name, so clients cannot make the table grow.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._in_flight = 0
        self._in_flight_max = 0

    def begin(self, route: str) -> None:
        """Count a call that has begun."""
        self._counts[route] += 1
        self._in_flight += 1
        self._in_flight_max = max(self._in_flight_max, self._in_flight)

    def end(self) -> None:
        """Note that a call has ended."""
        self._in_flight -= 1

    def counts(self) -> Counter[str]:
        """Return a copy of the counts; a route that was not called counts 0."""
        return Counter(self._counts)

    @property
    def in_flight_max(self) -> int:
        """The greatest number of calls that ran at the same time."""
        return self._in_flight_max

    def clear(self) -> None:
        """Reset the counts. Calls that still run count towards the maximum only."""
        self._counts.clear()
        self._in_flight_max = self._in_flight
