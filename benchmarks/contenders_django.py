"""Django over WSGI: one handler and one view for each contender, behind the same URL."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import contenders_local as local
import django
import ours
from apps import NONE, OURS, PER_CALL, POST, RECIPE, App, client_per_call, guide_post, user_of
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test.utils import override_settings
from django.urls import path
from service import Upstream
from tokens import AUDIENCE, ISSUER, KID, key_set

View = Callable[[Any], HttpResponse]
VIEW = "bench.view"


def _dispatch(request: HttpRequest) -> HttpResponse:
    view: View = request.META[VIEW]
    return view(request)


urlpatterns = [path("me", _dispatch)]


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
        return JsonResponse({"user_id": request.user_id})

    @wraps(me)
    def checked(request: Any) -> HttpResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            found = verify(token) if scheme == "Bearer" else None
        except Exception:
            found = None
        if not found:
            return HttpResponse(status=401)
        request.user_id = user_of(found)
        return me(request)

    return checked


def none(upstream: Upstream) -> App:
    """The same app without any check."""
    return _app(NONE, lambda request: JsonResponse({"user_id": "user_1"}), checks=False)


def this_project(upstream: Upstream) -> App:
    """The middleware and the decorator."""
    from moonkey_django import require_auth

    def me(request: Any) -> HttpResponse:
        return JsonResponse({"user_id": request.moonkey.user.id})

    settings.MOONKEY = {name.upper(): value for name, value in ours.options(upstream.url).items()}
    return _app(OURS, require_auth(me), ["moonkey_django.MoonKeyMiddleware"])


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
    view = protector()(lambda request: JsonResponse({"user_id": request.oauth_token["sub"]}))
    return _app("authlib rfc9068", view, flavour="rfc9068")


def clerk(upstream: Upstream) -> App:
    """clerk's ``authenticate_request``, its key given."""
    verify = local.clerk_request(upstream)

    def me(request: Any) -> HttpResponse:
        state = verify.call(request)
        return JsonResponse({"user_id": state.payload["sub"]}) if state.is_signed_in else HttpResponse(status=401)

    return _app("clerk-backend-api (no iss check)", me)


def stytch(upstream: Upstream) -> App:
    """stytch's ``authenticate_jwt_local``."""
    return _app("stytch", _guard(local.stytch_local(upstream).call), flavour="stytch")


APPS = [none, this_project, recipe, authlib, clerk, stytch, naive_client, naive_post]
