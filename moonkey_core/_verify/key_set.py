"""A key set that was fetched, and how long it is good."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moonkey_core._plan import Reply

if TYPE_CHECKING:  # it takes 25 ms, which only those who verify JWTs here should pay
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_AHEAD = 0.8  # of its life: when a new set is fetched, off the path of any request
_SHORTEST_LIFE, _LONGEST_LIFE = 60.0, 3600.0  # bounds of what a reply may say of its own age
_MAX_HEADS = 64
_MAX_AGE = re.compile(r"(?:\A|[ ,])max-age=([0-9]{1,9})(?=[ ,]|\Z)")


class KeySet:
    """Keys and their times (Unix seconds). Never changed, only replaced, but for ``heads``.

    Up to ``fresh_until`` the keys are taken as they are, up to ``calm_until`` as well while a new set is fetched
    beside the requests, up to ``usable_until`` while no new one is to be had. ``heads`` are headers of JWTs that
    these keys have signed, with the key id that each names.
    """

    __slots__ = ("ahead_at", "calm_until", "fetched_at", "fresh_until", "heads", "keys", "usable_until")

    def __init__(self, keys: Mapping[str, RSAPublicKey], fetched_at: float, life: float, longest: float) -> None:
        self.keys = keys
        self.fetched_at = fetched_at
        self.ahead_at = fetched_at + _AHEAD * life
        self.fresh_until = fetched_at + life
        self.usable_until = fetched_at + max(longest, life)
        self.calm_until = min(fetched_at + 2 * life, self.usable_until)
        self.heads: dict[bytes, str] = {}

    def remember(self, head: bytes, kid: str) -> None:
        """Note a header that a genuine JWT had, so that the next one with the same need not be read."""
        if len(self.heads) < _MAX_HEADS:
            self.heads[head] = kid

    def __repr__(self) -> str:
        return f"KeySet(keys={len(self.keys)})"


def life_of(reply: Reply, usual: float) -> float:
    """How long a key set is fresh (seconds): what the reply says of itself, within bounds, else as usual.

    Source: RFC 9111 sections 4.2.1 and 5.2.2.
    """
    directives = reply.headers.get("cache-control", "").lower()
    found = _MAX_AGE.search(directives)
    if found is None:
        return usual
    age = reply.headers.get("age", "")
    spent = int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0
    return min(max(float(int(found[1]) - spent), min(usual, _SHORTEST_LIFE)), max(usual, _LONGEST_LIFE))
