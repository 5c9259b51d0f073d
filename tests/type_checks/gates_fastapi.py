"""FastAPI endpoints as users write them. Checked with mypy and pyright, never run."""

from __future__ import annotations

from typing import Annotated, assert_type

from fastapi import Depends, FastAPI

from moonkey_core import Auth, AuthenticatedAuth, Session, User
from moonkey_starlette import AuthenticatedRequest, MoonKeyMiddleware, require_auth
from moonkey_starlette.fastapi import CurrentAuth, CurrentSession, CurrentUser, RequireAuth

app = FastAPI(dependencies=[Depends(RequireAuth())])
app.add_middleware(MoonKeyMiddleware)


@app.get("/me")
async def me(user: CurrentUser, session: CurrentSession) -> dict[str, str]:
    assert_type(user, User)
    assert_type(session, Session)
    return {"user_id": user.id, "session_id": session.id}


@app.get("/optional")
async def optional(auth: CurrentAuth) -> str:
    if not auth.is_authenticated:
        return "nobody"
    return auth.user.id + auth.session.id


@app.get("/strict")
def strict(auth: Annotated[AuthenticatedAuth, Depends(RequireAuth(max_staleness=0))]) -> str:
    return auth.user.id + auth.session.id


@app.get("/strict_too")
def strict_too(auth: Annotated[Auth, Depends(RequireAuth(max_staleness=0))]) -> str:
    return auth.user.id if auth.is_authenticated else "nobody"


@app.get("/decorated")
@require_auth
async def decorated(request: AuthenticatedRequest, number: int) -> str:
    return request.state.moonkey.user.id * number


@app.get("/unchecked")
async def unchecked(auth: CurrentAuth) -> str:
    return auth.user.id  # type: ignore[union-attr]


async def called(request: AuthenticatedRequest) -> None:
    assert_type(await decorated(request, 1), str)
    await decorated(request, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
