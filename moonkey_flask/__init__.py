"""MoonKey for Flask: an extension, decorators, and the identity of the current request."""

from moonkey_flask.decorators import optional_auth, require_auth
from moonkey_flask.extension import FlaskMoonKey
from moonkey_flask.identity import current_auth, current_session, current_user, get_client

__all__ = [
    "FlaskMoonKey",
    "current_auth",
    "current_session",
    "current_user",
    "get_client",
    "optional_auth",
    "require_auth",
]
