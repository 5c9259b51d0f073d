"""An identity without a credential, for unit tests of code behind a gate, and of FastAPI's dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any

from moonkey_core import _clock
from moonkey_core.auth import Auth, new_auth
from moonkey_core.models import Factor, Session, User, VerifiedSession
from moonkey_core.testing.sign_ins import Age, seconds


def identity(
    user_id: str = "user_test",
    *,
    session_id: str = "sess_test",
    roles: Sequence[str] | None = None,
    scopes: Sequence[str] | None = None,
    permissions: Sequence[str] | None = None,
    claims: Mapping[str, Any] | None = None,
    factors: Sequence[str] = ("email",),
    factor_age: Age | None = None,
    session_age: Age | None = None,
) -> Auth:
    """Return the identity of a user who is signed in. Nothing was verified: it is for unit tests only.

    Args:
        user_id: The user's id.
        session_id: The session's id.
        roles: The roles.
        scopes: The scopes.
        permissions: The permissions.
        claims: Further claims of the session.
        factors: How the user has signed in.
        factor_age: How long ago the factors were verified.
        session_age: How long ago the session began.
    """
    now = _clock.now()
    began = now - timedelta(seconds=seconds(session_age) or 0.0)
    age = seconds(factor_age)
    verified_at = began if age is None else now - timedelta(seconds=age)
    given = {"roles": roles, "scope": None if scopes is None else " ".join(scopes), "permissions": permissions}
    held = {
        name: value if isinstance(value, str) else list(value)
        for name, value in given.items()
        if value is not None
    }
    session = Session(
        session_id,
        user_id,
        now + timedelta(days=1),
        started_at=began,
        factors=tuple(Factor(one, last_verified_at=verified_at) for one in factors),
        extra={"custom_claims": {**held, **(claims or {})}},
    )
    return new_auth(verified=VerifiedSession(User(user_id), session))


@contextmanager
def override_auth(app: Any, auth: Auth | None = None) -> Iterator[Auth]:
    """Give all dependencies of a FastAPI app this identity, by its ``dependency_overrides``.

    The key of the override is ``moonkey_starlette.fastapi.auth_source``. Gates check the identity as usual; no
    credential is read.

    Args:
        app: The app.
        auth: The identity; that of a signed-in user by default. ``new_auth()`` of
            ``moonkey_core.auth`` is that of an anonymous request.
    """
    source = import_module("moonkey_starlette.fastapi").auth_source
    found = identity() if auth is None else auth
    kept = dict(app.dependency_overrides)
    app.dependency_overrides[source] = lambda: found
    try:
        yield found
    finally:
        app.dependency_overrides.clear()
        app.dependency_overrides.update(kept)
