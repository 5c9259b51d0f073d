"""For how long entries matter, and by which clock they are dated."""

from __future__ import annotations

from collections.abc import Callable

from moonkey_core import _clock
from moonkey_core._provider import LONGEST_LIFE, Provider
from moonkey_core._revocations.cutoff import Cutoff
from moonkey_core._verified import DEFAULT_SCOPE
from moonkey_core.settings import Settings


def retention(settings: Settings, provider: Provider | None = None) -> float:
    """Return for how many seconds an entry matters: until nothing that was verified before it is accepted.

    Args:
        settings: The settings of the client.
        provider: The provider; ``None`` for MoonKey, whose sessions end at its API as well. With any other, a
            revocation is remembered for the longest life of what it has issued.
    """
    leeway = settings.leeway
    if provider is None or provider.name == DEFAULT_SCOPE:
        life = settings.jwt_max_age
    else:
        rules = provider.jwt_rules
        life = getattr(provider, "longest_life", LONGEST_LIFE) if rules is None else rules.longest_life
        leeway = max(leeway, 0.0 if rules is None or rules.leeway is None else rules.leeway)
    # A user is also revoked for what this app has recorded of them, which may last longer.
    recorded = [one.total_seconds() for one in (settings.mfa_lifetime, settings.session_limit) if one is not None]
    return max(life, settings.session_cache_ttl, settings.grace_seconds + life, *recorded) + 2 * leeway


class Dating:
    """The clocks and the life of the entries of one table.

    Attributes:
        clock: The clock of this machine, in Unix seconds.
        retention: Seconds for which an entry is kept.
        leeway: Seconds that the clock of the issuer may be ahead of that of this machine.
        offset: Seconds that the clock that all processes have in common is ahead; ``None`` while unknown. Set it
            by :meth:`set_offset`.
        issuer_offset: Seconds that the clock of the issuer is ahead, as far as that is proven; ``None`` while
            nothing is.
    """

    __slots__ = ("_measured", "clock", "issuer_offset", "leeway", "offset", "retention")

    def __init__(self, retention: float, leeway: float = 0.0, clock: Callable[[], float] = _clock.wall) -> None:
        self.clock = clock
        self.retention = retention
        self.leeway = leeway
        self.offset: float | None = None
        self.issuer_offset: float | None = None
        self._measured: tuple[float, float] | None = None  # what the common clock showed, and monotonic seconds

    def set_offset(self, offset: float) -> None:
        """Note by how many seconds the common clock is ahead, as it was just measured."""
        if self.offset is not None and abs(offset - self.offset) > self.leeway:
            self.issuer_offset = None  # the clock of this machine was set since that was measured
        self.offset = offset
        self._measured = self.clock() + offset, _clock.elapsed()

    def now(self) -> float:
        """Return the Unix seconds by the common clock, as far as it is known.

        Where the clock of this machine was set back since the offset was measured, what is revoked until now must
        not be dated by that: it would revoke nothing.
        """
        now = self.clock() + (self.offset or 0.0)
        if self._measured is None:
            return now
        shown, at = self._measured
        return max(now, shown + _clock.elapsed() - at)

    def latest_date(self) -> float:
        """Return the latest date, by the common clock, that is proven to be possible of what was issued until now.

        The issuer dates by its own clock. It may be ahead by the leeway, and no more than that counts.
        """
        if self.issuer_offset is None:
            return self.now()
        ahead = self.issuer_offset - (self.offset or 0.0)
        return self.now() + min(max(ahead, 0.0), self.leeway)

    def by_common_clock(self, at: float | None) -> float | None:
        """Return a time by the clock of this machine as one by the common clock."""
        return None if at is None else at + (self.offset or 0.0)

    def is_current(self, added_at: float) -> bool:
        """Return whether a session still matters that was revoked then, by the clock of this machine."""
        return added_at + self.retention > self.clock()

    def cutoff(self, added_at: float) -> Cutoff:
        """Return the cut-off of all that may have been issued by then, by the clock of this machine."""
        is_local = self.offset is None
        time = added_at + (self.offset or 0.0) + self.leeway
        return Cutoff(time, added_at, by_local_clock=is_local)

    def expires_at(self, cutoff: Cutoff) -> float:
        """Return until when a cut-off matters, by the clock of this machine."""
        return max(cutoff.time - (self.offset or 0.0), cutoff.added_at) + self.retention
