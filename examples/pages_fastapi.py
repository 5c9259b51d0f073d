"""An app with pages and sign-in, for FastAPI, and a WebSocket that is closed when its session is over."""

from datetime import timedelta
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.templating import Jinja2Templates

from moonkey_core import CookieSettings
from moonkey_starlette import MoonKeyMiddleware, public
from moonkey_starlette.fastapi import CurrentAuth, CurrentUser, RequireAuth, session_routes

app = FastAPI()
app.add_middleware(MoonKeyMiddleware, cookies=CookieSettings())
app.include_router(session_routes())

templates = Jinja2Templates(Path(__file__).parent / "templates")


@app.get("/")
@public
async def home(request: Request, auth: CurrentAuth) -> Response:
    return templates.TemplateResponse(request, "home.html", {"auth": auth})


@app.get("/account")
async def account(request: Request, user: CurrentUser) -> Response:
    return templates.TemplateResponse(request, "account.html", {"user": user})


@app.get("/vault", dependencies=[Depends(RequireAuth(factor_max_age=timedelta(minutes=1)))])
async def vault(request: Request) -> Response:
    return templates.TemplateResponse(request, "vault.html")


@app.websocket("/echo")
async def echo(websocket: WebSocket, user: CurrentUser) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():  # ends with the session
        await websocket.send_text(f"{user.id}: {text}")
