"""What may be known when, and so which answers to a request are right."""

from __future__ import annotations

import base64
import binascii
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chaos.spans import RECOVERY, Metronome, Part, Spans

from support.fleets import Answer

ALLOWANCE = 1.0
"""Seconds above a promised lag. The promise is about the order of events; but the thread that tells the others has
to get a turn of the processor first, and here many processes want it. How late the machine was comes on top."""

_CLOCKS: tuple[Part, ...] = ("clock", "api clock")
CLOCK_NOTICED = 4.0
"""Seconds within which a process notices that its clock was set, and reads again what seems too old by it."""

FURTHEST_CLOCK = 400.0
"""Seconds that the clock of a machine may be wrong."""

_ECHO = 6.0
"""Seconds after that for which a worker may refuse a session that seemed to be over: it remembers it for five."""

_WITHOUT_KEYS = 30.0  # seconds after a worker was killed for which its successor may have found no API
_DATING_ERROR = 0.1  # seconds: by so much a worker may misread the clock of Redis, which is that of this machine
_LATENESS = 4.0  # a turn of the processor for each of: revoker's thread, Redis, proxy, reader's thread

Who = Literal["fleet", "elsewhere"]
Credential = Literal["token", "jwt", "pair"]
Lags = Mapping[str, Mapping[str, float]]


@dataclass
class Ending:
    """How a session was revoked.

    Attributes:
        who: By this package in a worker of the fleet, or elsewhere.
        begun: When that was asked for.
        done: When it was answered with 200; ``None`` while it is not known to be done.
        worker: The process that did it.
        side: The side that this process is on.
        is_published: Whether it answered that the fleet has been told.
        at_api: Whether the API was told as well.
    """

    who: Who
    begun: float
    done: float | None = None
    worker: int = 0
    side: int = 0
    is_published: bool = False
    at_api: bool = True


