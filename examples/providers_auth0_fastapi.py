"""Auth0: the access tokens of an API. FastAPI.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc --preset auth0
    AUTH0_JWKS_URL=http://127.0.0.1:8765/.well-known/jwks.json uvicorn providers_auth0_fastapi:app

The access token that the emulator prints opens ``/me`` and ``/orders``.
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI

from moonkey_core import Auth
from moonkey_core.provider import Auth0
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser, RequireAuth

auth0 = Auth0(
    domain=os.environ.get("AUTH0_DOMAIN", "demo.eu.auth0.com"),
    audience=os.environ.get("AUTH0_AUDIENCE", "https://api.example.com"),
    jwks_url=os.environ.get("AUTH0_JWKS_URL"),  # only for a trial: Auth0's own address is known
)

app = FastAPI()
app.add_middleware(MoonKeyMiddleware, provider=auth0)

Reader = Annotated[Auth, Depends(RequireAuth(permissions={"read:orders"}))]


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, str]:
    return {"user_id": user.id}


@app.get("/orders")
async def orders(auth: Reader) -> list[str]:
    return []
