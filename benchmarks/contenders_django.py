"""Django over WSGI and ASGI: one handler and one view for each contender, behind the same URL."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import contenders_local as local
import django
from apps import (
    NOBODY,
    NONE,
    OWN,
    PAIR,
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
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test.utils import override_settings
from django.urls import path
from service import Upstream
from tokens import AUDIENCE, ISSUER, KID, key_set

View = Callable[[Any], HttpResponse]
VIEW = "bench.view"
MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware"]


def _dispatch(request: HttpRequest) -> HttpResponse:
    view: View = request.META[VIEW]
    return view(request)


async def _adispatch(request: Any) -> HttpResponse:
    """The view of an ASGI request, which its scope brings."""
    found: HttpResponse = await request.scope[VIEW](request)
    return found


urlpatterns = [path("me", _dispatch), path("ame", _adispatch)]


if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["app.example"], SECRET_KEY="x", MIDDLEWARE=[])
    django.setup()


def _app(name: str, view: View, middleware: list[str] | None = None, **more: Any) -> App:
    with override_settings(MIDDLEWARE=middleware or []):  # a handler reads it once, here
        handler = WSGIHandler()
    return App(name, handler, extra={VIEW: view}, **more)


def _guard(verify: Callable[[str], Any]) -> View:
    """A view in the usual hand-written decorator: any exception, or nothing, is a 401."""

    def me(request: Any) -> HttpResponse:
        return JsonResponse(request.who)

    @wraps(me)
    def checked(request: Any) -> HttpResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            found = verify(token) if scheme == "Bearer" else None
        except Exception:
            found = None
        if not found:
            return HttpResponse(status=401)
        request.who = who(found)
        return me(request)

    return checked


def none(upstream: Upstream) -> App:
    """The same app without any check."""
    return _app(NONE, lambda request: JsonResponse(NOBODY), checks=False, kind="base")


def _configure(upstream: Upstream) -> None:
    """A process has one configuration: with cookies, which the contenders with headers do not send."""
    settings.MOONKEY = {key.upper(): value for key, value in own_options(PAIR, upstream).items()}


def _ours(name: str) -> Callable[[Upstream], App]:
    def build(upstream: Upstream) -> App:
        """The middleware and the decorator."""
        from moonkey_django import require_auth

        def me(request: Any) -> HttpResponse:
            return JsonResponse(of_ours(request.moonkey))

        _configure(upstream)
        return _app(name, require_auth(me), MIDDLEWARE, **OWN[name])

    return build


def recipe(upstream: Upstream) -> App:
    """PyJWT with one PyJWKClient."""
    return _app(RECIPE, _guard(local.pyjwt_client(upstream).call))


def naive_client(upstream: Upstream) -> App:
    """A fetch for each request."""
    return _app(PER_CALL, _guard(client_per_call(upstream)))


def naive_post(upstream: Upstream) -> App:
    """A call for each request."""
    return _app(POST, _guard(guide_post(upstream)), flavour="opaque")


def authlib(upstream: Upstream) -> App:
    """authlib's resource protector for JWT access tokens (RFC 9068)."""
    from authlib.integrations.django_oauth2 import ResourceProtector
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
    from joserfc.jwk import KeySet

    published: Any = key_set(KID)
    keys = KeySet.import_key_set(published)

    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> Any:
            return keys

    protector = ResourceProtector()
    protector.register_token_validator(Validator(ISSUER, AUDIENCE))
    view = protector()(lambda request: JsonResponse(who(request.oauth_token)))
    return _app("authlib rfc9068", view, flavour="rfc9068")


def clerk(upstream: Upstream) -> App:
    """clerk's ``authenticate_request``, its key given."""
    verify = local.clerk_request(upstream)

    def me(request: Any) -> HttpResponse:
        state = verify.call(request)
        return JsonResponse(who(state.payload)) if state.is_signed_in else HttpResponse(status=401)

    return _app("clerk-backend-api (no iss check)", me)


def stytch(upstream: Upstream) -> App:
    """stytch's ``authenticate_jwt_local``."""
    return _app("stytch", _guard(local.stytch_local(upstream).call), flavour="stytch")


def _aapp(name: str, view: Any, middleware: list[str] | None = None, **more: Any) -> App:
    """An app as Django's handler runs it, without what that does around each request, whatever the app does.

    It moves to another thread for its signals, and back, and has a task that watches for a client that leaves: ten
    times what is to be measured, and varying by more.
    """
    with override_settings(MIDDLEWARE=middleware or []):
        handler = ASGIHandler()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        here = {**scope, "path": "/ame", "raw_path": b"/ame", VIEW: view}
        request, refusal = handler.create_request(here, io.BytesIO())
        response = refusal if request is None else await handler.run_get_response(request)
        await handler.send_response(response, send)
        response.close()

    return App(name, app, **more)


def _aguard(verify: Callable[[str], Any]) -> Any:
    async def checked(request: Any) -> HttpResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            found = verify(token) if scheme == "Bearer" else None
        except Exception:
            found = None
        return JsonResponse(who(found)) if found else HttpResponse(status=401)

    return checked


def anone(upstream: Upstream) -> App:
    """The same app without any check."""

    async def me(request: Any) -> HttpResponse:
        return JsonResponse(NOBODY)

    return _aapp(NONE, me, checks=False, kind="base")


def _aours(name: str) -> Callable[[Upstream], App]:
    def build(upstream: Upstream) -> App:
        """The middleware and the decorator, of an asynchronous view."""
        from moonkey_django import require_auth

        @require_auth
        async def me(request: Any) -> HttpResponse:
            return JsonResponse(of_ours(await request.amoonkey()))

        _configure(upstream)
        return _aapp(name, me, MIDDLEWARE, **OWN[name])

    return build


def arecipe(upstream: Upstream) -> App:
    """PyJWT with one PyJWKClient."""
    return _aapp(RECIPE, _aguard(local.pyjwt_client(upstream).call))


def aauthlib(upstream: Upstream) -> App:
    """authlib's reader of JWTs."""
    return _aapp("authlib JsonWebToken + KeySet", _aguard(local.authlib_jwt(upstream).call))


APPS = [none, *map(_ours, OWN), recipe, authlib, clerk, stytch, naive_client, naive_post]
ASYNC = [anone, *map(_aours, OWN), arecipe, aauthlib]
