"""The settings that touch a request, in so few combinations that each two values meet in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from moonkey_core import CookieSettings

WEEK = 604_800
TTL, GRACE = 30, 120
FRESH = "x-fresh-jwt"
BUDGET = 100_000  # calls per second: more than any test makes

SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "load_user": (False, True),
    "extend_on_activity": (None, WEEK),
    "jwt_issuer": (False, True),
    "session_cache_ttl": (0, TTL),
    "grace_seconds": (0, GRACE),
    "cookies": (True, False),
    "feed": (False, True),
    "hooks": (False, True),
    "fresh_jwt_header": (None, FRESH),
    "expires_in_header": (False, True),
    "lazy": (False, True),
    "required": (False, True),
    "how": ("sync", "httpx", "aiohttp"),
    "on_feed_lost": (None, "bounded"),
    "call_budget": (None, BUDGET),
}
"""``jwt_issuer``, ``cookies``, ``feed`` and ``hooks``: whether there is any. ``how``: what makes the calls.
``on_feed_lost`` is left out where there is no feed, as it is refused there.

``max_staleness`` is no part of it, as it hides what the others do: each combination is visited with and without.
"""


# The place of each value in its row of SETTINGS, in the same order. Made by allpairspy 2.5.1, as
# AllPairs([range(len(values)) for values in SETTINGS.values()]); the last two columns were found by trying all. A
# test finds a pair that is missing.
_TABLE = (
    "000000000000000",
    "111111111111011",
    "101010101010100",
    "010101010101111",
    "011001100110201",
    "100110011001201",
    "100101101001210",
    "011010011001210",
    "100110010110210",
)


@dataclass(frozen=True)
class Combination:
    """One value for each name, as attributes."""

    values: tuple[tuple[str, Any], ...]

    def __getattr__(self, name: str) -> Any:
        for known, value in self.values:
            if known == name:
                return value
        raise AttributeError(name)

    def __repr__(self) -> str:
        """Name the values that are not the first ones."""
        return "+".join(value if name == "how" else name for name, value in self.values if value)

    def options(self, issuer: str, redis_url: str | None) -> dict[str, Any]:
        """The settings of a client."""
        names = ("load_user", "extend_on_activity", "session_cache_ttl", "grace_seconds", "expires_in_header")
        found = {name: getattr(self, name) for name in (*names, "fresh_jwt_header", "call_budget")}
        found |= {"jwt_issuer": issuer if self.jwt_issuer else None, "user_ttl": 0, "jwks_ttl": 3600}
        found |= {"cookies": CookieSettings() if self.cookies else None, "redis_url": redis_url}
        if redis_url is not None:
            found["max_revocation_lag"] = 3.0  # on a busy machine a second is soon over
            found["on_feed_lost"] = self.on_feed_lost
        return {name: value for name, value in found.items() if value is not None}


def all_pairs(*left_out: str) -> list[Combination]:
    """Combinations of all names but these, in which each two values of two names meet."""
    return [
        Combination(
            tuple(
                (name, values[int(place)])
                for place, (name, values) in zip(row, SETTINGS.items(), strict=True)
                if name not in left_out
            )
        )
        for row in _TABLE
    ]


def product_of(names: Iterable[str], more: Mapping[str, Any]) -> list[Combination]:
    """All combinations of these settings; ``more`` are the values of the others."""
    chosen = {name: SETTINGS[name] for name in names}
    return [Combination((*zip(chosen, row, strict=True), *more.items())) for row in product(*chosen.values())]


def calls_for(visits: int, row: Combination, kind: str, max_staleness: float | None = None) -> int:
    """How often the API is asked about a credential that is presented so often, one request after the other."""
    if max_staleness == 0:
        return visits
    if row.jwt_issuer and kind != "token":
        return 0
    return 1 if row.session_cache_ttl else visits
