"""Those who sign in, and whose sessions end: by their time, in a worker of the fleet, or elsewhere."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import deque
from dataclasses import dataclass

from fleet.soak_figures import Figures
from fleet.soak_model import Ending, Session, Who, claims_of

from support.fleets import Line, Server

NO_ANSWER = (OSError, http.client.HTTPException)

_USERS = 40
_SESSIONS = 80
_GONE = 150  # ended sessions that still come by
_PAUSE = 0.1  # seconds between two endings, or two signings in
_SHORT = 0.2  # of all sessions
_AFTERWARDS = 2.0  # seconds: a new session begins in a later second than the one in which all before were refused


@dataclass
class _User:
    """``free_at`` (monotonic seconds): from then on new sessions may begin."""

    email: str
    user_id: str = ""
    free_at: float = 0.0


class People:
    """All sessions there are. ``sign_in_until`` and ``end_until`` each run in a thread of their own."""

    def __init__(self, seed: int, emulator: Server, fleets: list[Server], figures: Figures) -> None:
        self._arrivals, self._departures = random.Random(seed), random.Random(seed + 1)
        self._emulator = emulator
        self._fleets = fleets
        self._figures = figures
        self._users = [_User(f"person{number}@example.com") for number in range(_USERS)]
        self.there: tuple[Session, ...] = ()
        self.gone: tuple[Session, ...] = ()
        self._unsure: deque[Session] = deque()
        self._lock = threading.Lock()

    def sign_in_until(self, stopped: threading.Event) -> None:
        """Keep their number."""
        line = Line(self._emulator.port)
        while not stopped.wait(0.01 if len(self.there) < _SESSIONS / 2 else _PAUSE / 2):
            if len(self.there) < _SESSIONS:
                try:
                    self._sign_in(line)
                except NO_ANSWER:
                    stopped.wait(_PAUSE)  # the API is away
        line.close()

    def end_until(self, stopped: threading.Event) -> None:
        """End some, in one way or another, and try again where it is not known whether it was done."""
        lines = {server.port: Line(server.port) for server in [self._emulator, *self._fleets]}
        while not stopped.wait(_PAUSE):
            self._retire()
            if self._unsure:
                self._again(lines, self._unsure[0])
            elif len(self.there) > _SESSIONS / 2:
                self._end_one(lines, self._departures.choice(self.there))
        for line in lines.values():
            line.close()

    def _sign_in(self, line: Line) -> None:
        with self._lock:
            user = self._arrivals.choice(self._users)
            if user.free_at > time.monotonic():
                return
            lifetime = 6.0 if self._arrivals.random() < _SHORT else 3600.0
            answer = line.post("/_emulator/sign-in", {"email": user.email, "minutes": lifetime / 60})
            if answer.status != 200:
                return
            found = answer.body
            user.user_id = found["user_id"]
            claims = claims_of(found["session_jwt"])
            inner = next(value for value in claims.values() if isinstance(value, dict))
            session = Session(
                found["user_id"],
                found["session_id"],
                found["session_token"],
                float(inner["expires_at"]),
                ((found["session_jwt"], claims["iat"]),),
            )
            self.there = (*self.there, session)
        self._figures.note_action("signed in")

    def _retire(self) -> None:
        with self._lock:
            over = tuple(one for one in self.there if one.ending is not None or one.ends_at <= time.time())
            self.there = tuple(one for one in self.there if one not in over)
            self.gone = (*self.gone, *over)[-_GONE:]

    def _end_one(self, lines: dict[int, Line], session: Session) -> None:
        chance = self._departures.random()
        if chance < 0.2:
            self._sign_out(lines, session.user_id)
            return
        session.ending = Ending("fleet" if chance < 0.7 else "elsewhere", time.monotonic())
        self._again(lines, session)

    def _again(self, lines: dict[int, Line], session: Session) -> None:
        assert session.ending is not None
        line = lines[self._place(session.ending.who)]
        path = "/revoke" if session.ending.who == "fleet" else "/_emulator/revoke"
        if self._done(line, path, {"session_id": session.session_id}, [session]):
            self._figures.note_action(f"revoked ({session.ending.who})")

    def _sign_out(self, lines: dict[int, Line], user_id: str) -> None:
        """All sessions of a user, at once."""
        with self._lock:  # nobody signs in meanwhile
            user = next(one for one in self._users if one.user_id == user_id)
            user.free_at = float("inf")
            theirs = [one for one in self.there if one.user_id == user_id and one.ending is None]
            begun = time.monotonic()
            for one in theirs:
                one.ending = Ending("fleet", begun)
        if self._done(lines[self._place("fleet")], "/sign-out", {"user_id": user_id}, theirs):
            self._figures.note_action("signed out everywhere")
        user.free_at = time.monotonic() + _AFTERWARDS

    def _done(self, line: Line, path: str, body: dict[str, str], sessions: list[Session]) -> bool:
        """Do it; where that fails they are tried again, one by one."""
        try:
            answer = line.post(path, body)
        except NO_ANSWER as error:
            if not path.startswith("/_emulator"):
                self._figures.note_wrong(f"{path}: no answer ({type(error).__name__})")
            answer = None
        if answer is not None and answer.status not in (200, 503):
            self._figures.note_wrong(f"{path}: {answer.status}; {answer.body}")
        done = answer is not None and answer.status == 200
        for session in sessions:
            assert session.ending is not None
            if session in self._unsure and done:
                self._unsure.remove(session)
            elif session not in self._unsure and not done:
                self._unsure.append(session)
            if done and answer is not None:
                session.ending.worker, session.ending.done = answer.worker, answer.came_at
        return done

    def _place(self, who: Who) -> int:
        return self._emulator.port if who == "elsewhere" else self._departures.choice(self._fleets).port
