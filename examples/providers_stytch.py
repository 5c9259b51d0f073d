"""Stytch: session tokens are asked about, session JWTs are verified in this process. FastAPI.

To try it without an account:

    python -m moonkey_core.emulator --provider stytch
    export …  # the settings that it prints
    uvicorn providers_stytch:app

Both credentials that the emulator prints open ``/me``. ``/documents`` demands a role. ``/payments`` demands that
the user has proven their identity within the last minutes and is not impersonated, and that the session was not
revoked.
"""

from datetime import timedelta

from fastapi import Depends, FastAPI

from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentSession, CurrentUser, RequireAuth

app = FastAPI()
app.add_middleware(MoonKeyMiddleware)

Recent = Depends(RequireAuth(factor_max_age=timedelta(minutes=10), allow_actor=False, max_staleness=0))


@app.get("/me")
async def me(user: CurrentUser, session: CurrentSession) -> dict[str, object]:
    return {"user_id": user.id, "plan": session.claims.get("plan")}


@app.get("/documents", dependencies=[Depends(RequireAuth(roles={"stytch_user"}))])
async def documents() -> list[str]:
    return []


@app.post("/payments", dependencies=[Recent])
async def pay(user: CurrentUser) -> dict[str, str]:
    return {"paid_by": user.id}
