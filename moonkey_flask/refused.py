"""What gates and identities raise: an error of the core that is also an HTTP exception of Werkzeug."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException

from moonkey_core.errors import MoonKeyError
from moonkey_core.web.raised import FrameworkError, as_framework_error
from moonkey_core.web.responses import public_detail
from moonkey_flask.responses import reject
from moonkey_flask.socketio import connect_facts, connect_kinds


class HttpRefusal(FrameworkError, HTTPException):
    """An HTTP exception with the whole response, for layers that answer errors by themselves.

    Flask-RESTful is one. The response is made, and logged, when it is first read.

    Attributes:
        code: The HTTP status, in instances; an error that has a ``code`` of its own keeps that one. The class has
            none: Flask would ask an app's handler for that status before its handler for ``MoonKeyError``.
    """

    _made: Response | None = None
    _is_being_made = False

    @property
    def name(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.plain.status).phrase

    @property
    def response(self) -> Response | None:  # type: ignore[override]
        """The response of the app's handler for this error, which is MoonKey's unless the app has its own.

        ``None`` outside of a request.
        """
        if self._made is None and has_request_context():
            self._made = reject(self.plain) if self._is_being_made else self._handled()
        return self._made

    def get_headers(self, environ: Any = None, scope: Any = None) -> list[tuple[str, str]]:
        """Return the headers of the response."""
        made = self.response
        return super().get_headers(environ, scope) if made is None else list(made.headers)

    def get_body(self, environ: Any = None, scope: Any = None) -> str:
        """Return the body of the response."""
        made = self.response
        return super().get_body(environ, scope) if made is None else made.get_data(as_text=True)

    def _handled(self) -> Response:
        self._is_being_made = True  # a handler may return this error, or its response
        try:
            return current_app.make_response(_handle(self))  # type: ignore[arg-type]
        finally:
            self._is_being_made = False


class HttpRaiser:
    """Makes what gates raise in an app with the extension."""

    def to_raise(self, error: MoonKeyError) -> MoonKeyError:
        """Return the error as an HTTP exception; for a Socket.IO client that connects, as its refusal too."""
        facts: dict[str, Any] = {"code": error.status, "description": public_detail(error)}
        kinds: tuple[type[Exception], ...] = (HttpRefusal,)
        if has_request_context():
            _keep_handlers()
            connects = connect_kinds()
            if connects:
                kinds, facts = (*kinds, *connects), {**facts, **connect_facts()}
        return as_framework_error(error, *kinds, **facts)


def _keep_handlers() -> None:
    """Let no blueprint's handler for HTTP exceptions take an error that another handler would get without this.

    Flask asks the handlers of a blueprint before those of the app. One that handles all exceptions gets this too.
    """
    for name in request.blueprints:
        handlers = current_app.error_handler_spec.get(name, {}).get(None, {})
        if HTTPException in handlers and Exception not in handlers:
            handlers.setdefault(HttpRefusal, _handle_plain)


def _handle_plain(error: HttpRefusal) -> Any:
    return _handle(error.plain)


def _handle(error: MoonKeyError) -> Any:
    """Return what the app's own handler for an error returns.

    This is the method of the class: an extension that has replaced the app's own has been asked already.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return type(app).handle_user_exception(app, error)
