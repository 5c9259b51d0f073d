"""The configurations of the README's table of lags, and what is measured of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lag_fleet import Api

MAX_LAG = 1.0  # seconds: the default of max_revocation_lag
SHORT: dict[str, float] = {"session_cache_ttl": 5, "jwt_max_age": 10, "leeway": 2, "feed_lost_bound": 4}
FULL: dict[str, float] = {"session_cache_ttl": 30, "jwt_max_age": 300, "leeway": 5, "feed_lost_bound": 10}
OF_TOKENS, OF_JWTS = ("token",), ("JWT", "old JWT")
IN_COOKIES = ("cookies", "old cookies")  # a token and a JWT
PHASES = ("", "**Redis dies**", "**the feed is lost**")
LIVE, DIES, LOST = range(3)


@dataclass(frozen=True)
class Setup:
    """A configuration of the README's table: its words there, and the settings."""

    words: str
    kinds: tuple[str, ...]
    settings: tuple[str, ...] = ()  # of those that are made short
    issuer: bool = False
    feed: bool = False
    on_feed_lost: str = ""
    fresh: bool = False  # a route with max_staleness=0 as well

    @property
    def credentials(self) -> tuple[str, ...]:
        """Those of its rows; where JWTs are not verified locally, the token in the cookies decides."""
        return (*self.kinds, *IN_COOKIES)

    def is_token(self, credential: str) -> bool:
        """Whether the client's figure for session tokens holds for a credential."""
        return credential == "token" or (credential in IN_COOKIES and not self.issuer)

    def options(self, api: Api, values: dict[str, float]) -> dict[str, Any]:
        """The settings of the app."""
        found: dict[str, Any] = {name: values[name] for name in self.settings}
        if self.issuer:
            found["jwt_issuer"] = api.issuer
        if self.on_feed_lost:
            found["on_feed_lost"] = self.on_feed_lost
        return found


_JWT = ("jwt_max_age", "leeway")
SETUPS = (
    Setup("the default; no `jwt_issuer`", (*OF_TOKENS, *OF_JWTS), fresh=True),
    Setup("with `session_cache_ttl`", OF_TOKENS, ("session_cache_ttl",)),
    Setup("with `session_cache_ttl`, a feed", OF_TOKENS, ("session_cache_ttl",), feed=True),
    Setup("with `jwt_issuer`", OF_JWTS, _JWT, issuer=True, fresh=True),
    Setup("with `jwt_issuer`, a feed", OF_JWTS, _JWT, issuer=True, feed=True),
    Setup(
        "with `session_cache_ttl`, a feed, `on_feed_lost=bounded`",
        OF_TOKENS,
        ("session_cache_ttl", "feed_lost_bound"),
        feed=True,
        on_feed_lost="bounded",
    ),
    Setup(
        "with `jwt_issuer`, a feed, `on_feed_lost=bounded`",
        OF_JWTS,
        (*_JWT, "feed_lost_bound"),
        issuer=True,
        feed=True,
        on_feed_lost="bounded",
    ),
    Setup(
        "with `jwt_issuer`, a feed, `on_feed_lost=local`",
        OF_JWTS,
        _JWT,
        issuer=True,
        feed=True,
        on_feed_lost="local",
    ),
)


@dataclass(frozen=True, order=True)
class Line:
    """A line of the table: a setup by its place, what is asked of it, and with which credential."""

    place: int
    phase: int
    fresh: bool
    what: str

    @property
    def is_connection(self) -> bool:
        """Whether it is no credential in requests."""
        return self.what.startswith("connection")

    @property
    def words(self) -> str:
        """The configuration, in words."""
        told = [SETUPS[self.place].words]
        if self.fresh:
            told.append("a route with `max_staleness=0`")
        if self.phase != LIVE:
            told.append(PHASES[self.phase])
        return "; ".join(told)
