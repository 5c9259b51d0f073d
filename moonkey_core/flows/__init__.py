"""Sign-in, callback, sign-out, sessions and step-up as ready-made routes: request data in, response data out.

A framework package reads the request, calls ``client.flows.answer`` and writes what comes back; every decision is
here.
"""

from moonkey_core._operations.rotation import Rotation
from moonkey_core.flows.forms import chunked_input, unreadable_body
from moonkey_core.flows.responses import TEMPLATES
from moonkey_core.flows.routes import MAX_BODY_BYTES, ROUTES, FlowRequest, FlowResponse, OAuthStart, Route

__all__ = [
    "MAX_BODY_BYTES", "ROUTES", "TEMPLATES", "FlowRequest", "FlowResponse", "OAuthStart", "Rotation", "Route",
    "chunked_input", "unreadable_body",
]  # fmt: skip
