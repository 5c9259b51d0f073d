"""The requests: good ones, bad ones, and a flood of junk."""

from __future__ import annotations

import base64
import json
import random
import secrets
import threading
from collections.abc import Callable

from fleet.soak_figures import Figures
from fleet.soak_model import Asked, Session
from fleet.soak_people import NO_ANSWER, People

from support.fleets import Line, Server, bearer

_NEW_LINE = 0.03  # of all requests are on a connection of their own, and so reach another worker
_NEWEST = 0.7  # of all JWTs; the others are an old one again
_PAUSE = 0.001  # seconds between two requests of a thread

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
    """Asks and notes. Each of ``mixed_until`` and ``junk_until`` runs in several threads."""

    def __init__(self, fleets: list[Server], people: People, forger: Forger, figures: Figures) -> None:
        self._fleets = fleets
        self._people = people
        self._forger = forger
        self._figures = figures
        self._kinds: list[tuple[int, Callable[[random.Random], Asked | None]]] = [
            (30, self._good_jwt),
            (12, self._good_token),
            (10, self._gone_jwt),
            (10, self._gone_token),
            (5, self._forged),
            (3, self._dead),
            (1, self._unknown_key),
            (2, lambda rng: Asked("malformed", rng.choice(_MALFORMED), refusals=(400, 401, 431))),
            (2, lambda rng: Asked("nothing", {})),
        ]

    def mixed_until(self, stopped: threading.Event, seed: int) -> None:
        """All kinds of requests, those of signed-in people above all."""
        rng = random.Random(seed)
        weights, makers = [weight for weight, _ in self._kinds], [make for _, make in self._kinds]
        self._ask_until(stopped, rng, lambda: rng.choices(makers, weights)[0](rng))

    def junk_until(self, stopped: threading.Event, seed: int) -> None:
        """Nothing but tokens that nobody has ever had, each another."""
        rng = random.Random(seed)
        self._ask_until(stopped, rng, lambda: Asked("junk", _shown(rng, _junk(rng)), at_api=True))

    def _ask_until(self, stopped: threading.Event, rng: random.Random, make: Callable[[], Asked | None]) -> None:
        lines = [Line(server.port) for server in self._fleets]
        while not stopped.wait(_PAUSE):
            asked, line = make(), rng.choice(lines)
            if asked is None:
                continue
            if rng.random() < _NEW_LINE:
                line.close()
            try:
                self._figures.note(asked, line.get("/me", asked.headers))
            except NO_ANSWER as error:
                self._figures.note_wrong(f"{asked.kind}: no answer ({type(error).__name__}: {error})")
        for line in lines:
            line.close()

    def _good_jwt(self, rng: random.Random) -> Asked | None:
        return self._jwt("JWT", rng, self._people.there)

    def _good_token(self, rng: random.Random) -> Asked | None:
        return self._token("token", rng, self._people.there)

    def _gone_jwt(self, rng: random.Random) -> Asked | None:
        return self._jwt("ended JWT", rng, self._people.gone)

    def _gone_token(self, rng: random.Random) -> Asked | None:
        return self._token("ended token", rng, self._people.gone)

    @staticmethod
    def _jwt(kind: str, rng: random.Random, sessions: tuple[Session, ...]) -> Asked | None:
        if not sessions:
            return None
        session = _one_of(rng, sessions)
        jwt, issued_at = session.jwts[-1] if rng.random() < _NEWEST else rng.choice(session.jwts)
        return Asked(kind, _shown(rng, jwt), session, issued_at)

    @staticmethod
    def _token(kind: str, rng: random.Random, sessions: tuple[Session, ...]) -> Asked | None:
        if not sessions:
            return None
        session = _one_of(rng, sessions)
        return Asked(kind, _shown(rng, session.token), session)

    def _forged(self, rng: random.Random) -> Asked | None:
        if len(self._people.there) < 2:
            return None
        victim, other = rng.sample(self._people.there, 2)
        return Asked("forged", _shown(rng, self._forger.forged(rng, victim, other)), refusals=(400, 401))

    def _dead(self, rng: random.Random) -> Asked:
        return Asked("long over", _shown(rng, self._forger.dead(rng)), at_api=True)

    def _unknown_key(self, rng: random.Random) -> Asked:
        return Asked("unknown key", _shown(rng, self._forger.unknown_key(rng)), at_api=True)


def _one_of(rng: random.Random, sessions: tuple[Session, ...]) -> Session:
    """The latest more often than the others: of those that are gone, they are the test."""
    return sessions[-1 - int(len(sessions) * rng.random() ** 3)]


def _shown(rng: random.Random, credential: str) -> dict[str, str]:
    return bearer(credential) if rng.random() < 0.5 else {"Session-Token": credential}


def _junk(rng: random.Random) -> str:
    return f"{rng.choice(['session_', ''])}{rng.getrandbits(320):080x}"
