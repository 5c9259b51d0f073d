"""Any OpenID Connect issuer: its JWTs are verified in this process. FastAPI; all settings are in the environment.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc
    export …  # the settings that it prints
    uvicorn providers_oidc:app

The access token that the emulator prints opens ``/me`` and ``/orders``.
"""

from typing import Annotated

from fastapi import Depends, FastAPI

from moonkey_core import Auth
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser, RequireAuth

app = FastAPI()
app.add_middleware(MoonKeyMiddleware)

Reader = Annotated[Auth, Depends(RequireAuth(scopes={"orders.read"}))]


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, str]:
    return {"user_id": user.id}


@app.get("/orders")
async def orders(auth: Reader) -> list[str]:
    return []
