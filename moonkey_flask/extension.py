"""The Flask extension: settings, error handler, cache headers."""

from __future__ import annotations

from typing import Unpack

from flask import Flask, Request, Response, request

from moonkey_core.auth import Auth
from moonkey_core.client import MoonKey
from moonkey_core.credentials import presents_any, wsgi_headers
from moonkey_core.errors import MoonKeyError
from moonkey_core.responses import refuse, success_headers
from moonkey_core.settings import Options, Settings
from moonkey_flask.identity import EXTENSION, current_request, get_client, verified_auth, with_identity

_PREFIX = "MOONKEY_"


class FlaskMoonKey:
    """Sets an app up: ``FlaskMoonKey(app)``, or ``FlaskMoonKey()`` and later ``init_app(app)``.

    Settings come from keyword arguments, else from ``app.config["MOONKEY_…"]``, else from the environment; or a
    ``client`` that is configured already is used. Raises
    :class:`~moonkey_core.errors.ConfigurationError` for a wrong or missing one. The app's client is
    ``app.extensions["moonkey"]``.
    """

    def __init__(
        self, app: Flask | None = None, *, client: MoonKey | None = None, **options: Unpack[Options]
    ) -> None:
        if client is not None and not isinstance(client, MoonKey):
            raise TypeError(f"FlaskMoonKey needs a MoonKey, not a {type(client).__name__}.")
        self._client = client
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set ``app`` up. One extension object may serve several apps, each with a client of its own."""
        app.extensions[EXTENSION] = self._client or MoonKey(self._settings(app))
        app.request_class = with_identity(app.request_class)
        # First in the list is last to run: it sees whether any other function has looked at the identity.
        app.after_request_funcs.setdefault(None, []).insert(0, _with_success_headers)
        # The app's own handler wins, whether it is registered later (it replaces ours) or was before.
        if MoonKeyError not in app.error_handler_spec[None][None]:
            app.register_error_handler(MoonKeyError, _refused)

    def _settings(self, app: Flask) -> Settings:
        configured = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in app.config.items()
            if name.startswith(_PREFIX)
        }
        given = {name: value for name, value in self._options.items() if value is not None}
        return Settings.load({**configured, **given})


def _refused(error: MoonKeyError) -> Response:
    refusal = refuse(error, get_client().settings, wsgi_headers(request.environ))
    return Response(refusal.body, refusal.status, list(refusal.headers))


def _with_success_headers(response: Response) -> Response:
    flask_request = current_request()
    auth = verified_auth(flask_request)
    if auth is None and not _may_look_later(flask_request, response):
        return response
    headers = response.headers
    own: dict[str, list[str]] = {}
    for name, value in headers:  # once, as each way to ask for a header goes through all of them
        own.setdefault(name.lower(), []).append(value)
    found = success_headers(
        Auth() if auth is None else auth,
        get_client().settings,
        vary=", ".join(own.get("vary", ())),
        cache_control=", ".join(own.get("cache-control", ())),
    )
    for name, value in found.items():
        if name.lower() in own:
            headers.set(name, value)
        else:
            headers.add(name, value)
    return response


def _may_look_later(flask_request: Request, response: Response) -> bool:
    """Whether a body that is still to be made may depend on identity, when the headers have long been sent."""
    if not response.is_streamed or response.direct_passthrough:
        return False
    return presents_any(wsgi_headers(flask_request.environ), get_client().settings)
