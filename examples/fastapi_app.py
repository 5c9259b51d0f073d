from fastapi import FastAPI

from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentAuth, CurrentUser

app = FastAPI()
app.add_middleware(MoonKeyMiddleware)


@app.get("/")
async def home() -> str:
    return "Everybody may read this."


@app.get("/hello")
async def hello(auth: CurrentAuth) -> str:
    return f"Hello. To us you are {auth.state}."


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, str]:
    return {"user_id": user.id}
