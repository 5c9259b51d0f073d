"""The cache of verified credentials. Its keys are keyed digests, never the credentials themselves."""

from __future__ import annotations

import dataclasses
import math
import secrets
import threading
from hashlib import sha256
from itertools import islice
from typing import Any

from cachetools import FIFOCache, TTLCache

from moonkey_core import _clock
from moonkey_core._fork import reset_after_fork
from moonkey_core._verified import DEFAULT_SCOPE, CacheEntry, Key, key_of
from moonkey_core.errors import InvalidCredentials, RevokedCredentials
from moonkey_core.revocations import retention
from moonkey_core.settings import Secret, Settings
from moonkey_core.web.credentials import BEARER, bare_token

_Denial = tuple[type[InvalidCredentials], str, float]
_MAX_DENIED_BRIEFLY = 4096
_DENIED_BRIEFLY_SECONDS = 5.0
_SUPERSEDED_SECONDS = 60.0
_MAX_SEEN = 65_536
_MAX_LINES = 16_384  # of cookies; a session has a new one with each JWT, and where another cookie changes
_MAX_DENIED = 16_384
_DENIED_SECONDS = 86_400.0
_MAX_DEAD = 16_384
_DROPPED_SHARE = 256  # of a full memory: as much is dropped at once
_CERTAIN = 1 << 30  # more than all marks of requests together


