"""The requests: good ones, bad ones, and junk."""

from __future__ import annotations

import base64
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from chaos.model import Asked, Credential, Session
from chaos.people import NO_ANSWER, People
from chaos.tally import Tally

from support.bindings import JWT, SESSION
from support.fleets import Line, bearer

_NEW_LINE = 0.1  # of all requests are on a connection of their own, and so reach another worker
_NEWEST = 0.7  # of all JWTs; the others are an old one again
_PAUSE = 0.004  # seconds between two requests of a thread
_PATHS = ("/me", "/me", "/me", "/async-me")

_MALFORMED: tuple[dict[str, str], ...] = (
    bearer("no spaces allowed"),
    bearer("a" * 8193),
    bearer('"quoted"'),
    {"Authorization": "Bearer "},
    {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
    {**bearer("session_" + "a" * 56), "Session-Token": "session_" + "b" * 56},
)


class Forger:
    """Makes what never may be let in. ``minted`` are JWTs that another key, or another issuer's, has signed."""

    def __init__(self, minted: dict[str, list[str]]) -> None:
        self._minted = minted

    def forged(self, rng: random.Random, victim: Session, other: Session) -> str:
        """A JWT of the victim that is not genuine."""
        theirs, ours = victim.jwts[-1][0].split("."), other.jwts[-1][0].split(".")
        return rng.choice(
            [
                # Somebody's own signature under another's name.
                ".".join([ours[0], theirs[1], ours[2]]),
                ".".join([theirs[0], theirs[1], _b64(secrets.token_bytes(256))]),
                ".".join([_b64(json.dumps({"alg": "none", "typ": "JWT"}).encode()), theirs[1], ""]),
                rng.choice(self._minted["foreign key"]),
                rng.choice(self._minted["other issuer"]),
            ]
        )

    def dead(self, rng: random.Random) -> str:
        """A genuine JWT that is long over, of a session that does not exist."""
        return rng.choice(self._minted["long over"])

    def unknown_key(self, rng: random.Random) -> str:
        """A JWT that names a key that nobody knows."""
        return rng.choice(self._minted["unknown key"])


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Traffic:
    """Asks and notes. ``mixed_until`` runs in several threads. ``ports`` are those of the servers, by side."""

    def __init__(self, ports: Sequence[int], people: People, forger: Forger, tally: Tally) -> None:
        self._ports = ports
        self._people = people
        self._forger = forger
        self._tally = tally
        self._kinds: list[tuple[int, Callable[[random.Random], Asked | None]]] = [
            (24, lambda rng: self._of_one(rng, "jwt", self._people.there)),
            (8, lambda rng: self._of_one(rng, "token", self._people.there)),
            (14, lambda rng: self._of_one(rng, "pair", self._people.there)),
            (14, lambda rng: self._of_one(rng, "jwt", self._people.gone)),
            (6, lambda rng: self._of_one(rng, "token", self._people.gone)),
            (10, lambda rng: self._of_one(rng, "pair", self._people.gone)),
            (5, self._forged),
            (3, lambda rng: Asked("long over", _shown(rng, self._forger.dead(rng)), at_api=True)),
            (1, lambda rng: Asked("unknown key", _shown(rng, self._forger.unknown_key(rng)), at_api=True)),
            (3, lambda rng: Asked("junk", _shown(rng, _junk(rng)), at_api=True)),
            (2, lambda rng: Asked("malformed", rng.choice(_MALFORMED), refusals=(400, 401, 431))),
            (2, lambda rng: Asked("nothing", {})),
        ]

    def mixed_until(self, stopped: threading.Event, seed: str) -> None:
        """All kinds of requests, those of signed-in people above all."""
        rng = random.Random(seed)
        weights, makers = [weight for weight, _ in self._kinds], [make for _, make in self._kinds]
        lines = [Line(port) for port in self._ports]
        while not stopped.wait(_PAUSE):
            asked = rng.choices(makers, weights)[0](rng)
            side = rng.randrange(len(lines))
            if rng.random() < _NEW_LINE:
                lines[side].close()
            if asked is not None:
                self.ask(lines[side], asked, side, rng.choice(_PATHS))
        for line in lines:
            line.close()

    def ask(self, line: Line, asked: Asked, side: int, path: str = "/me") -> int:
        """Ask one of the side's workers, have the answer judged, and return its status; 0 where there was none."""
        asked.side = side
        begun = time.monotonic()
        try:
            answer = line.get(path, asked.headers)
        except NO_ANSWER as error:
            self._tally.note_no_answer(asked.kind, side, begun, error)
            return 0
        self._tally.note(asked, answer)
        return answer.status

    def _of_one(self, rng: random.Random, credential: Credential, sessions: tuple[Session, ...]) -> Asked | None:
        """A request of a session that is there, or gone: of the latest more often, which are the test."""
        if not sessions:
            return None
        session = sessions[-1 - int(len(sessions) * rng.random() ** 3)]
        return asked_of(session, credential, rng)

    def _forged(self, rng: random.Random) -> Asked | None:
        there = self._people.there
        if len(there) < 2:
            return None
        victim, other = rng.sample(there, 2)
        return Asked("forged", _shown(rng, self._forger.forged(rng, victim, other)), refusals=(400, 401))


def asked_of(session: Session, credential: Credential, rng: random.Random) -> Asked:
    """A request with this kind of credential of a session."""
    kind = credential if session.ending is None else f"ended {credential}"
    if credential == "token":
        return Asked(kind, _shown(rng, session.token), session, credential)
    if credential == "pair":
        line = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
        return Asked(kind, {"Cookie": line}, session, credential, cookies=(SESSION, JWT))
    jwt, issued_at = session.jwts[-1] if rng.random() < _NEWEST else rng.choice(session.jwts)
    return Asked(kind, _shown(rng, jwt), session, credential, issued_at)


def _shown(rng: random.Random, credential: str) -> dict[str, str]:
    return bearer(credential) if rng.random() < 0.5 else {"Session-Token": credential}


def _junk(rng: random.Random) -> str:
    return f"{rng.choice(['session_', ''])}{rng.getrandbits(320):080x}"
