"""The stand-in for an ``Auth``: it acts as that one, and asks for it no earlier than something is read."""

from __future__ import annotations

import copy
import pickle

import pytest

from moonkey_core import Auth, AuthenticatedAuth, ConfigurationError, User, VerifiedSession
from moonkey_core.auth import new_auth
from moonkey_core.providers.moonkey.wire import parse_session
from moonkey_core.web.lazy import LazyAuth

SESSION = parse_session({"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000})


class Source:
    """Counts how often it is asked; refuses where ``made`` is ``None``."""

    def __init__(self, made: Auth | None) -> None:
        self.auth: Auth | None = None
        self.made = made
        self.reads = 0

    def read(self) -> Auth:
        self.reads += 1
        if self.made is None:
            raise ConfigurationError("not known yet")
        self.auth = self.made
        return self.made


def made(auth: Auth | None = None) -> tuple[LazyAuth, Source]:
    source = Source(new_auth(verified=VerifiedSession(User(id="user_1"), SESSION)) if auth is None else auth)
    return LazyAuth(source), source


def test_looking_at_the_stand_in_itself_asks_nobody() -> None:
    lazy, source = made()
    assert repr(lazy) == "LazyAuth()"
    assert isinstance(lazy, Auth)
    for name in ("__html__", "__await__", "_repr_html_", "_private"):
        assert not hasattr(lazy, name)
    assert source.reads == 0


def test_it_acts_as_the_identity() -> None:
    lazy, source = made()
    assert lazy.user.id == "user_1"
    assert bool(lazy)
    assert isinstance(lazy, AuthenticatedAuth)
    assert lazy == source.made == lazy
    assert lazy != new_auth()
    assert (hash(lazy), repr(lazy)) == (hash(source.made), repr(source.made))
    assert copy.copy(lazy) is source.made
    assert pickle.loads(pickle.dumps(lazy)).user == lazy.user
    assert not made(new_auth())[0]


def test_what_cannot_be_known_yet_is_never_nobody() -> None:
    lazy = LazyAuth(Source(None))
    for read in (lambda: lazy.user, lambda: bool(lazy), lambda: lazy == new_auth(), lambda: hash(lazy)):
        with pytest.raises(ConfigurationError):
            read()
