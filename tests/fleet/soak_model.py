"""What was true when, and whether an answer was right."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from support.fleets import Answer

ALLOWANCE = 1.0
"""Seconds above the promised lag. The promise is about the order of events; but the thread that tells the others
has to get a turn of the processor first, and here many processes want it."""

RECOVERY = 3.0
"""Seconds after an outage for which it may still be felt: an open breaker lets one call a second through, and a
feed that has found Redis empty waits for one lag until the others have repeated what they said."""

Who = Literal["fleet", "elsewhere"]
Lags = Mapping[str, Mapping[str, float]]


class Outages:
    """When something was away or disturbed, in monotonic seconds. Written by one thread."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float | None]] = []

    def begin(self) -> None:
        self._spans.append((time.monotonic(), None))

    def end(self) -> None:
        self._spans[-1] = (self._spans[-1][0], time.monotonic())

    def touch(self, start: float, end: float, recovery: float = RECOVERY) -> bool:
        """Whether it may have been felt at any time between the two."""
        return any(
            start - recovery <= (float("inf") if stop is None else stop) and begun <= end
            for begun, stop in list(self._spans)
        )

    def last_throughout(self, start: float, end: float) -> bool:
        """Whether one of them lasted all the time between the two."""
        return any(begun <= start and (stop is None or stop >= end) for begun, stop in list(self._spans))

    def seconds(self) -> float:
        now = time.monotonic()
        return sum((now if stop is None else stop) - begun for begun, stop in list(self._spans))

    def __len__(self) -> int:
        return len(self._spans)


@dataclass
class Ending:
    """A session was revoked: by whom, in which worker. ``done`` is ``None`` while it is not known to be done."""

    who: Who
    begun: float
    worker: int = 0
    done: float | None = None


@dataclass(eq=False)
class Session:
    """A session as the API has it. ``ends_at`` is in Unix seconds; ``jwts`` stand with when they were issued."""

    user_id: str
    session_id: str
    token: str = field(repr=False)
    ends_at: float
    jwts: tuple[tuple[str, float], ...] = field(repr=False)
    ending: Ending | None = None

    def add_jwt(self, jwt: str) -> bool:
        """Take a new one; false where it is another's."""
        claims = claims_of(jwt)
        if (claims.get("jti"), claims.get("sub")) != (self.session_id, self.user_id):
            return False
        if jwt != self.jwts[-1][0]:
            self.jwts = (*self.jwts[-2:], (jwt, claims["iat"]))
        return True


@dataclass
class Asked:
    """A request: what it carries, and whose it is. Without a session, it must never be let in.

    ``refusals`` are the right answers to what is no good; ``at_api``: only the API can tell, or its keys.
    ``issued_at`` is that of a JWT (Unix seconds).
    """

    kind: str
    headers: Mapping[str, str] = field(repr=False)
    session: Session | None = None
    issued_at: float | None = None
    refusals: tuple[int, ...] = (401,)
    at_api: bool = False


def claims_of(jwt: str) -> dict[str, Any]:
    """What a JWT says; nothing of it is checked."""
    try:
        middle = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


class Judge:
    """Says what is wrong with an answer. ``lags`` is what the clients themselves promise."""

    def __init__(self, lags: Lags, jwt_max_age: float, leeway: float, upstream: Outages, redis: Outages) -> None:
        self._lags = lags
        self._jwt_max_age = jwt_max_age
        self._leeway = leeway
        self._upstream = upstream
        self._redis = redis
        self._unix = time.time() - time.monotonic()

    def fault(self, asked: Asked, answer: Answer) -> str | None:
        """What is wrong with it, if anything."""
        if answer.status == 503:
            return self._fault_of_not_knowing(asked, answer)
        if answer.status == 200:
            return self._fault_of_letting_in(asked, answer)
        if asked.session is None:
            return None if answer.status in asked.refusals else "not an answer to this"
        if answer.status != 401:
            return "not an answer to this"
        return self._fault_of_refusing(asked.session, answer)

    def seconds_after(self, asked: Asked, answer: Answer) -> tuple[str, float] | None:
        """How long after its revocation a session was let in: a kind of revocation, and seconds."""
        ending = asked.session.ending if asked.session else None
        if answer.status != 200 or ending is None or ending.done is None or answer.sent_at <= ending.done:
            return None
        return f"{self._kind(asked)}, {self._who(ending, answer)}", answer.sent_at - ending.done

    def _fault_of_letting_in(self, asked: Asked, answer: Answer) -> str | None:
        session = asked.session
        if session is None:
            return "let in"
        if (answer.body.get("user"), answer.body.get("session")) != (session.user_id, session.session_id):
            return "another's identity"
        fresh = answer.headers.get("x-fresh-jwt")
        if fresh is not None and not session.add_jwt(fresh):
            return "another's new JWT"
        if self._unix + answer.sent_at >= session.ends_at + self._leeway:
            return "let in after its end"
        ending = session.ending
        if ending is None or ending.done is None:
            return None
        who = self._who(ending, answer)
        bound = self._lags[self._kind(asked)][who] + (ALLOWANCE if who != "here" else 0.0)
        late = answer.sent_at - ending.done
        return f"revoked ({who}) {late:.2f} s ago, {bound:g} s are the bound" if late > bound else None

    def _fault_of_refusing(self, session: Session, answer: Answer) -> str | None:
        if session.ending is not None and session.ending.begun <= answer.came_at:
            return None
        return None if self._unix + answer.came_at >= session.ends_at else "refused, and it is good"

    def _fault_of_not_knowing(self, asked: Asked, answer: Answer) -> str | None:
        """It may be unknown where the API has to be asked, and was not well."""
        when = (answer.sent_at, answer.came_at)
        at_api = asked.at_api
        if asked.session is not None:
            at_api = self._is_past_its_time(asked, asked.session, answer) or self._redis.touch(*when)
        if not at_api:
            return "503, and nobody had to be asked"
        if asked.kind == "unknown key":
            return None  # few of them are looked for at the API
        return None if self._upstream.touch(*when) else "503, and the API was well"

    def _is_past_its_time(self, asked: Asked, session: Session, answer: Answer) -> bool:
        """Whether it was no JWT that could be judged by itself when the answer came."""
        if asked.issued_at is None:
            return True
        return self._unix + answer.came_at >= min(asked.issued_at + self._jwt_max_age, session.ends_at)

    @staticmethod
    def _kind(asked: Asked) -> str:
        return "session_token" if asked.issued_at is None else "session_jwt"

    @staticmethod
    def _who(ending: Ending, answer: Answer) -> str:
        return "here" if ending.worker == answer.worker else ending.who
