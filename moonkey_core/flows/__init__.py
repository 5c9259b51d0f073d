"""The ready-made routes: sign-in, callback, sign-out, sessions and step-up.

A framework package builds a ``FlowRequest``, calls ``client.flows.answer`` and writes the ``FlowResponse``. Every
decision is made in this package.
"""

from moonkey_core._operations.rotation import Rotation
from moonkey_core.flows.forms import chunked_input, unreadable_body
from moonkey_core.flows.routes import (
    HEADER_ROUTES,
    MAX_BODY_BYTES,
    NAMES,
    ROUTES,
    FlowRequest,
    FlowResponse,
    MagicLinkStart,
    Mode,
    OAuthStart,
    Route,
    routes_of,
)
from moonkey_core.web.pages import TEMPLATES

__all__ = [
    "HEADER_ROUTES", "MAX_BODY_BYTES", "NAMES", "ROUTES", "TEMPLATES", "FlowRequest", "FlowResponse",
    "MagicLinkStart", "Mode", "OAuthStart", "Rotation", "Route", "chunked_input", "routes_of", "unreadable_body",
]  # fmt: skip
