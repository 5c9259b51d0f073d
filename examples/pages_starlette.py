"""An app with pages and sign-in, for Starlette, and a stream that ends with its session."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from moonkey_core import CookieSettings
from moonkey_starlette import MoonKeyMiddleware, bound_stream, public, require_auth, session_routes

templates = Jinja2Templates(Path(__file__).parent / "templates")


@public
async def home(request: Request) -> Response:
    return templates.TemplateResponse(request, "home.html", {"auth": request.state.moonkey})


@require_auth
async def account(request: Request) -> Response:
    context = {"user": request.state.moonkey.user, "links": [("/clock", "A clock, for as long as you are here")]}
    return templates.TemplateResponse(request, "account.html", context)


@require_auth(factor_max_age=timedelta(minutes=1))
async def vault(request: Request) -> Response:
    return templates.TemplateResponse(request, "vault.html")


@require_auth
async def clock(request: Request) -> Response:
    return StreamingResponse(bound_stream(request, ticks()), media_type="text/plain")


async def ticks() -> AsyncIterator[str]:
    while True:
        yield f"It is {datetime.now(UTC):%H:%M:%S} UTC.\n"
        await asyncio.sleep(1)


app = Starlette(
    routes=[
        Route("/", home),
        Route("/account", account),
        Route("/vault", vault),
        Route("/clock", clock),
        session_routes(),
    ],
    middleware=[Middleware(MoonKeyMiddleware, cookies=CookieSettings())],
)
