"""Users, sessions and settings: in memory, and mirrored to a SQLite file where one is given."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import asdict

from moonkey_core.emulator.records import Session, User, bare_token

MAX_USERS = 10_000
MAX_SESSIONS = 20_000

_SQLITE = b"SQLite format 3\0"
"""How each such file begins (sqlite.org/fileformat.html, section 1.3)."""

_TABLE = """CREATE TABLE IF NOT EXISTS moonkey_emulator
            (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id))"""


class StateFileError(Exception):
    """The state file cannot be used. The message has the reason and the remedy."""


class _Mirror:
    """The SQLite file. It contains secrets, hence its permissions; one process may use it at a time."""

    def __init__(self, path: str) -> None:
        try:
            self._make_private(path)
            # Every use is under the state's lock, so threads may share the connection.
            self._database = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StateFileError(f"The state file {path} cannot be opened ({error}). Name another.") from error
        try:
            for statement in (
                "PRAGMA locking_mode = EXCLUSIVE",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = NORMAL",
                _TABLE,
            ):
                self._database.execute(statement)
        except sqlite3.Error as error:
            self._database.close()
            hint = "is another emulator using it?" if "locked" in str(error) else "is it another program's?"
            raise StateFileError(f"The state file {path} cannot be used ({error}): {hint}") from error

    @staticmethod
    def _make_private(path: str) -> None:
        """Create the file, or take from others the right to read it, unless it is another program's."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            begin = os.read(file, len(_SQLITE))
            if begin not in (b"", _SQLITE):
                raise sqlite3.DatabaseError("it is no SQLite file")
            os.chmod(path, 0o600)
        finally:
            os.close(file)

    def load(self, kind: str) -> list[tuple[str, str]]:
        query = "SELECT id, body FROM moonkey_emulator WHERE kind = ? ORDER BY rowid"
        return self._database.execute(query, (kind,)).fetchall()

    def save(self, kind: str, key: str, body: object) -> None:
        self._database.execute(
            "INSERT INTO moonkey_emulator VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
            (kind, key, json.dumps(body)),
        )

    def drop(self, kind: str, key: str) -> None:
        self._database.execute("DELETE FROM moonkey_emulator WHERE kind = ? AND id = ?", (kind, key))

    def close(self) -> None:
        self._database.close()


class Store:
    """The users, sessions and settings. The oldest are dropped when there are too many. Not thread-safe by itself.

    Args:
        path: The SQLite file, or ``None`` for memory alone.

    Raises:
        StateFileError: The file cannot be used.
    """

    def __init__(self, path: str | None) -> None:
        self._mirror = _Mirror(path) if path else None
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Session] = {}
        self._settings: dict[str, str] = {}
        self._by_token: dict[str, str] = {}
        if self._mirror:
            try:
                self._load(self._mirror)
            except (ValueError, TypeError, sqlite3.Error) as error:
                self._mirror.close()
                raise StateFileError(
                    f"The state file {path} is damaged ({error}). Name another, or remove it."
                ) from error

    def _load(self, mirror: _Mirror) -> None:
        self._settings = {key: json.loads(body) for key, body in mirror.load("setting")}
        self.users = {key: User(**json.loads(body)) for key, body in mirror.load("user")}
        loaded = [Session(**json.loads(body)) for _, body in mirror.load("session")]
        self.sessions = {session.id: session for session in loaded if session.user_id in self.users}
        self._by_token = {session.token: session.id for session in self.sessions.values()}

    def setting(self, name: str, make: Callable[[], str]) -> str:
        """Return a setting. It is made and kept on first use."""
        if name not in self._settings:
            self.set(name, make())
        return self._settings[name]

    def set(self, name: str, value: str) -> None:
        """Keep a setting."""
        self._settings[name] = value
        if self._mirror:
            self._mirror.save("setting", name, value)

    def save_user(self, user: User) -> None:
        """Keep a user, new or changed."""
        self.users[user.user_id] = user
        if self._mirror:
            self._mirror.save("user", user.user_id, asdict(user))
        if len(self.users) > MAX_USERS:
            self.drop_user(next(iter(self.users)))

    def drop_user(self, user_id: str) -> None:
        """Forget a user and all of their sessions."""
        del self.users[user_id]
        if self._mirror:
            self._mirror.drop("user", user_id)
        for session in [one for one in self.sessions.values() if one.user_id == user_id]:
            self.drop_session(session)

    def session_by_token(self, token: str) -> Session | None:
        """Return the session of a session token, in either spelling."""
        return self.sessions.get(self._by_token.get(bare_token(token), ""))

    def change_token(self, session: Session, token: str) -> None:
        """Give a session another token. The old one is not valid from now on."""
        self._by_token.pop(session.token, None)
        session.token = token

    def save_session(self, session: Session) -> None:
        """Keep a session, new or changed."""
        self.sessions[session.id] = session
        self._by_token[session.token] = session.id
        if self._mirror:
            self._mirror.save("session", session.id, asdict(session))
        if len(self.sessions) > MAX_SESSIONS:
            self.drop_session(next(iter(self.sessions.values())))

    def drop_session(self, session: Session) -> None:
        """Forget a session."""
        del self.sessions[session.id]
        self._by_token.pop(session.token, None)
        if self._mirror:
            self._mirror.drop("session", session.id)

    def clear(self) -> None:
        """Forget all users and sessions."""
        for session in list(self.sessions.values()):
            self.drop_session(session)
        for user_id in list(self.users):
            self.drop_user(user_id)

    def close(self) -> None:
        """Close the file. The data in memory stays readable."""
        if self._mirror:
            self._mirror.close()
            self._mirror = None
