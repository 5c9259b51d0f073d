from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from moonkey_starlette import AuthenticatedRequest, MoonKeyMiddleware, require_auth


@require_auth
async def me(request: AuthenticatedRequest) -> JSONResponse:
    return JSONResponse({"user_id": request.state.moonkey.user.id})


app = Starlette(routes=[Route("/me", me)], middleware=[Middleware(MoonKeyMiddleware)])