class VerificationCache:
    """The verified, denied and superseded credentials that are remembered, each kind within its own bounds.

    Invalid credentials are stored apart, so they cannot evict valid ones. A caller still has to check that an
    entry is valid *now*: its time, its key, the revocations.
    """

    def __init__(self, settings: Settings) -> None:
        # A block of 64 bytes in front: a secret, and the settings, which decide what a credential proves. Half of
        # the output is dropped, so that a digest does not reveal the state that a length-extension attack needs.
        self._line_start = sha256(secrets.token_bytes(32) + sha256(_fingerprint(settings)).digest())
        self._text_start = self._line_start.copy()
        self._text_start.update(BEARER)  # so that a text has the digest of the line that holds it
        self._pair_start = self._line_start.copy()
        self._pair_start.update(b"\n")
        self._prefixed_start = self._line_start.copy()
        self._prefixed_start.update(b"\n\n")
        self._cookies_start = self._line_start.copy()
        self._cookies_start.update(b"\n\n\n")
        self._maxsize = settings.max_cached_sessions
        self._dead_seconds = retention(settings)
        self._token_prefix = settings.token_prefix
        self._keeps_sessions = settings.call_budget is not None
        self._lock = threading.Lock()
        self._make_tables()
        reset_after_fork(self.reset_lock)

    def _make_tables(self) -> None:
        # Ordered by age. There may be very many: an OrderedDict takes half as much memory again.
        self._entries: dict[bytes, CacheEntry] = {}
        self._pairs: dict[bytes, bytes] = {}  # by lines of cookies, ordered in the same way
        self._denied_briefly: TTLCache[bytes, _Denial] = _short_memory(
            _MAX_DENIED_BRIEFLY, _DENIED_BRIEFLY_SECONDS
        )
        self._denied_until = -math.inf  # when the last of them is forgotten (monotonic seconds)
        self._seen: dict[bytes, str | None] = {}  # ordered in the same way
        self._sessions: FIFOCache[Key, None] = FIFOCache(_MAX_SEEN)  # where it matters whose calls go first
        self._ends: FIFOCache[bytes, float] = FIFOCache(_MAX_SEEN)
        self._superseded: TTLCache[bytes, int] = _short_memory(_MAX_DENIED_BRIEFLY, _SUPERSEDED_SECONDS)
        self.denies_any: bool = False
        self._denied: TTLCache[bytes, None] = _short_memory(_MAX_DENIED, _DENIED_SECONDS)
        # Until no JWT beside a dead session token can be accepted any more.
        self._dead: TTLCache[bytes, None] = _short_memory(_MAX_DEAD, self._dead_seconds)
        self._dead_until = -math.inf

    def reset_lock(self) -> None:
        """Make a new lock after a fork.

        Another thread, which does not exist here, may have held the old one and left the tables half changed.
        """
        held, self._lock = self._lock.locked(), threading.Lock()
        if held:
            self._make_tables()

    def digest(self, credential: str) -> bytes:
        """Return the cache key of a credential: the same for both spellings of a session token.

        Raises:
            UnicodeEncodeError: The credential is not ASCII.
        """
        return self.text_digest(bare_token(credential, self._token_prefix))

    def text_digest(self, text: str) -> bytes:
        """Return the cache key of a text whose token has no prefix, such as ``PresentedCredentials.text``.

        A pair of cookies, whose text has a line feed in it, has another one than any line of a header. So has a
        text that begins with the prefix by itself: a line with that text names another token.
        """
        start = self._pair_start if "\n" in text else self._text_start
        if self._token_prefix and text.startswith(self._token_prefix):
            start = self._prefixed_start
        digest = start.copy()
        digest.update(text.encode("ascii"))
        return digest.digest()[:16]

    def get(self, digest: bytes) -> CacheEntry | None:
        """Return the entry of a valid credential, if there is one. Takes no lock, as reading changes nothing."""
        return self._entries.get(digest)

    def find(self, line: bytes) -> tuple[bytes, CacheEntry | None]:
        """Return the cache key of the text after ``Bearer`` in a line of a header, and its entry, if there is one.

        The line is not copied for it. It begins with ``BEARER``.
        """
        hashed = self._line_start.copy()
        hashed.update(line)
        digest = hashed.digest()[:16]
        return digest, self._entries.get(digest)

    def find_cookies(self, line: str) -> tuple[bytes, bytes, CacheEntry | None]:
        """Return the digest of a ``Cookie`` line in ASCII, the cache key of the pair in it, and the pair's entry.

        The key is empty where the line is not known.
        """
        hashed = self._cookies_start.copy()
        hashed.update(line.encode("ascii"))
        digest = hashed.digest()[:16]
        pair = self._pairs.get(digest, b"")
        return digest, pair, self._entries.get(pair)

    def note_pair(self, cookies: bytes, digest: bytes) -> None:
        """Remember that the pair with this cache key stands in the ``Cookie`` line with the digest ``cookies``.

        That is true for good, as it follows from the line. Whether the pair is valid is asked of its entry.
        """
        with self._lock:
            self._pairs[cookies] = digest
            if len(self._pairs) > _MAX_LINES:
                _drop_oldest(self._pairs, _MAX_LINES)

    def put(self, digest: bytes, entry: CacheEntry) -> None:
        """Remember a valid credential, unless it has been denied meanwhile."""
        with self._lock:
            if self._denied_until > -math.inf:  # mostly not, and each JWT at first sight comes here
                if digest in self._denied_briefly:
                    return
                if _clock.monotonic() > self._denied_until:
                    self._denied_until = -math.inf
            if self.denies_any and digest in self._denied:
                return
            self._entries[digest] = entry
            if self._keeps_sessions:
                self._sessions[key_of(entry.scope, entry.session_id)] = None
            if len(self._entries) > self._maxsize:
                _drop_oldest(self._entries, self._maxsize)

    def forget(self, digest: bytes) -> None:
        """Forget a valid credential."""
        with self._lock:
            self._entries.pop(digest, None)

    def mark_seen(self, digest: bytes, session_id: str | None = None, scope: str = DEFAULT_SCOPE) -> None:
        """Remember only that the provider has accepted a credential, and its session."""
        with self._lock:
            self._seen.pop(digest, None)  # it is the newest again
            self._seen[digest] = session_id
            if len(self._seen) > _MAX_SEEN:
                _drop_oldest(self._seen, _MAX_SEEN)
            if self._keeps_sessions and session_id is not None:
                self._sessions[key_of(scope, session_id)] = None

    def note_end(self, digest: bytes, ends_at: float) -> None:
        """Remember when a credential ends that the provider has accepted (Unix seconds)."""
        with self._lock:
            self._ends[digest] = ends_at

    def known_end(self, digest: bytes) -> float:
        """Return when a credential ends that the provider has accepted before; infinity for any other."""
        return self._ends.get(digest, math.inf)

    def knows(self, digest: bytes, jwt: CacheEntry | None = None) -> bool:
        """Return whether a credential, or the session of a JWT that was just verified, was good here before."""
        if digest in self._seen or digest in self._entries:
            return True
        return jwt is not None and key_of(jwt.scope, jwt.session_id) in self._sessions

    def is_seen(self, digest: bytes) -> bool:
        """Return whether the provider has accepted a credential before."""
        with self._lock:
            return digest in self._seen

    def seen_session(self, digest: bytes) -> str | None:
        """Return the session of a credential that the provider has accepted before; ``None`` for any other."""
        with self._lock:
            return self._seen.get(digest)

    def deny_briefly(self, digest: bytes, error: InvalidCredentials) -> None:
        """Remember for a few seconds that the provider has definitely refused a credential."""
        with self._lock:
            self._entries.pop(digest, None)
            self._seen.pop(digest, None)
            now = _clock.monotonic()
            self._denied_briefly[digest] = (type(error), error.reason, now)
            self._denied_until = now + _DENIED_BRIEFLY_SECONDS + 1.0  # the table reads the clock itself

    def mark_dead(self, digest: bytes) -> None:
        """Remember that the provider has called a session token dead, while a JWT beside it may seem good."""
        with self._lock:
            self._dead[digest] = None
            self._dead_until = _clock.monotonic() + self._dead_seconds
            self.denies_any = True

    def is_dead(self, digest: bytes) -> bool:
        """Return whether the provider has called a session token dead, and has not accepted it since."""
        if not self.denies_any:
            return False
        if _clock.monotonic() >= self._dead_until and not self._denied:
            with self._lock:
                self.denies_any = bool(self._denied) or _clock.monotonic() < self._dead_until
        return digest in self._dead

    def note_accepted(self, digest: bytes, since: float) -> None:
        """Forget that the provider has refused a credential before ``since`` (monotonic seconds).

        It has been asked about the credential since then, and has accepted it.
        """
        if not self._remembers_refusals:
            return
        with self._lock:
            denied = self._denied_briefly.get(digest)
            if denied is not None and denied[2] <= since:
                del self._denied_briefly[digest]
            if denied is None or denied[2] <= since:
                self._dead.pop(digest, None)

    def deny(self, digest: bytes) -> None:
        """Deny a credential for a day: its user has signed out, and the provider could not be reached."""
        with self._lock:
            self._entries.pop(digest, None)
            self._seen.pop(digest, None)
            self._denied[digest] = None
            self.denies_any = True

    def is_denied(self, digest: bytes) -> bool:
        """Return whether its user has signed out with it. Takes no lock, as reading changes nothing."""
        return self.denies_any and digest in self._denied

    def mark_superseded(self, digest: bytes, *, is_certain: bool = False) -> None:
        """Remember for a minute that the browser is about to get another credential for the same session.

        Requests that it has sent before may still carry this one.

        Args:
            digest: The digest of the credential.
            is_certain: Whether the provider has replaced the credential already.
        """
        with self._lock:
            self._superseded[digest] = self._superseded.get(digest, 0) + (_CERTAIN if is_certain else 1)

    def unmark_superseded(self, digest: bytes) -> None:
        """Take one mark back: the credential was not replaced. Another request may still replace it."""
        with self._lock:
            count = self._superseded.pop(digest, 1) - 1
            if count > 0:
                self._superseded[digest] = count

    def is_superseded(self, digest: bytes) -> bool:
        """Return whether the browser has, or is about to get, another credential for the same session."""
        with self._lock:
            return digest in self._superseded

    def denial(self, digest: bytes, max_age: float | None = None) -> InvalidCredentials | None:
        """Return a new error with the reason why a credential is denied; ``None`` where it is not denied.

        A refusal by the provider counts where it is at most ``max_age`` seconds old. With 0, none does.
        """
        if not self._remembers_refusals:
            return None
        with self._lock:
            found = self._denied_briefly.get(digest)
            if found is not None and max_age is not None:
                age = _clock.monotonic() - found[2]
                found = found if max_age > 0 and age <= max_age else None
            if found is None and digest in self._denied:
                return RevokedCredentials()
        return None if found is None else found[0](reason=found[1])

    @property
    def _remembers_refusals(self) -> bool:
        """Whether any credential may be denied. Mostly none is, and no table has to be searched under the lock."""
        return self.denies_any or self._denied_until > -math.inf

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"VerificationCache({len(self)})"


def _drop_oldest(table: dict[bytes, Any], most: int) -> None:
    """Make room: for some at once, as the first one of a dict is found behind all that were there before."""
    for digest in list(islice(table, 1 + most // _DROPPED_SHARE)):
        del table[digest]


def _short_memory(maxsize: int, seconds: float) -> TTLCache[Any, Any]:
    return TTLCache(maxsize, seconds, timer=_clock.monotonic)


def _fingerprint(settings: Settings) -> bytes:
    values = (getattr(settings, field.name) for field in dataclasses.fields(settings))
    return repr([value.reveal() if isinstance(value, Secret) else value for value in values]).encode()
