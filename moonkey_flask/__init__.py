"""MoonKey for Flask: an extension, decorators, and the identity of the current request."""

from moonkey_core.extras import needs

with needs("flask", extra="flask"):
    import flask as _flask  # noqa: F401

from moonkey_flask.decorators import optional_auth, public, require_auth
from moonkey_flask.extension import FlaskMoonKey
from moonkey_flask.identity import current_auth, current_session, current_user, get_client
from moonkey_flask.routes import session_routes
from moonkey_flask.streams import bound_stream, renewal_handler

__all__ = [
    "FlaskMoonKey",
    "bound_stream",
    "current_auth",
    "current_session",
    "current_user",
    "get_client",
    "optional_auth",
    "public",
    "renewal_handler",
    "require_auth",
    "session_routes",
]