@dataclass(eq=False)
class Session:
    """A session as the API has it.

    ``began_at`` and ``ends_at`` are in Unix seconds, by the clock of the API. ``jwts`` stand with their dates.
    """

    user_id: str
    session_id: str
    token: str = field(repr=False)
    began_at: float
    ends_at: float
    jwts: tuple[tuple[str, float], ...] = field(repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    ending: Ending | None = None

    def add_jwt(self, jwt: str) -> bool:
        """Take a new one; false where it is another's."""
        claims = claims_of(jwt)
        if (claims.get("jti"), claims.get("sub")) != (self.session_id, self.user_id):
            return False
        if jwt != self.jwts[-1][0]:
            self.jwts = (*self.jwts[-2:], (jwt, claims["iat"]))
        return True

    def take_cookies(self, set_cookies: Sequence[str], jwt_name: str) -> str | None:
        """Take those of a response into the browser; what is wrong with them, if anything."""
        found = dict(line.split(";")[0].split("=", 1) for line in set_cookies)
        if not found:
            return None
        jwt = found.get(jwt_name)
        if jwt and not self.add_jwt(jwt):
            return "another's JWT in a cookie"
        self.cookies = {name: value for name, value in {**self.cookies, **found}.items() if value}
        return None


@dataclass
class Asked:
    """A request: what it carries, and whose it is. Without a session, it must never be let in.

    ``refusals`` are the right answers to what is no good; ``at_api``: only the API can tell, or its keys.
    ``issued_at`` is that of a JWT (Unix seconds). ``cookies`` are the names of the token's and the JWT's cookie.
    """

    kind: str
    headers: Mapping[str, str] = field(repr=False)
    session: Session | None = None
    credential: Credential = "token"
    issued_at: float | None = None
    refusals: tuple[int, ...] = (401,)
    at_api: bool = False
    cookies: tuple[str, str] = ("", "")
    side: int = 0


def claims_of(jwt: str) -> dict[str, Any]:
    """What a JWT says; nothing of it is checked."""
    try:
        middle = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


@dataclass
class Judge:
    """Says what is wrong with an answer.

    Attributes:
        lags: What the clients themselves promise, in seconds.
        jwt_max_age: Seconds for which a JWT is judged without the API.
        leeway: Seconds that clocks may differ.
        retention: Seconds for which a revocation is remembered; longer only the API knows of it.
        spans: What was disturbed.
        metronome: How late the machine was.
        api_clock: By how many seconds the clock of the API is ahead, while it is constant.
        died: When a worker was killed.
        misdated: Users all of whose sessions were revoked "until now" by a machine whose clock had just been set.
    """

    lags: Lags
    jwt_max_age: float
    leeway: float
    retention: float
    spans: Spans
    metronome: Metronome
    api_clock: float = 0.0
    died: dict[int, float] = field(default_factory=dict)
    misdated: set[str] = field(default_factory=set)
    _unix: float = field(default_factory=lambda: time.time() - time.monotonic())

    def fault(self, asked: Asked, answer: Answer) -> str | None:
        """What is wrong with it, if anything: its sort, a colon, the details."""
        if answer.status >= 500 and answer.status != 503:
            return f"a status of {answer.status}: "
        if answer.status == 503:
            return self._fault_of_not_knowing(asked, answer)
        if answer.status == 200:
            return self._fault_of_letting_in(asked, answer)
        if asked.session is None:
            return None if answer.status in asked.refusals else "not an answer to this: "
        if answer.status != 401:
            return "not an answer to this: "
        return self._fault_of_refusing(asked.session, asked, answer)

    def seconds_after(self, asked: Asked, answer: Answer) -> tuple[str, float] | None:
        """How long after its revocation a session was let in: a kind of revocation, and seconds."""
        ending = asked.session.ending if asked.session else None
        if (
            answer.status != 200
            or asked.session is None
            or ending is None
            or ending.done is None
            or answer.sent_at <= ending.done
        ):
            return None
        if self._is_forgotten(ending, answer) or self._is_dated_later(asked.session):
            return None
        return self._kind_of_ending(ending, answer), answer.sent_at - ending.done

    def _fault_of_letting_in(self, asked: Asked, answer: Answer) -> str | None:
        session = asked.session
        if session is None:
            return "let in what is no credential: "
        if (answer.body.get("user"), answer.body.get("session")) != (session.user_id, session.session_id):
            return "identity mixed up: "
        fresh = answer.headers.get("x-fresh-jwt")
        if fresh is not None and not session.add_jwt(fresh):
            return "identity mixed up: another's new JWT"
        if asked.credential == "pair":
            wrong = session.take_cookies(answer.set_cookies, asked.cookies[1])
            if wrong is not None:
                return f"identity mixed up: {wrong}"
        skew = self._skew(asked.side, answer) - min(self.api_clock, 0.0)
        if self._unix + answer.sent_at >= session.ends_at + self.leeway + skew:
            return "let in after its end: "
        ending = session.ending
        if ending is None or ending.done is None:
            return None
        deadline = self._deadline(ending, asked, answer)
        if answer.sent_at <= deadline:
            return None
        deadline += _LATENESS * self.metronome.worst(ending.done, answer.came_at)
        if ending.worker != answer.worker and answer.sent_at <= deadline:
            return None
        return (
            f"revoked accepted: {answer.sent_at - ending.done:.2f} s after its revocation "
            f"({self._kind_of_ending(ending, answer)}), by {deadline - ending.done:.2f} s it had to be refused"
        )

    def _deadline(self, ending: Ending, asked: Asked, answer: Answer) -> float:
        """When this worker had to know of it, in monotonic seconds."""
        assert ending.done is not None
        lags = [self.lags[name] for name in _lag_names(asked.credential)]
        bound = max(one["fleet"] for one in lags) + ALLOWANCE
        assert asked.session is not None
        is_misdated = not ending.at_api and asked.session.user_id in self.misdated
        if self._is_forgotten(ending, answer) or is_misdated or self._is_dated_later(asked.session):
            return math.inf
        late = _LATENESS * self.metronome.worst(answer.sent_at - CLOCK_NOTICED, answer.came_at)
        if self.spans.changed("clock", asked.side, answer.sent_at - CLOCK_NOTICED - late, answer.came_at):
            return math.inf
        if ending.who == "fleet" and ending.worker == answer.worker:
            return ending.done
        elsewhere = ending.done + max(one["elsewhere"] for one in lags) + ALLOWANCE
        # A clock that is set in the very moment may make an entry seem too old, or give it a wrong date.
        is_in_doubt = not ending.is_published or asked.session.user_id in self.misdated
        was_set = is_in_doubt and self.spans.changed(
            "clock", ending.side, ending.begun - CLOCK_NOTICED, ending.done + CLOCK_NOTICED
        )
        if ending.who == "elsewhere" or was_set:
            return elsewhere
        if not ending.at_api:
            # Without the feed a worker asks the API, which vouches for it; so does one that has just begun.
            if self.spans.felt("worker", asked.side, answer.sent_at, answer.came_at):
                return math.inf
            return self.spans.calm_at(ending.done, bound, self.spans.of("redis", "worker", "clock"))
        if ending.is_published:
            return ending.done + bound
        told_by = self.spans.calm_at(ending.done, bound, self.spans.of("redis", "worker", delaying=True))
        return min(told_by if told_by <= self.died.get(ending.worker, math.inf) else math.inf, elsewhere)

    def _fault_of_refusing(self, session: Session, asked: Asked, answer: Answer) -> str | None:
        if session.ending is not None and session.ending.begun <= answer.came_at:
            return None
        if session.user_id in self.misdated:
            return None
        skew = self._skew(asked.side, answer)
        seemed = skew or self._echo(asked.side, answer)
        if self._unix + answer.came_at + max(self.api_clock, 0.0) + seemed >= session.ends_at:
            return None
        if asked.credential == "jwt" and skew:
            return None  # it is judged by the clock of the machine, which is wrong by more than the leeway
        cleared = (
            asked.cookies[0] + "=;" in "".join(answer.set_cookies).replace('"', "") if asked.cookies[0] else False
        )
        why = answer.body.get("code") or answer.body.get("title") or answer.headers.get("www-authenticate", "")
        return f"innocent refused: {why}{', cookies cleared' if cleared else ''}"

    def _fault_of_not_knowing(self, asked: Asked, answer: Answer) -> str | None:
        """It may be unknown where the API has to be asked, and was not well."""
        when = (answer.sent_at, answer.came_at)
        # A worker that began while the API was away has no keys yet.
        at_api = asked.at_api or self.spans.felt("worker", asked.side, *when, recovery=_WITHOUT_KEYS)
        if asked.session is not None and not at_api:
            at_api = (
                self._is_past_its_time(asked, asked.session, answer)
                or self._is_in_doubt(asked.session, answer)
                or any(self.spans.felt(part, asked.side, *when) for part in ("redis", "worker", "clock"))
            )
        if not at_api:
            return "503 for nothing: nobody had to be asked"
        if asked.kind == "unknown key":
            return None  # few of them are looked for at the API
        if self.spans.felt("api", asked.side, *when, recovery=RECOVERY + self.metronome.worst(*when)):
            return None
        return "503 for nothing: the API was well"

    def _is_past_its_time(self, asked: Asked, session: Session, answer: Answer) -> bool:
        """Whether it was no JWT that could be judged by itself when the answer came."""
        if asked.credential != "jwt" or asked.issued_at is None:
            return True
        now = self._unix + answer.came_at + abs(self.api_clock)
        return now >= min(asked.issued_at + self.jwt_max_age, session.ends_at)

    @staticmethod
    def _is_in_doubt(session: Session, answer: Answer) -> bool:
        """Whether the API may have called one of its credentials dead: it has to confirm the others then.

        The worker that was told so reports it to all.
        """
        ending = session.ending
        return ending is not None and ending.at_api and ending.begun <= answer.came_at

    def _skew(self, side: int, answer: Answer) -> float:
        """By how many seconds a clock of that side may be wrong."""
        is_wrong = any(self.spans.felt(part, side, answer.sent_at, answer.came_at) for part in _CLOCKS)
        return math.inf if is_wrong else 0.0

    def _echo(self, side: int, answer: Answer) -> float:
        """By how many seconds a clock was wrong by which a session may have been over, a moment ago."""
        was_wrong = self.spans.felt("clock", side, answer.sent_at, answer.came_at, recovery=_ECHO)
        return FURTHEST_CLOCK + self.leeway if was_wrong else 0.0

    def _is_forgotten(self, ending: Ending, answer: Answer) -> bool:
        """Whether it is so long ago that only the API would know of it, which was never told."""
        return not ending.at_api and answer.came_at >= ending.begun + self.retention

    def _is_dated_later(self, session: Session) -> bool:
        """Whether its beginning has a later date than its revocation, as the clock of the API is ahead.

        A session that begins after the revocation of all until then may have the same date, and is let in. The
        clock of Redis, which is that of this machine, dates the revocation.
        """
        ending = session.ending
        if ending is None or ending.at_api:
            return False
        return session.began_at > self._unix + ending.begun - _DATING_ERROR

    @staticmethod
    def _kind_of_ending(ending: Ending, answer: Answer) -> str:
        if ending.who == "elsewhere":
            return "elsewhere"
        state = "published" if ending.is_published else "pending"
        return "here" if ending.worker == answer.worker else state if ending.at_api else f"{state}, not at the API"


def _lag_names(credential: Credential) -> tuple[str, ...]:
    return {"token": ("session_token",), "jwt": ("session_jwt",), "pair": ("session_token", "session_jwt")}[
        credential
    ]
