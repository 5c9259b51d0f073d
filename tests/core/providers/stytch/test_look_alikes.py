"""Each shape of JWT that a project's key signs: a user's session, or what only looks like it.

The tokens are the emulator's, which shares no code with the provider. A call ends a test that does not expect it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import Auth, InvalidCredentials, Settings, Stytch
from moonkey_core._operations.core import Core
from moonkey_core._plan import Fetch
from moonkey_core.emulator import StytchEmulator
from moonkey_core.web.request import mapped_headers

DOMAIN = "https://login.example.test"

ACCEPTED = (
    *("session", "domain", "string-audience", "no-session-end", "null-session-end", "no-roles", "null-attributes"),
    *("impersonated", "imported", "trusted-token"),
)
REFUSED = {
    "m2m": "jwt_session",
    "connected-app": "jwt_session",
    "b2b": "token_kind",
    "no-session": "jwt_session",
    "no-session-id": "jwt_session",
    "text-session": "jwt_session",
    "no-nbf": "jwt_claims",
    "no-iat": "jwt_claims",
    "other-project": "jwt_issuer",
    "https-issuer": "jwt_issuer",
    "slash": "jwt_issuer",
    "other-audience": "jwt_audience",
    "not-yet": "jwt_not_yet_valid",
}
ASKED_ABOUT = ("expired", "just-over")
"""Genuine, and too old: the JWT is over, or its session by nanoseconds. The service may have extended it."""


@pytest.fixture(scope="module")
def project() -> Iterator[StytchEmulator]:
    """A project that signs, and does not listen."""
    emulator = StytchEmulator(custom_domain=DOMAIN)
    yield emulator
    emulator.close()


def judged(project: StytchEmulator, token: str, **arguments: Any) -> Auth | Fetch:
    """What a client finds out without a call; or the first call that it would make."""
    made = Stytch(
        project.project_id,
        project.secret,
        **{"keys": project.jwks(), "custom_base_url": DOMAIN, "leeway": 0, **arguments},
    )
    core = Core(Settings.load({"provider": made}, {}))
    found = core.begin(mapped_headers({"authorization": f"Bearer {token}"}), None)
    if isinstance(found, Auth):
        return found
    try:
        call = next(core.finish(found))
    except StopIteration as end:
        auth: Auth = end.value
        return auth
    assert isinstance(call, Fetch)
    return call


def test_the_tables_have_every_shape(project: StytchEmulator) -> None:
    """But for ``consumer``, which is a session here, and a look-alike to a project of organizations."""
    assert set(project.shapes()) - {"consumer"} == {*ACCEPTED, *REFUSED, *ASKED_ABOUT}


@pytest.mark.parametrize("shape", ACCEPTED)
def test_a_session_in_any_of_its_forms(project: StytchEmulator, shape: str) -> None:
    ada = project.sign_in("ada@example.com")
    auth = judged(project, project.token(shape, session_id=ada.session_id))
    assert isinstance(auth, Auth)
    assert auth.is_authenticated, auth.error
    assert (auth.user.id, auth.session.id, auth.scope) == (
        ada.user_id,
        ada.session_id,
        f"stytch:{project.project_id}",
    )
    assert auth.source == "local"
    assert (auth.actor is not None) == (shape == "impersonated")


@pytest.mark.parametrize("shape", list(REFUSED))
@pytest.mark.parametrize("age", [0, 600])
def test_a_look_alike_is_refused_without_a_call(project: StytchEmulator, shape: str, age: int) -> None:
    """Also one that is too old: only a genuine JWT is asked about."""
    auth = judged(project, project.token(shape, age=age))
    assert isinstance(auth, Auth), auth
    error = auth.error
    assert isinstance(error, InvalidCredentials)
    assert (error.reason, error.status) == (REFUSED[shape], 401)


@pytest.mark.parametrize("shape", [*ACCEPTED, *REFUSED, *ASKED_ABOUT])
@pytest.mark.parametrize("key", ["foreign", "imposter"])
def test_without_the_key_no_shape_costs_a_call(project: StytchEmulator, shape: str, key: str) -> None:
    auth = judged(project, project.token(shape, key=key))
    assert isinstance(auth, Auth), auth
    assert auth.error is not None
    assert auth.error.status == 401


@pytest.mark.parametrize("shape", ASKED_ABOUT)
def test_a_genuine_one_that_is_too_old_is_asked_about(project: StytchEmulator, shape: str) -> None:
    call = judged(project, project.token(shape))
    assert isinstance(call, Fetch)
    assert call.operation == "sessions.verify"
