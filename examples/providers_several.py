"""Two providers in one app: employees of Entra ID, and the users of any other OpenID Connect issuer. Starlette.

A JWT goes to the provider whose issuer it names, and to no other. Users with equal ids at both are two users.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc
    export ENTRA_JWKS_URL=http://127.0.0.1:8765/common/discovery/v2.0/keys
    uvicorn providers_several:app
    curl http://127.0.0.1:8765/_emulator/token -d '{"preset": "entra-v2"}'  # a token of an employee

The access token that the emulator prints opens ``/me``, and so does that of an employee.
"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from moonkey_core.provider import OIDC, EntraID
from moonkey_starlette import AuthenticatedRequest, MoonKeyMiddleware, require_auth

employees = EntraID(
    tenant_id="7d3f5a10-94e8-4cf0-b1c6-0a4a5e6f7081",
    audience="0f2b9c54-8a1d-4d3e-9b7a-6c5d4e3f2a10",
    jwks_url=os.environ.get("ENTRA_JWKS_URL"),  # only for a trial: Microsoft's own address is known
)
customers = OIDC(
    issuer=os.environ.get("ISSUER", "http://127.0.0.1:8765"),
    audience="https://api.example.com",
)


@require_auth
async def me(request: AuthenticatedRequest) -> JSONResponse:
    auth = request.state.moonkey
    return JSONResponse({"user_id": auth.user.id, "scope": auth.scope})


app = Starlette(
    routes=[Route("/me", me)],
    middleware=[Middleware(MoonKeyMiddleware, providers=[employees, customers])],
)
