"""Flask: one app for each contender, the same route, the same answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
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
    own_options,
    who,
)
from flask import Flask, abort, g, request
from service import Upstream
from tokens import AUDIENCE, ISSUER, KID, key_set, public_pem

View = Callable[[], dict[str, str]]


def _app(guard: Callable[[View], View], answer: Callable[[], dict[str, str]]) -> Flask:
    app = Flask("bench")

    @app.get("/me")
    @guard
    def me() -> dict[str, str]:
        return answer()

    return app


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else abort(401)


def _guard(verify: Callable[[str], Any]) -> Callable[[View], View]:
    """The usual hand-written decorator: any exception, or nothing, is a 401."""

    def guard(view: View) -> View:
        @wraps(view)
        def checked() -> Any:
            try:
                found = verify(_bearer())
            except Exception:
                found = None
            if not found:
                abort(401)
            g.who = who(found)
            return view()

        return checked

    return guard


def none(upstream: Upstream) -> App:
    """The same app without any check."""
    return App(NONE, _app(lambda view: view, lambda: NOBODY), checks=False, kind="base")


def _ours(name: str) -> Callable[[Upstream], App]:
    def build(upstream: Upstream) -> App:
        """The extension and its decorator."""
        from moonkey_flask import FlaskMoonKey, current_session, current_user, require_auth

        app = _app(require_auth, lambda: {"user_id": current_user.id, "session_id": current_session.id})
        FlaskMoonKey(app, **own_options(name, upstream))
        return App(name, app, **OWN[name])

    return build


def recipe(upstream: Upstream) -> App:
    """PyJWT with one PyJWKClient."""
    return App(RECIPE, _app(_guard(local.pyjwt_client(upstream).call), lambda: g.who))


def naive_client(upstream: Upstream) -> App:
    """A fetch for each request."""
    return App(PER_CALL, _app(_guard(client_per_call(upstream)), lambda: g.who))


def naive_post(upstream: Upstream) -> App:
    """A call for each request."""
    return App(POST, _app(_guard(guide_post(upstream)), lambda: g.who), "opaque")


def authlib(upstream: Upstream) -> App:
    """authlib's resource protector for JWT access tokens (RFC 9068)."""
    from authlib.integrations.flask_oauth2 import ResourceProtector
    from authlib.integrations.flask_oauth2 import current_token as token
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
    from joserfc.jwk import KeySet

    published: Any = key_set(KID)
    keys = KeySet.import_key_set(published)

    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> Any:
            return keys

    protector = ResourceProtector()
    protector.register_token_validator(Validator(ISSUER, AUDIENCE))
    return App("authlib rfc9068", _app(protector(), lambda: who(token)), flavour="rfc9068")


def flask_jwt_extended(upstream: Upstream) -> App:
    """Its own decorator, RS256 with the public key in the configuration."""
    from flask_jwt_extended import JWTManager, get_jwt, jwt_required

    app = _app(jwt_required(), lambda: who(get_jwt()))
    settings = {"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": public_pem()}
    app.config.update(settings, JWT_DECODE_AUDIENCE=AUDIENCE, JWT_DECODE_ISSUER=ISSUER)
    JWTManager(app)
    return App("flask-jwt-extended", app, flavour="extended")


def propelauth(upstream: Upstream) -> App:
    """propelauth-flask's decorator, its key given."""
    from propelauth_flask import TokenVerificationMetadata, current_user, init_auth

    known = TokenVerificationMetadata(verifier_key=public_pem(), issuer=ISSUER)
    auth = init_auth(ISSUER, "key", known)
    app = _app(auth.require_user, lambda: who(current_user))
    return App("propelauth-flask (no aud check)", app, flavour="propelauth")


def clerk(upstream: Upstream) -> App:
    """clerk's ``authenticate_request`` in a decorator, its key given."""
    verify = local.clerk_request(upstream)

    def guard(view: View) -> View:
        @wraps(view)
        def checked() -> Any:
            state = verify.call(request)
            if not state.is_signed_in:
                abort(401)
            g.who = who(state.payload)
            return view()

        return checked

    return App("clerk-backend-api (no iss check)", _app(guard, lambda: g.who))


def stytch(upstream: Upstream) -> App:
    """stytch's ``authenticate_jwt_local`` in a decorator."""
    app = _app(_guard(local.stytch_local(upstream).call), lambda: g.who)
    return App("stytch", app, flavour="stytch")


APPS = [
    none,
    *map(_ours, OWN),
    recipe,
    authlib,
    flask_jwt_extended,
    propelauth,
    clerk,
    stytch,
    naive_client,
    naive_post,
]
