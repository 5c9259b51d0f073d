"""The stand-in for an ``Auth``: it acts as that one, and asks for it no earlier than something is read."""

from __future__ import annotations

import copy
import inspect
import pickle
import pprint
from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import Auth, AuthenticatedAuth, ConfigurationError, MissingCredentials, User, VerifiedSession
from moonkey_core.auth import (
    BaseAuth,
    cache_entry,
    consume_fresh_answer,
    fresh_binding,
    fresh_jwt,
    from_cookies,
    new_auth,
    peek_error,
    peek_identity,
    scheme_hint,
)
from moonkey_core.gate import Requirements, check, require
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


LOOKS: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "pformat": lambda lazy: pprint.pformat({"moonkey": lazy}),
    "saferepr": pprint.saferepr,
    "dir": dir,
    "isinstance": lambda lazy: [isinstance(lazy, kind) for kind in (Auth, LazyAuth, str, dict, BaseAuth, type)],
    "callable": callable,
    "type": type,
    "class": lambda lazy: lazy.__class__,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "compared with another thing": lambda lazy: [lazy == one for one in (None, "", 7, {}, object())],
    "compared in a dict": lambda lazy: {"moonkey": lazy} == {"moonkey": "another"},
    "a method of awaitables": inspect.isawaitable,
    "signature": lambda lazy: hasattr(lazy, "__signature__"),
}
PRIVATE = [
    "_wrapped", "_private", "_repr_html_", "_ipython_display_", "_asdict", "_meta", "__html__", "__await__",
    "__wrapped__", "__iter__", "__len__", "__call__", "__dict__", "__rich_repr__", "__json__",
    *(name for name in BaseAuth.__slots__), "_made_user", "_made_session",
]  # fmt: skip
FOREIGN = ["resolve_expression", "as_sql", "do_not_call_in_templates", "alters_data", "keys", "items", "json"]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("unknowable", [False, True])
def test_looking_at_the_stand_in_itself_asks_nobody(look: str, unknowable: bool) -> None:
    lazy, source = made()
    if unknowable:
        source.made = None
    LOOKS[look](lazy)
    assert source.reads == 0


@pytest.mark.parametrize("resolved", [False, True])
def test_names_that_are_not_those_of_an_identity(resolved: bool) -> None:
    lazy, source = made()
    if resolved:
        assert lazy.is_authenticated
    before = source.reads
    for name in (*PRIVATE, *FOREIGN):
        assert not hasattr(lazy, name), name
        with pytest.raises(AttributeError, match=name):
            getattr(lazy, name)
    assert source.reads == before


def test_what_it_shows_of_itself() -> None:
    lazy, _ = made()
    assert repr(lazy) == "LazyAuth()"
    assert isinstance(lazy, Auth)
    assert {"user", "session", "is_authenticated", "error"} <= set(dir(lazy))
    assert not any(name.startswith("_") for name in dir(lazy))
    assert all(hasattr(lazy, name) for name in dir(lazy))


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


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_resolution(make: Callable[[Any], Any]) -> None:
    for first, second in ((0, 1), (1, 0)):
        lazy, source = made()
        both = (lazy, make(lazy))
        assert both[0] == both[1]
        assert source.reads == 0
        assert both[first].user.id == "user_1"
        assert repr(both[second]) == repr(source.made)
        assert both[second].user.id == "user_1"
    resolved = make(lazy)
    assert type(resolved) is BaseAuth
    assert resolved.user == lazy.user


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle(protocol: int) -> None:
    lazy, source = made()
    with pytest.raises(TypeError, match="cannot be pickled before the credential of its request was verified"):
        pickle.dumps(lazy, protocol)
    assert source.reads == 0
    assert lazy.is_authenticated
    if protocol > 1:  # as for an object with slots
        found = pickle.loads(pickle.dumps(lazy, protocol))
        assert (type(found), found.user, found.session) == (BaseAuth, lazy.user, lazy.session)


def test_what_cannot_be_known_yet_is_never_nobody() -> None:
    lazy = LazyAuth(Source(None))
    for read in (lambda: lazy.user, lambda: bool(lazy), lambda: lazy == new_auth(), lambda: hash(lazy)):
        with pytest.raises(ConfigurationError):
            read()


PARTS: list[Callable[[Any], object]] = [
    fresh_jwt, fresh_binding, from_cookies, scheme_hint, cache_entry, peek_error, peek_identity,
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_functions_of_an_identity_take_it(part: Callable[[Any], object]) -> None:
    for auth in (
        new_auth(verified=VerifiedSession(User(id="user_1"), SESSION, fresh_jwt="a.b.c"), binding="f00"),
        new_auth(error=ConfigurationError(), from_cookies=True),  # type: ignore[arg-type]
        new_auth(hint="A sentence."),
    ):
        lazy, source = made(auth)
        assert part(lazy) == part(auth)
        assert source.reads == 1


def test_gates_take_it() -> None:
    lazy: Any
    verified = VerifiedSession(User(id="user_1"), SESSION)
    lazy, source = made(new_auth(verified=verified, as_of=0.0, asked_for_it=True))
    assert require(lazy) == source.made
    assert check(lazy) is None
    assert (consume_fresh_answer(lazy), consume_fresh_answer(lazy)) == (True, False)
    assert not Requirements(max_staleness=0).are_met_by(lazy)
    nobody: Any = made(new_auth(hint="A sentence."))[0]
    assert isinstance(check(nobody), MissingCredentials)
