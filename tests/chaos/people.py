"""Those who sign in, and whose sessions end: by their time, in a worker of the fleet, or elsewhere."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.model import Ending, Session, claims_of
from chaos.tally import Tally

from moonkey_core import Settings
from support.bindings import JWT, SESSION, bound
from support.fleets import Answer, Line

NO_ANSWER = (OSError, http.client.HTTPException)

_USERS = 40
_SESSIONS = 60
_GONE = 150  # ended sessions that still come by
_PAUSE = 0.1  # seconds between two endings, or two signings in
_SHORT = 0.15  # of all sessions
_SHORT_LIFE, _LONG_LIFE = 6.0, 3600.0  # seconds
_AFTERWARDS = 3.0
"""Seconds: a new session begins in a later second than the one in which all before were refused, and the leeway
later, by which the clock of the API may have been ahead then."""

_WAYS = {"/revoke": 0.5, "elsewhere": 0.15, "/sign-out": 0.2, "/revoke-user": 0.15}


@dataclass
class _User:
    """``free_at`` (monotonic seconds): from then on new sessions may begin."""

    email: str
    user_id: str = ""
    free_at: float = 0.0


class People:
    """All sessions there are. ``sign_in_until`` and ``end_until`` each run in a thread of their own.

    Args:
        seed: Of all that is random here.
        api: The emulator's port.
        ports: Those of the servers, by side.
        settings: Those of the fleet, by which a browser's cookies are bound together.
        tally: Counts what is done.
    """

    def __init__(self, seed: str, api: int, ports: Sequence[int], settings: Settings, tally: Tally) -> None:
        self._arrivals, self._departures = random.Random(f"{seed} arrivals"), random.Random(f"{seed} departures")
        self._api = api
        self._ports = ports
        self._settings = settings
        self._tally = tally
        self._users = [_User(f"person{number}@example.com") for number in range(_USERS)]
        self.there: tuple[Session, ...] = ()
        self.gone: tuple[Session, ...] = ()
        self.may_end = threading.Event()
        self.may_end.set()
        self._unsure: deque[tuple[Session, str]] = deque()
        self._lock = threading.Lock()

    def sign_in_until(self, stopped: threading.Event) -> None:
        """Keep their number."""
        line = Line(self._api)
        while not stopped.wait(0.01 if len(self.there) < _SESSIONS / 2 else _PAUSE / 2):
            self._retire()
            if len(self.there) < _SESSIONS:
                try:
                    self._sign_in(line)
                except NO_ANSWER:
                    stopped.wait(_PAUSE)  # the API is away
        line.close()

    def end_until(self, stopped: threading.Event) -> None:
        """End some, in one way or another, and try again where it is not known whether it was done."""
        lines = [Line(port) for port in self._ports]
        api = Line(self._api)
        while not stopped.wait(_PAUSE):
            if self._unsure:
                self._again(lines, api, *self._unsure[0])
            elif len(self.there) > _SESSIONS / 2 and self.may_end.is_set():
                self._end_one(lines, api)
        for line in (*lines, api):
            line.close()

    def one_more(self, line: Line) -> Session | None:
        """Sign somebody in, with a session that lasts: for a scenario that ends it itself."""
        with self._lock:
            user = self._arrivals.choice([one for one in self._users if one.free_at <= time.monotonic()])
            return self._begin(line, user, _LONG_LIFE)

    def newcomer(self, line: Line, email: str) -> Session | None:
        """Sign in somebody who is not one of the usual people."""
        return self._begin(line, _User(email), _LONG_LIFE)

    def end(self, line: Line, session: Session, side: int, path: str = "/revoke") -> Answer | None:
        """End this session; returns the answer to that. Any other of its user may end, too."""
        if path == "/revoke":
            session.ending = session.ending or Ending("fleet", time.monotonic())
            return self._ask(line, path, {"session_id": session.session_id}, [session], side)
        return self._end_user(line, session.user_id, side, path)

    def retire(self, session: Session) -> None:
        """Have a session of :meth:`one_more` that has ended asked for with the others that have."""
        with self._lock:
            self.gone = (*self.gone, session)[-_GONE:]

    def _sign_in(self, line: Line) -> None:
        with self._lock:
            user = self._arrivals.choice(self._users)
            if user.free_at > time.monotonic():
                return
            made = self._begin(line, user, _SHORT_LIFE if self._arrivals.random() < _SHORT else _LONG_LIFE)
            if made is not None:
                self.there = (*self.there, made)

    def _begin(self, line: Line, user: _User, lifetime: float) -> Session | None:
        answer = line.post("/_emulator/sign-in", {"email": user.email, "minutes": lifetime / 60})
        if answer.status != 200:
            return None
        found = answer.body
        user.user_id = found["user_id"]
        token, jwt = found["session_token"], found["session_jwt"]
        claims = claims_of(jwt)
        inner = next(value for value in claims.values() if isinstance(value, dict))
        ends_at = float(inner["expires_at"])
        cookies = bound({SESSION: token, JWT: jwt}, self._settings)
        self._tally.note_action("signed in")
        jwts = ((jwt, claims["iat"]),)
        return Session(found["user_id"], found["session_id"], token, claims["iat"], ends_at, jwts, cookies)

    def _retire(self) -> None:
        with self._lock:
            over = tuple(one for one in self.there if one.ending is not None or one.ends_at <= time.time())
            self.there = tuple(one for one in self.there if one not in over)
            self.gone = (*self.gone, *over)[-_GONE:]

    def _end_one(self, lines: list[Line], api: Line) -> None:
        rng, there = self._departures, self.there
        session = rng.choice(there)
        way = rng.choices(list(_WAYS), list(_WAYS.values()))[0]
        if way in ("/sign-out", "/revoke-user"):
            side = rng.randrange(len(lines))
            self._end_user(lines[side], session.user_id, side, way)
            return
        session.ending = Ending("elsewhere" if way == "elsewhere" else "fleet", time.monotonic())
        self._again(lines, api, session, "/_emulator/revoke" if way == "elsewhere" else way)

    def _again(self, lines: list[Line], api: Line, session: Session, path: str) -> None:
        side = self._departures.randrange(len(lines))
        line = api if path.startswith("/_emulator") else lines[side]
        self._ask(line, path, {"session_id": session.session_id}, [session], side)

    def _end_user(self, line: Line, user_id: str, side: int, path: str) -> Answer | None:
        """End all sessions of a user, at once."""
        with self._lock:  # nobody signs in meanwhile
            user = next(one for one in self._users if one.user_id == user_id)
            user.free_at = float("inf")
            theirs = [one for one in self.there if one.user_id == user_id and one.ending is None]
            begun = time.monotonic()
            for one in theirs:
                one.ending = Ending("fleet", begun, at_api=path != "/revoke-user")
        answer = self._ask(line, path, {"user_id": user_id}, theirs, side)
        self._tally.note_end_of_user(user_id, side, begun)
        user.free_at = time.monotonic() + _AFTERWARDS
        return answer

    def _ask(
        self, line: Line, path: str, body: dict[str, str], sessions: list[Session], side: int
    ) -> Answer | None:
        """Do it; where that fails they are tried again, one by one."""
        begun = time.monotonic()
        try:
            answer = line.post(path, body)
        except NO_ANSWER as error:
            answer = None
            if not path.startswith("/_emulator"):
                self._tally.note_no_answer(path, side, begun, error)
        if answer is not None and answer.status not in (200, 503):
            self._tally.note_wrong(f"a status of {answer.status}: {path}: {answer.body}")
        done = answer is not None and answer.status == 200
        for session in sessions:
            assert session.ending is not None
            found = next((one for one in self._unsure if one[0] is session), None)
            if found is not None and done:
                self._unsure.remove(found)
            elif found is None and not done:
                # Now it is to be ended for good.
                session.ending.at_api = True
                self._unsure.append((session, path if path.startswith("/_emulator") else "/revoke"))
            if done and answer is not None:
                session.ending.worker, session.ending.side = answer.worker, side
                session.ending.is_published = answer.body.get("state") == "published"
                session.ending.done = answer.came_at
        if done and answer is not None:
            self._tally.note_ending(path, answer.body.get("state", ""))
        return answer
