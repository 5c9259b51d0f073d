from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from moonkey_starlette import MoonKeyMiddleware, require_auth


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Everybody may read this.\n")


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Hello. To us you are {request.state.moonkey.state}.\n")


@require_auth
async def me(request: Request) -> JSONResponse:
    return JSONResponse({"user_id": request.state.moonkey.user.id})


app = Starlette(
    routes=[Route("/", home), Route("/hello", hello), Route("/me", me)],
    middleware=[Middleware(MoonKeyMiddleware)],
)
