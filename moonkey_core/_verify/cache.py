"""Credentials that were verified, and what each proved: kept under a keyed digest, never under the credential.

Whoever finds one here still has to ask whether it is good *now*: its time, its key, revocations.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol

from cachetools import FIFOCache, TTLCache

from moonkey_core import _clock
from moonkey_core.errors import InvalidCredentials, RevokedCredentials
from moonkey_core.models import Session, User, VerifiedSession, with_user_id
from moonkey_core.settings import Secret, Settings
from moonkey_core.web.credentials import CookiePair, bare_token

_Refusal = tuple[type[InvalidCredentials], str]
_MAX_REFUSED = 4096
_REFUSED_SECONDS = 5.0
_REPLACED_SECONDS = 60.0
_MAX_ACQUAINTED = 65_536
_MAX_GIVEN_BACK = 16_384
_GIVEN_BACK_SECONDS = 86_400.0


Body = bytes | Mapping[str, Any]
"""What somebody said about a user and session, as JSON or decoded already. It has been checked."""


class Reader(Protocol):
    """Makes something of a body."""

    def user(self, body: Body) -> User:
        """The user it speaks of."""
        ...

    def session(self, body: Body) -> Session:
        """The session it speaks of."""
        ...


@dataclasses.dataclass(slots=True, kw_only=True, repr=False, eq=False)
class Known:
    """A credential that was verified once. All times are Unix seconds.

    It may be reused from ``starts_at`` (less the leeway) until ``until``. ``as_of`` is when the API itself last
    vouched for it: when it was asked (``asked_at``), else when a JWT was issued. ``good_at`` is when it was last
    found good, ``started_at`` and ``ends_at`` when its session started and ends. ``key`` is the key that signed a
    JWT that was verified here. ``checked`` is the version of the revocations that it has passed, ``key_set`` the
    set that its key was last seen in; ``doubted`` says that the API has to vouch for it all the same. Its user and
    session are made from ``body`` when somebody looks at them.
    """

    body: Body
    reader: Reader
    session_id: str
    user_id: str
    issued_at: float | None
    starts_at: float
    until: float
    as_of: float
    ends_at: float
    good_at: float
    asked_at: float = -math.inf
    started_at: float | None = None
    checked: int = -1
    kid: str | None = None
    key: object = None
    key_set: object = None
    doubted: bool = False
    simple_user: User | None = None

    def user(self) -> User:
        """The user, under the id that the credential proved."""
        if self.simple_user is not None:
            return self.simple_user
        user = with_user_id(self.reader.user(self.body), self.user_id)
        if self.key is not None:  # a JWT says no more than the id: one object serves all requests
            self.simple_user = user
        return user

    def session(self) -> Session:
        """The session."""
        return self.reader.session(self.body)

    def read(self) -> VerifiedSession:
        """Both."""
        return VerifiedSession(self.user(), self.session())


class KnownCredentials:
    """What is remembered of credentials, each kind within bounds of its own.

    Only what was found good comes in among the good, so strangers cannot push anything out.
    """

    def __init__(self, settings: Settings) -> None:
        # A secret block in front, and the settings, which decide what a credential proves. Half of the output is
        # dropped, so that not even one who saw digests could continue them.
        self._start = sha256(secrets.token_bytes(64) + sha256(_fingerprint(settings)).digest())
        self._maxsize = settings.max_cached_sessions
        self._lock = threading.Lock()
        self._make_tables()

    def _make_tables(self) -> None:
        # Ordered by age; of the standard library, as there may be very many: it takes half the memory of a cache.
        self._good: OrderedDict[bytes, Known] = OrderedDict()
        self._refused: TTLCache[bytes, _Refusal] = _short_memory(_MAX_REFUSED, _REFUSED_SECONDS)
        self._acquainted: FIFOCache[bytes, None] = FIFOCache(_MAX_ACQUAINTED)
        self._replaced: TTLCache[bytes, None] = _short_memory(_MAX_REFUSED, _REPLACED_SECONDS)
        self._any_given_back = False
        self._given_back: TTLCache[bytes, None] = _short_memory(_MAX_GIVEN_BACK, _GIVEN_BACK_SECONDS)

    def reset_lock(self) -> None:
        """After a fork: another thread, not here, may have held the lock and left the tables half changed."""
        held, self._lock = self._lock.locked(), threading.Lock()
        if held:
            self._make_tables()

    def digest(self, credential: str) -> bytes:
        """What stands for a credential here: the same for both spellings of a session token.

        ASCII only, or ``UnicodeEncodeError``.
        """
        return self.text_digest(bare_token(credential))

    def pair_digest(self, pair: CookiePair) -> bytes:
        """The same for a pair of cookies; without a JWT, it is that of the token."""
        return self.text_digest(pair.text)

    def text_digest(self, text: str) -> bytes:
        """The same for a text in which the token stands bare already, as it does in that of a pair of cookies."""
        digest = self._start.copy()
        digest.update(text.encode("ascii"))
        return digest.digest()[:16]

    def get(self, digest: bytes) -> Known | None:
        """What was found good, if it is remembered. Takes no lock: reading changes nothing."""
        return self._good.get(digest)

    def put(self, digest: bytes, known: Known) -> None:
        """Remember a credential that was found good, unless it has been refused meanwhile."""
        with self._lock:
            if digest in self._refused or digest in self._given_back:
                return
            self._good[digest] = known
            if len(self._good) > self._maxsize:
                self._good.popitem(last=False)

    def forget(self, digest: bytes) -> None:
        """It is not good any more."""
        with self._lock:
            self._good.pop(digest, None)

    def acquaint(self, digest: bytes) -> None:
        """Remember that the API has found a credential good, and nothing else of it."""
        with self._lock:
            self._acquainted[digest] = None

    def is_acquainted(self, digest: bytes) -> bool:
        """Whether the API has found it good before."""
        return digest in self._acquainted

    def refuse(self, digest: bytes, error: InvalidCredentials) -> None:
        """Remember for a few seconds that the API has definitely refused a credential."""
        with self._lock:
            self._good.pop(digest, None)
            self._acquainted.pop(digest, None)
            self._refused[digest] = (type(error), error.reason)

    def give_back(self, digest: bytes) -> None:
        """Its owner has signed out with it, and the API could not be told: it is no good here, for a day."""
        with self._lock:
            self._good.pop(digest, None)
            self._acquainted.pop(digest, None)
            self._given_back[digest] = None
            self._any_given_back = True

    def is_given_back(self, digest: bytes) -> bool:
        """Whether its owner has. Takes no lock: reading changes nothing."""
        return self._any_given_back and digest in self._given_back

    def is_pair_given_back(self, pair: CookiePair) -> bool:
        """The same of the token in a pair of cookies."""
        return self._any_given_back and self.digest(pair.token) in self._given_back

    def replace(self, digest: bytes) -> None:
        """Its browser is about to get another one for the same session, and may send this one a few times more."""
        with self._lock:
            self._replaced[digest] = None

    def is_replaced(self, digest: bytes) -> bool:
        """Whether its browser has, or is about to have, another one."""
        with self._lock:
            return digest in self._replaced

    def refusal(self, digest: bytes) -> InvalidCredentials | None:
        """Why the API has just refused this credential, or its owner has given it back, as a new error."""
        with self._lock:
            found = self._refused.get(digest)
            if found is None and digest in self._given_back:
                return RevokedCredentials()
        return None if found is None else found[0](reason=found[1])

    def __len__(self) -> int:
        return len(self._good)

    def __repr__(self) -> str:
        return f"KnownCredentials({len(self)})"


def verify_share(digest: bytes) -> str:
    """The name under which callers with the same credential share one call."""
    return f"verify:{digest.hex()}"


def _short_memory(maxsize: int, seconds: float) -> TTLCache[Any, Any]:
    return TTLCache(maxsize, seconds, timer=_clock.monotonic)


def _fingerprint(settings: Settings) -> bytes:
    values = (getattr(settings, field.name) for field in dataclasses.fields(settings))
    return repr([value.reveal() if isinstance(value, Secret) else value for value in values]).encode()
