"""The names that type checkers tell apart are one class at run time; ``isinstance`` is right about each."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import moonkey_core
from moonkey_core import (
    Auth,
    AuthenticatedAuth,
    InvalidCredentials,
    ProviderUnavailable,
    Session,
    User,
    VerifiedSession,
)
from moonkey_core.auth import BaseAuth, new_auth
from moonkey_core.gate import require
from moonkey_core.web.lazy import LazyAuth

SESSION = Session("sess_1", "user_1", datetime.now(UTC) + timedelta(days=1))
VERIFIED = VerifiedSession(User(id="user_1"), SESSION)
OTHERS: dict[str, dict[str, Any]] = {
    "anonymous": {},
    "rejected": {"error": InvalidCredentials()},
    "unavailable": {"error": ProviderUnavailable()},
    "rejected with a session": {"error": InvalidCredentials(), "verified": VERIFIED},
}


def test_there_is_one_class() -> None:
    auth = new_auth(verified=VERIFIED)
    names: list[object] = [Auth, moonkey_core.Auth, new_auth, type(auth)]
    assert all(one is BaseAuth for one in names)
    assert (BaseAuth.__module__, BaseAuth.__qualname__, BaseAuth.__name__) == ("moonkey_core.auth", "Auth", "Auth")
    assert require(auth) is auth


def test_an_authenticated_one_is_recognised() -> None:
    auth = new_auth(verified=VERIFIED)
    assert isinstance(auth, Auth)
    assert isinstance(auth, AuthenticatedAuth)
    for other in (copy.copy(auth), pickle.loads(pickle.dumps(auth))):
        assert isinstance(other, AuthenticatedAuth)
        assert (other.user, other.session) == (auth.user, auth.session)


@pytest.mark.parametrize("kind", OTHERS)
def test_no_other_is_taken_for_one(kind: str) -> None:
    auth = new_auth(**OTHERS[kind])
    assert isinstance(auth, Auth)
    assert not isinstance(auth, AuthenticatedAuth)
    assert auth.accessed


@pytest.mark.parametrize("thing", [None, True, User(id="user_1"), VERIFIED, object(), LazyAuth])
def test_nor_is_anything_else(thing: object) -> None:
    assert not isinstance(thing, AuthenticatedAuth)


def test_a_pickle_names_the_public_class() -> None:
    assert b"moonkey_core.auth" in pickle.dumps(new_auth())
    assert b"BaseAuth" not in pickle.dumps(new_auth())
