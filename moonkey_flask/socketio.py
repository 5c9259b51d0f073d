"""The refusal of a Socket.IO client by Flask-SocketIO, which is never imported here.

python-socketio refuses a client only by its own exception. After any other one, the client stays in the namespace
and receives every broadcast.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache
from typing import Any

from flask import Request, current_app, has_request_context, request

from moonkey_core.client import MoonKey
from moonkey_core.errors import MoonKeyError
from moonkey_core.settings import Settings
from moonkey_core.web.raised import FrameworkError, as_framework_error
from moonkey_core.web.request import HeaderView, RequestInfo, wsgi_headers, wsgi_request
from moonkey_core.web.responses import public_detail, refuse
from moonkey_flask.names import EXTENSION, OWN_EVENT, RENEWED

logger: logging.Logger = logging.getLogger("moonkey")


def connect_kinds() -> tuple[type[Exception], ...]:
    """Return the exception that refuses a client, while the handler of a ``connect`` event runs; else nothing."""
    refused = getattr(sys.modules.get("socketio.exceptions"), "ConnectionRefusedError", None)
    event = getattr(request, "event", None) if refused is not None and has_request_context() else None
    is_connect = isinstance(event, dict) and event.get("message") == "connect"  # set by Flask-SocketIO
    return (_refusal_by(refused),) if is_connect else ()


def is_event(flask_request: Request) -> bool:
    """Return whether the handler of an event of Flask-SocketIO runs, which has set the event."""
    event = flask_request.__dict__.get("event")
    if event is None and not getattr(flask_request, OWN_EVENT, False):  # the app's own class may keep it elsewhere
        event = getattr(flask_request, "event", None)
    return isinstance(event, dict)


def request_info(flask_request: Request) -> RequestInfo:
    """Return the facts by which the cookies of a request are judged.

    Without WebSockets, all events of a Socket.IO client come by POST to the connection that one GET has begun. The
    handlers of the events, that of ``connect`` included, see this GET, which is judged as these POSTs would be.
    """
    info = wsgi_request(flask_request.environ)
    # Mostly there is none, and each request with cookies comes here: `is_event` is called where there may be one.
    if "event" not in flask_request.__dict__ and getattr(flask_request, OWN_EVENT, False):
        return info
    return info._replace(method="POST") if not info.is_websocket and is_event(flask_request) else info


def header_view(environ: dict[str, Any]) -> HeaderView:
    """Return the headers of a request; those with the newer credential where its connection has been renewed.

    The events of a Socket.IO client all come with the environ of the handshake.
    """
    renewed: HeaderView | None = environ.get(RENEWED)
    return wsgi_headers(environ) if renewed is None else renewed


def refused_connect(error: MoonKeyError) -> MoonKeyError:
    """Return an error as the refusal of a client that connects; elsewhere the error itself."""
    kinds = connect_kinds()
    return as_framework_error(error, *kinds, **connect_facts()) if kinds else error


def connect_facts() -> dict[str, Any]:
    """Return the attributes of a refusal: it is read outside of the app and the request."""
    client: MoonKey | None = current_app.extensions.get(EXTENSION)
    return {"settings": client and client.settings, "request_headers": wsgi_headers(request.environ)}


@lru_cache(2)
def _refusal_by(refused: type[Exception]) -> type[Exception]:
    return type("ConnectRefusal", (_ConnectRefusal, refused), {"__module__": __name__})


class _ConnectRefusal(FrameworkError):
    """The refusal of a client that connects.

    Attributes:
        settings: The settings; ``None`` where the app has none.
        request_headers: The headers of the request.
    """

    settings: Settings | None
    request_headers: HeaderView

    @property
    def error_args(self) -> dict[str, Any]:
        """What python-socketio sends to the client: a message, and as ``data`` the problem of an HTTP response."""
        error = self.plain
        if self.settings is None:
            logger.error("refused: %s", error, extra={"reason": error.reason})
            return {"message": public_detail(error), "data": {"status": error.status}}
        refusal = refuse(error, self.settings, self.request_headers)
        problem = json.loads(refusal.body)
        wait = dict(refusal.headers).get("retry-after")
        data = problem if wait is None else {**problem, "retry_after": int(wait)}
        return {"message": problem["detail"], "data": data}
