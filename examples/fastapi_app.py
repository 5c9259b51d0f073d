from fastapi import FastAPI

from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser

app = FastAPI()
app.add_middleware(MoonKeyMiddleware)


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, str]:
    return {"user_id": user.id}
