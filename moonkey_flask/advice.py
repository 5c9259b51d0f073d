"""Notes on exceptions of an app that come from a usual mistake: of one with the extension, or without it."""

from __future__ import annotations

from flask import Flask, Request, got_request_exception, has_request_context

from moonkey_core.web.advice import explain
from moonkey_flask.identity import current_request, peek
from moonkey_flask.names import EXTENSION

_NOT_SET_UP = (
    "MoonKey is not set up for this app, so its requests have no user and session. Add: FlaskMoonKey(app)"
)


@got_request_exception.connect
def _explain(app: Flask, exception: BaseException | None = None, **_: object) -> None:
    """Add a note to an exception that no code of the app has handled, before Flask logs it."""
    if exception is None or not has_request_context():
        return
    if EXTENSION in app.extensions:
        explain(exception, peek(current_request()))
    elif _reads_identity(exception):
        exception.add_note(_NOT_SET_UP)


def _reads_identity(error: BaseException) -> bool:
    return (
        isinstance(error, AttributeError) and error.name in ("user", "session") and isinstance(error.obj, Request)
    )
