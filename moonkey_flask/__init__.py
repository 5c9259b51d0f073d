"""MoonKey for Flask: an extension, decorators, and the identity of the current request."""

from moonkey_flask.decorators import optional_auth, require_auth
from moonkey_flask.extension import FlaskMoonKey
from moonkey_flask.identity import current_auth, get_client

__all__ = ["FlaskMoonKey", "current_auth", "get_client", "optional_auth", "require_auth"]
