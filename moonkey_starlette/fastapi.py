"""MoonKey for FastAPI: dependencies, which also put the security schemes into the OpenAPI document.

They need the middleware: ``app.add_middleware(MoonKeyMiddleware)``.
"""

# No `from __future__ import annotations` here: FastAPI reads the annotations of these objects, and its older
# versions can't look up the names in a quoted one.

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.openapi import models
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from moonkey_core.auth import Auth
from moonkey_core.gate import require
from moonkey_core.models import Session, User
from moonkey_starlette.identity import get_auth

__all__ = ["CurrentAuth", "CurrentSession", "CurrentUser", "RequireAuth"]


class _Scheme(SecurityBase):
    """One way to present a credential, for the OpenAPI document alone: the middleware has read it already."""

    def __init__(self, scheme_name: str, model: models.SecurityBase) -> None:
        self.scheme_name = scheme_name
        self.model = model

    async def __call__(self) -> None:
        return None


_BEARER = _Scheme(
    "MoonKeyBearer",
    models.HTTPBearer(bearerFormat="JWT or session token", description="A MoonKey session token or session JWT."),
)
_HEADER = _Scheme(
    "MoonKeySessionToken",
    models.APIKey.model_validate(
        {"in": "header", "name": "session-token", "description": "The same, in a header of its own."}
    ),
)


async def _documented(
    bearer: Annotated[None, Security(_BEARER)], header: Annotated[None, Security(_HEADER)]
) -> None:
    """Names the schemes as alternatives."""


async def _current_auth(connection: HTTPConnection, documented: Annotated[None, Depends(_documented)]) -> Auth:
    return await get_auth(connection)


CurrentAuth = Annotated[Auth, Depends(_current_auth)]
"""The identity of the request or WebSocket, in any of its four states; refuses nobody."""


class _ConfiguredGate(type):
    """Stops ``Depends(RequireAuth)``, which would make a gate for each request and ask it nothing."""

    @property
    def __signature__(cls) -> Any:
        raise TypeError(f"Write Depends({cls.__name__}()), with parentheses: the class itself protects nothing.")


@dataclass(frozen=True)
class RequireAuth(metaclass=_ConfiguredGate):
    """A gate: ``Depends(RequireAuth())`` on a route, a router, the app or another dependency.

    Only a request or WebSocket with a verified user and session passes, whatever its method. For any other it
    raises the :class:`~moonkey_core.errors.MoonKeyError` that says why, which the middleware turns into the right
    answer. Its value is the :class:`~moonkey_core.auth.Auth`. Gates of equal configuration are equal, so that
    ``app.dependency_overrides[RequireAuth()]`` replaces them all in a test.
    """

    async def __call__(self, auth: CurrentAuth) -> Auth:
        return require(auth)


async def _current_user(auth: Annotated[Auth, Depends(RequireAuth())]) -> User:
    assert auth.user is not None
    return auth.user


async def _current_session(auth: Annotated[Auth, Depends(RequireAuth())]) -> Session:
    assert auth.session is not None
    return auth.session


CurrentUser = Annotated[User, Depends(_current_user)]
"""The verified user; a request without one is refused."""

CurrentSession = Annotated[Session, Depends(_current_session)]
"""The verified session; a request without one is refused."""
