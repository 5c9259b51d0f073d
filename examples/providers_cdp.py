"""Coinbase CDP: access tokens of embedded wallets, validated by CDP's API. FastAPI.

To try it without an account:

    python -m moonkey_core.emulator --provider cdp
    export …  # the settings that it prints
    uvicorn providers_cdp:app

The access token that the emulator prints opens ``/me`` and ``/wallets``. ``/payments`` demands that CDP calls the
token valid at this very moment. ``POST /auth/sign-out`` refuses the token here, and tells the front end to call
``signOut()`` of CDP's SDK (``provider_sign_out``).
"""

from fastapi import Depends, FastAPI

from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser, RequireAuth, session_routes

app = FastAPI()
app.add_middleware(MoonKeyMiddleware, session_cache_ttl=60)
app.include_router(session_routes(mode="header"))


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, object]:
    enrolled = [method.type for method in user.mfa_methods or ()]  # enrolled: not that it was used just now
    return {"user_id": user.id, "mfa_methods": enrolled}


@app.get("/wallets")
async def wallets(user: CurrentUser) -> dict[str, str]:
    return {wallet.address: wallet.type for wallet in user.wallets}


@app.post("/payments", dependencies=[Depends(RequireAuth(max_staleness=0))])
async def pay(user: CurrentUser) -> dict[str, str]:
    return {"paid_by": user.id}
