"""The ``MOONKEY`` setting, and the clients made from it. No other module reads the setting.

When the setting changes (``override_settings`` in a test), the configuration and the clients are made anew.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.models import User
from moonkey_core.settings import DJANGO_KEYS, Settings, are_equivalent, check_names, variables
from moonkey_core.web.responses import usual_effects
from moonkey_django.signals import watch

SETTING = "MOONKEY"

T = TypeVar("T")

UsersSetting = str | Callable[[User], Any] | None
"""How a MoonKey user becomes a Django user: ``None`` (not at all), ``"match"`` (only users that are already
mapped), ``"create"`` (at the user's first request), or a function, or its dotted path, that returns a saved user
or ``None``."""


class UsersError(ConfigurationError):
    """``MOONKEY["USERS"]`` is wrong, or a part of the project that it needs is missing."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The validated ``MOONKEY`` setting.

    All but ``settings`` depend on how the project's code is written, so environment variables do not set them.

    Attributes:
        settings: The settings of the client.
        lazy: For ASGI: no credential is verified before the view, which awaits ``request.amoonkey()``.
        users: How ``request.user`` is determined, see :data:`UsersSetting`.
        logout_ends_session: Whether "Log out", in the admin and in Django's ``LogoutView``, ends the MoonKey
            session of a mapped user, too.
        required: Whether each view requires a verified user and session, except those that are marked as open.
        needs_info: Whether more of a request is needed than its headers, at least where it brings cookies.
        needs_info_always: The same for any request.
        usual_headers: Those that most responses get: ``Vary`` and ``Cache-Control``, each with its name.
    """

    settings: Settings
    lazy: bool
    users: UsersSetting = None
    logout_ends_session: bool = True
    required: bool = False
    # Derived from the settings here, once: each request asks for them.
    needs_info: bool = field(init=False, repr=False, compare=False)
    needs_info_always: bool = field(init=False, repr=False, compare=False)
    usual_headers: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive what each request asks for."""
        object.__setattr__(self, "needs_info", self.settings.needs_request_info)
        object.__setattr__(self, "needs_info_always", bool(self.settings.trusted_proxies))
        object.__setattr__(self, "usual_headers", usual_effects(self.settings.identity_headers).headers)


def configuration() -> Configuration:
    """Return the current configuration.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
    """
    found: Any = _made.get(_load)  # each request asks for it: `_once` would be one more call
    made: Configuration = _once(_load) if found is None else found
    return made


def get_client() -> MoonKey:
    """Return the blocking client of this process, to revoke sessions, send codes and so on.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
    """
    found: Any = _made.get(_new_client)
    made: MoonKey = _once(_new_client) if found is None else found
    return made


def get_async_client() -> AsyncMoonKey:
    """Return the asynchronous client of this process, for asynchronous views.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
    """
    found: Any = _made.get(_new_async_client)
    made: AsyncMoonKey = _once(_new_async_client) if found is None else found
    return made


def is_mapping() -> bool:
    """Return whether the ``MOONKEY`` setting is a dict, or is left out, with all settings in the environment."""
    return isinstance(_setting(), Mapping)


_made: dict[Callable[[], object], object] = {}


def _once(make: Callable[[], T]) -> T:
    """Return the result of ``make()``, which is kept until the setting changes.

    There is no lock, which a fork could copy while it is held. Two threads that come first may both call
    ``make()``, which opens no connection; both then use the same result.
    """
    found: Any = _made.get(make)
    if found is None:
        found = _made.setdefault(make, make())
    made: T = found
    return made


def _setting() -> Any:
    return getattr(django_settings, SETTING, {})


def _load() -> Configuration:
    if not is_mapping():
        raise ConfigurationError('MOONKEY must be a dict, such as MOONKEY = {"SECRET_KEY": "sk_live_…"}.')
    options: dict[str, Any] = {}
    for key, value in _setting().items():
        name = str(key).lower()
        if name in options:
            raise ConfigurationError(f"MOONKEY names {name.upper()[:60]!r} twice. Keep one of the two spellings.")
        options[name] = value
    check_names([name for name in options if name not in DJANGO_KEYS], beside=DJANGO_KEYS)
    _check_beside(options)
    lazy, ends = options.pop("lazy", False), options.pop("logout_ends_session", True)
    required = options.pop("required", False)
    for name, value in (("LAZY", lazy), ("LOGOUT_ENDS_SESSION", ends), ("REQUIRED", required)):
        if not isinstance(value, bool):
            raise ConfigurationError(f'MOONKEY["{name}"] must be True or False.')
    users = _users(options.pop("users", None))
    return Configuration(Settings.load(options), lazy, users, ends, required)


def _check_beside(options: Mapping[str, Any]) -> None:
    """Raise ``ConfigurationError`` for Django settings beside the ``MOONKEY`` dict, which have no effect.

    A setting beside the dict is accepted where the value in use is the same.
    """
    names = [name for name in dir(django_settings) if name.isupper() and name != SETTING]
    # Other settings are not read: a read may raise, or warn.
    found = {name: getattr(django_settings, name) for name in names if name.startswith(f"{SETTING}_")}
    for name, value in variables(found, "Django setting", in_django=True).items():
        used = options.get(name)
        in_use = os.environ.get(f"MOONKEY_{name.upper()}") if used is None else used
        if value != in_use and (name in DJANGO_KEYS or not are_equivalent(name, value, in_use)):
            raise ConfigurationError(
                f"The Django setting MOONKEY_{name.upper()} has no effect. "
                f"Write it into the dict: MOONKEY = {{{name.upper()!r}: …}}."
            )
    for name in difflib.get_close_matches(SETTING, names, cutoff=0.85):
        if isinstance(getattr(django_settings, name), Mapping):
            raise ConfigurationError(f"The Django setting {name} has no effect. Did you mean {SETTING}?")


def _users(value: object) -> UsersSetting:
    if value is None or (callable(value) and not iscoroutinefunction(value)):
        return value
    if isinstance(value, str) and (value in ("match", "create") or _is_dotted(value)):
        return value
    raise UsersError(
        'MOONKEY["USERS"] must be None, "match", "create", or a function, or its dotted path. '
        "A coroutine function will not do."
    )


def _is_dotted(path: str) -> bool:
    return "." in path and all(part.isidentifier() for part in path.split("."))


def _new_client() -> MoonKey:
    client = MoonKey(configuration().settings)
    watch(client)
    return client


def _new_async_client() -> AsyncMoonKey:
    client = AsyncMoonKey(configuration().settings)
    watch(client)
    return client


@receiver(setting_changed)
def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting.startswith(SETTING):
        _made.clear()  # a request that uses an old client may finish; the client's connections end with it
