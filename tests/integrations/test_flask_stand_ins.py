"""Flask: what ``current_auth``, ``current_user`` and ``current_session`` do while nothing of them was read."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, jsonify

from moonkey_core import Auth, MissingCredentials, Session, User
from moonkey_core.auth import BaseAuth
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import FlaskMoonKey, current_auth, current_session, current_user, require_auth

STAND_INS: dict[str, tuple[Any, type[Any]]] = {
    "current_auth": (current_auth, BaseAuth),
    "current_user": (current_user, User),
    "current_session": (current_session, Session),
}
each = pytest.mark.parametrize("name", STAND_INS)
LOOKS: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "str": str,
    "dir": dir,
    "isinstance": lambda one: [isinstance(one, kind) for kind in (Auth, User, Session, str, Flask)],
    "_wrapped": lambda one: hasattr(one, "_wrapped"),
    "__html__": lambda one: hasattr(one, "__html__"),
    "no such name": lambda one: hasattr(one, "as_sql"),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "compared": lambda one: {"one": one} == {"one": None},
}


@pytest.fixture
def app(emulator: Emulator) -> Flask:
    found = Flask(__name__)
    FlaskMoonKey(
        found, secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer, timeout=30
    )
    return found


def bearer(person: SignedIn) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.session_token}"}


@each
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("credential", [True, False])
def test_a_look_verifies_nobody(
    app: Flask, emulator: Emulator, ada: SignedIn, name: str, look: str, credential: bool
) -> None:
    one, kind = STAND_INS[name]
    emulator.clear_requests()
    with app.test_request_context(headers=bearer(ada) if credential else {}):
        LOOKS[look](one)
        assert isinstance(one, kind)
        assert not hasattr(one, "_private")
        assert repr(one) == f"Lazy{kind.__name__}()"
        with pytest.raises(TypeError, match="cannot be pickled before the credential"):
            pickle.dumps(one)
    assert emulator.requests() == {}


@each
def test_outside_of_a_request(name: str) -> None:
    one, kind = STAND_INS[name]
    assert repr(one) == f"Lazy{kind.__name__}()"
    assert isinstance(one, kind)
    assert dir(one)
    assert not hasattr(one, "_wrapped")
    public = next(iter(set(dir(one)) & {"is_authenticated", "id"}))
    with pytest.raises(RuntimeError, match="outside of request context"):
        getattr(one, public)


@each
def test_a_resolved_one(app: Flask, ada: SignedIn, name: str) -> None:
    one, kind = STAND_INS[name]
    with app.test_request_context(headers=bearer(ada)):
        assert current_auth.is_authenticated
        value = one._get_current_object()
        assert type(value) is kind
        assert one == value
        assert value == one
        assert (hash(one), repr(one), bool(one)) == (hash(value), repr(value), True)
        assert copy.copy(one) is value
        found = pickle.loads(pickle.dumps(one))
        assert type(found) is kind
        assert repr(found) == repr(value)


def test_without_a_credential_nobody_is_made_up(app: Flask) -> None:
    with app.test_request_context():
        assert current_auth.is_anonymous
        for one in (current_user, current_session):
            with pytest.raises(MissingCredentials):
                _ = one.id
            with pytest.raises(MissingCredentials):
                bool(one)
            assert repr(one).startswith("Lazy")  # also where it is known that there is none


OWNER: dict[str, Callable[[Any], str]] = {
    "current_auth": lambda auth: auth.user.id,
    "current_user": lambda user: user.id,
    "current_session": lambda session: session.user_id,
}


@each
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_copy_stays_with_its_request(
    app: Flask, emulator: Emulator, ada: SignedIn, name: str, make: Callable[[Any], Any]
) -> None:
    one, _ = STAND_INS[name]
    ben = emulator.sign_in(email="ben@example.com")
    with app.test_request_context(headers=bearer(ada)):
        kept = make(one)
        with app.test_request_context(headers=bearer(ben)):
            assert OWNER[name](one) == ben.user_id
            assert OWNER[name](make(kept)) == OWNER[name](kept) == ada.user_id
        assert repr(kept) == repr(one._get_current_object())  # resolved for both


def test_as_json_and_behind_a_gate(app: Flask, ada: SignedIn) -> None:
    @app.get("/me")
    @require_auth
    def me() -> Any:
        assert repr(current_user) == repr(current_user._get_current_object())  # type: ignore[attr-defined]
        return jsonify(user=current_user, session=current_session)

    found = app.test_client().get("/me", headers=bearer(ada)).json
    assert found is not None
    assert (found["user"]["id"], found["session"]["id"]) == (ada.user_id, ada.session_id)
