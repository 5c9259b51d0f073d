"""Starlette and FastAPI: one app for each contender, the same route, the same answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import contenders_local as local
from apps import (
    NOBODY,
    NONE,
    OWN,
    PER_CALL,
    POST,
    RECIPE,
    App,
    client_per_call,
    guide_post,
    of_ours,
    own_options,
    who,
)
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from service import Upstream
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tokens import AUDIENCE, ISSUER, KID, key_set, public_pem

Verify = Callable[[str], Any]


class Someone(BaseUser):
    """The user and the session that a token is about."""

    def __init__(self, answer: dict[str, str]) -> None:
        self.answer = answer

    @property
    def is_authenticated(self) -> bool:
        """Always."""
        return True


class Backend(AuthenticationBackend):
    """The usual hand-written backend of Starlette's own middleware."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, Someone]:
        scheme, _, token = conn.headers.get("Authorization", "").partition(" ")
        try:
            found = self._verify(token) if scheme == "Bearer" else None
            found = await found if isinstance(found, Awaitable) else found
        except Exception as error:
            raise AuthenticationError("refused") from error
        if not found:
            raise AuthenticationError("refused")
        return AuthCredentials(["authenticated"]), Someone(who(found))


def _starlette(endpoint: Any, *middleware: Middleware) -> Starlette:
    return Starlette(routes=[Route("/me", endpoint)], middleware=list(middleware))


def _behind(verify: Verify) -> Starlette:
    @requires("authenticated")
    async def me(request: Request) -> JSONResponse:
        return JSONResponse(request.user.answer)

    return _starlette(me, Middleware(AuthenticationMiddleware, backend=Backend(verify)))


def starlette_none(upstream: Upstream) -> App:
    """The same app without any check."""

    async def me(request: Request) -> JSONResponse:
        return JSONResponse(NOBODY)

    return App(NONE, _starlette(me), checks=False, kind="base")


def _starlette_ours(name: str) -> Callable[[Upstream], App]:
    def build(upstream: Upstream) -> App:
        """The middleware and the decorator."""
        from moonkey_starlette import MoonKeyMiddleware, require_auth

        @require_auth
        async def me(request: Request) -> JSONResponse:
            return JSONResponse(of_ours(request.state.moonkey))

        app = _starlette(me, Middleware(MoonKeyMiddleware, **own_options(name, upstream)))
        return App(name, app, **OWN[name])

    return build


def starlette_recipe(upstream: Upstream) -> App:
    """PyJWT with one PyJWKClient, in Starlette's AuthenticationMiddleware."""
    return App(f"{RECIPE}, AuthenticationMiddleware", _behind(local.pyjwt_client(upstream).call))


def starlette_authlib(upstream: Upstream) -> App:
    """authlib's reader in Starlette's AuthenticationMiddleware."""
    return App("authlib, AuthenticationMiddleware", _behind(local.authlib_jwt(upstream).call))


def starlette_stytch(upstream: Upstream) -> App:
    """stytch's asynchronous method in Starlette's AuthenticationMiddleware."""
    call = local.stytch_client(upstream).sessions.authenticate_jwt_local_async
    return App("stytch, AuthenticationMiddleware", _behind(call), "stytch", hops=True)


def starlette_client(upstream: Upstream) -> App:
    """A fetch for each request."""
    return App(PER_CALL, _behind(client_per_call(upstream)))


def starlette_post(upstream: Upstream) -> App:
    """A call for each request."""
    return App(POST, _behind(guide_post(upstream)), "opaque")


def _fastapi(dependency: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)

    async def me(found: Any = Depends(dependency)) -> dict[str, str]:  # noqa: B008
        return who(found)

    app.get("/me")(me)
    return app


def _depends(verify: Verify) -> FastAPI:
    """The usual hand-written asynchronous dependency."""
    scheme = HTTPBearer()

    async def current(credentials: HTTPAuthorizationCredentials = Depends(scheme)) -> Any:  # noqa: B008
        try:
            found = verify(credentials.credentials)
        except Exception as error:
            raise HTTPException(401) from error
        if not found:
            raise HTTPException(401)
        return found

    return _fastapi(current)


def fastapi_none(upstream: Upstream) -> App:
    """The same app without any check."""
    app = FastAPI(openapi_url=None)

    async def me() -> dict[str, str]:
        return NOBODY

    app.get("/me")(me)
    return App(NONE, app, checks=False, kind="base")


def _fastapi_ours(name: str) -> Callable[[Upstream], App]:
    def build(upstream: Upstream) -> App:
        """The middleware and the dependencies."""
        from moonkey_starlette import MoonKeyMiddleware
        from moonkey_starlette.fastapi import CurrentSession, CurrentUser

        app = FastAPI(openapi_url=None)
        app.add_middleware(MoonKeyMiddleware, **own_options(name, upstream))

        async def me(user: Any, session: Any) -> dict[str, str]:
            return {"user_id": user.id, "session_id": session.id}

        me.__annotations__.update(user=CurrentUser, session=CurrentSession)
        app.get("/me")(me)
        return App(name, app, **OWN[name])

    return build


def fastapi_recipe(upstream: Upstream) -> App:
    """PyJWT with one PyJWKClient."""
    return App(f"{RECIPE}, async dependency", _depends(local.pyjwt_client(upstream).call))


def fastapi_clerk(upstream: Upstream) -> App:
    """clerk's ``authenticate_request`` as a dependency, its key given."""
    verify = local.clerk_request(upstream)

    async def current(request: Any) -> Any:
        state = verify.call(request)
        if not state.is_signed_in:
            raise HTTPException(401)
        return state.payload

    current.__annotations__["request"] = Request
    return App("clerk-backend-api (no iss check)", _fastapi(current))


def fastapi_auth0(upstream: Upstream) -> App:
    """auth0-fastapi-api; its fetches, which would go to https, are answered on the spot."""
    from fastapi_plugin.fast_api_client import Auth0FastAPI

    async def fetch(url: str) -> dict[str, Any]:
        return key_set(KID) if "jwks" in url else {"issuer": f"{ISSUER}/", "jwks_uri": f"{ISSUER}/jwks"}

    domain = ISSUER.removeprefix("https://")
    auth = Auth0FastAPI(domain=domain, audience=AUDIENCE, custom_fetch=fetch)
    return App("auth0-fastapi-api", _fastapi(auth.require_auth()), "auth0")


def fastapi_propelauth(upstream: Upstream) -> App:
    """propelauth-fastapi's dependency, its key given."""
    from propelauth_fastapi import TokenVerificationMetadata, init_auth

    known = TokenVerificationMetadata(verifier_key=public_pem(), issuer=ISSUER)
    auth = init_auth(ISSUER, "key", known)
    return App("propelauth-fastapi (no aud check)", _fastapi(auth.require_user), "propelauth", hops=True)


def fastapi_client(upstream: Upstream) -> App:
    """A fetch for each request."""
    return App(PER_CALL, _depends(client_per_call(upstream)))


def fastapi_post(upstream: Upstream) -> App:
    """A call for each request."""
    return App(POST, _depends(guide_post(upstream)), "opaque")


STARLETTE = [
    starlette_none,
    *map(_starlette_ours, OWN),
    starlette_recipe,
    starlette_authlib,
    starlette_stytch,
    starlette_client,
    starlette_post,
]
FASTAPI = [
    fastapi_none,
    *map(_fastapi_ours, OWN),
    fastapi_recipe,
    fastapi_clerk,
    fastapi_auth0,
    fastapi_propelauth,
    fastapi_client,
    fastapi_post,
]
