"""The Flask extension, which reads the settings and sets up an app."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

from flask import Flask, current_app
from flask.json.provider import JSONProvider

from moonkey_core.client import MoonKey
from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.models import MODELS
from moonkey_core.settings import Options, Settings, check_names, has_value, variables
from moonkey_flask.closed import SETTING as REQUIRED
from moonkey_flask.closed import close, is_closed
from moonkey_flask.commands import add_commands
from moonkey_flask.gates import check_first, gates_check
from moonkey_flask.identity import get_client, with_identity
from moonkey_flask.names import CLOSED, EXTENSION, RAISER
from moonkey_flask.refused import HttpRaiser
from moonkey_flask.responses import apply_response_effects, reject
from moonkey_flask.routes import check_clients, check_cookies
from moonkey_flask.signals import watch


class FlaskMoonKey:
    """The extension: ``FlaskMoonKey(app)``, or ``FlaskMoonKey()`` and later ``init_app(app)``.

    Settings come from keyword arguments, else from ``app.config["MOONKEY_…"]``, else from the environment. With a
    configured ``client``, no other settings may be given. The app's client is ``app.extensions["moonkey"]``.

    Args:
        app: The app to set up now, if any.
        client: A configured client to use.
        required: Whether each view, and each event of Flask-SocketIO, requires a verified user and session, except
            those with ``@public`` or ``@optional_auth``, the session routes and static files. If left out, it is
            ``app.config["MOONKEY_REQUIRED"]``, else false.
        **options: Settings.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
        TypeError: ``client`` is not a ``MoonKey``, or is given together with settings.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        client: MoonKey | None = None,
        required: bool | None = None,
        **options: Unpack[Options],
    ) -> None:
        if client is not None and not isinstance(client, MoonKey):
            raise TypeError(f"FlaskMoonKey needs a MoonKey, not a {type(client).__name__}.")
        if client is not None and options:
            raise TypeError("Give FlaskMoonKey either a client or single settings, not both.")
        if required is not None and not isinstance(required, bool):
            raise ConfigurationError("required must be True or False.")
        check_names(options, beside=("client", "required"))
        self._client = client
        self._required = required
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an app.

        One extension object may serve several apps. Each has a client of its own, unless a client was given.

        Args:
            app: The app.

        Raises:
            ConfigurationError: A setting is wrong, missing or unknown.
        """
        configured = _configured(app)
        client = app.extensions[EXTENSION] = self._client_for(configured)
        app.extensions[RAISER] = HttpRaiser()
        check_cookies(app)
        check_clients(app)
        watch(client, app)
        if is_closed(app.config, self._required):
            close(app)
        check_first(app, (_settings_check(configured, self._required), gates_check(app)))
        _prepare_requests(app)
        add_commands(app)
        # First in the list is last to run: it sees whether any other function has read the identity.
        app.after_request_funcs.setdefault(None, []).insert(0, apply_response_effects)
        # The app's own handler takes precedence, registered before, or later in place of this one.
        if MoonKeyError not in app.error_handler_spec[None][None]:
            app.register_error_handler(MoonKeyError, reject)

    def _client_for(self, configured: Mapping[str, Any]) -> MoonKey:
        if self._client is None:
            given = {name: value for name, value in self._options.items() if value is not None}
            return MoonKey(Settings.load({**configured, **given}))
        for name, value in configured.items():
            if value is not None and not has_value(self._client.settings, name, value):
                raise ConfigurationError(
                    f"MOONKEY_{name.upper()} in app.config has no effect: the client that was given has another "
                    "value. Set it there, or leave the client out."
                )
        return self._client


def _prepare_requests(app: Flask) -> None:
    """Give the requests of an app the attributes ``user`` and ``session``, and its JSON provider the models.

    The app may set another class or provider at any later time.
    """
    make = app.request_context
    prepared = app.request_class = with_identity(app.request_class)
    provider = _write_models(app)

    def request_context(environ: Any) -> Any:
        nonlocal prepared, provider
        if app.request_class is not prepared:
            prepared = app.request_class = with_identity(app.request_class)
        if app.json is not provider:
            provider = _write_models(app)
        return make(environ)

    app.request_context = request_context  # type: ignore[method-assign]


def _write_models(app: Flask) -> JSONProvider:
    """Have ``jsonify`` write users, sessions and other models as their ``to_dict()``.

    ``app.json.default`` is Flask's own hook for this. A JSON provider without it (one for another library) is left
    as it is.

    Returns:
        The JSON provider of the app.
    """
    otherwise = getattr(app.json, "default", None)
    if callable(otherwise):
        app.json.default = partial(_as_json, otherwise)  # type: ignore[attr-defined]
    return app.json


def _as_json(otherwise: Callable[[Any], Any], thing: Any) -> Any:
    return thing.to_dict() if isinstance(thing, MODELS) else otherwise(thing)


def _configured(app: Flask) -> dict[str, Any]:
    if isinstance(app.config.get("MOONKEY"), Mapping):
        raise ConfigurationError(
            "A dict named MOONKEY in app.config has no effect. "
            'Name each setting by itself: app.config["MOONKEY_JWT_ISSUER"] = …'
        )
    found = variables(app.config, "key of app.config", beside=("required",))
    found.pop("required", None)  # it is none of the client's, and read where the app is closed
    return found


def _settings_check(read: Mapping[str, Any], required: bool | None) -> Callable[[], None]:
    """Return what raises ``ConfigurationError`` for a setting that was set too late to be read.

    Args:
        read: The settings that ``init_app`` has read from ``app.config``.
        required: The argument ``required`` of the extension.
    """

    def check() -> None:
        for name, value in _configured(current_app).items():
            is_late = value is not None and value != read.get(name)
            if is_late and not has_value(get_client().settings, name, value):
                raise ConfigurationError(
                    f"MOONKEY_{name.upper()} in app.config has no effect: it was set after FlaskMoonKey had read "
                    "its settings. Set it before FlaskMoonKey(app), or call init_app(app) later."
                )
        if is_closed(current_app.config, required) != (CLOSED in current_app.extensions):
            raise ConfigurationError(
                f"{REQUIRED} in app.config has no effect: it was set after FlaskMoonKey had read its settings. "
                "Set it before FlaskMoonKey(app), or call init_app(app) later."
            )

    return check
