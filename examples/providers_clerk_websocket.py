"""Clerk, whose session tokens live for a minute: a WebSocket that its client renews. FastAPI.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc --preset clerk-v2
    uvicorn providers_clerk_websocket:app

The access token that the emulator prints opens ``/me`` and the WebSocket ``/live``. A newer one of its session is
``curl http://127.0.0.1:8765/_emulator/token -d '{"preset": "clerk-v2", "session_id": "sess_…"}'``.
"""

import os

from fastapi import FastAPI, WebSocket

from moonkey_core import MoonKeyError
from moonkey_core.provider import Clerk
from moonkey_starlette import MoonKeyMiddleware, bound_session
from moonkey_starlette.fastapi import CurrentUser

clerk = Clerk(
    issuer=os.environ.get("CLERK_ISSUER", "http://127.0.0.1:8765/clerk"),
    authorized_parties="https://app.example.com",  # the origin of the pages
)

app = FastAPI()
app.add_middleware(MoonKeyMiddleware, provider=clerk)


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, str]:
    return {"user_id": user.id}


@app.websocket("/live")
async def live(websocket: WebSocket, user: CurrentUser) -> None:
    await websocket.accept()
    async for message in websocket.iter_json():  # ends with the token, unless that is renewed
        if "renew" not in message:
            await websocket.send_json({"user_id": user.id, "said": message})
            continue
        try:
            await bound_session(websocket).renew(message["renew"])
        except MoonKeyError as error:  # refused: the connection goes on as before
            await websocket.send_json({"renewed": False, "reason": error.reason})
        else:
            await websocket.send_json({"renewed": True})
