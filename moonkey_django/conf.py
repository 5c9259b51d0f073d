"""The ``MOONKEY`` setting, and the clients that follow from it. The one place that reads it.

Live: when the setting changes (``override_settings`` in a test), all that was made from it is made anew.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.models import User
from moonkey_core.settings import DJANGO_KEYS, Settings, are_equivalent, check_names, variables
from moonkey_django.signals import watch

SETTING = "MOONKEY"

T = TypeVar("T")

UsersSetting = str | Callable[[User], Any] | None
"""How a MoonKey user becomes a Django user: ``None`` (not at all), ``"match"`` (those that are mapped already),
``"create"`` (at first sight), or a function, or its dotted path, that returns a saved user or ``None``."""


class UsersError(ConfigurationError):
    """``MOONKEY["USERS"]`` is wrong, or something that it needs is missing."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the ``MOONKEY`` setting says, validated.

    ``lazy`` is for ASGI: nothing is verified before the view, which awaits ``request.amoonkey()``. It tells how
    the views are written, so the environment has no say in it. ``users`` says who ``request.user`` is, in the same
    way: see :data:`UsersSetting`.
    """

    settings: Settings
    lazy: bool
    users: UsersSetting = None


def configuration() -> Configuration:
    """The current configuration.

    Raises :class:`~moonkey_core.errors.ConfigurationError` for a wrong, missing or unknown setting.
    """
    return _once(_load)


def get_client() -> MoonKey:
    """The blocking client of this process, to revoke sessions, send codes and so on.

    Raises :class:`~moonkey_core.errors.ConfigurationError` for a wrong, missing or unknown setting.
    """
    return _once(_new_client)


def get_async_client() -> AsyncMoonKey:
    """The asynchronous client of this process, for asynchronous views.

    Raises :class:`~moonkey_core.errors.ConfigurationError` for a wrong, missing or unknown setting.
    """
    return _once(_new_async_client)


def is_mapping() -> bool:
    """Whether the ``MOONKEY`` setting is a dict, or is left out because everything is in the environment."""
    return isinstance(_setting(), Mapping)


_made: dict[Callable[[], object], object] = {}


def _once(make: Callable[[], T]) -> T:
    """What ``make()`` has returned since the setting changed last.

    Without a lock, which a fork could copy while it is held: where two threads come first, both make one (that
    opens no connection), and both go on with the same.
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
    lazy = options.pop("lazy", False)
    if not isinstance(lazy, bool):
        raise ConfigurationError('MOONKEY["LAZY"] must be True or False.')
    users = _users(options.pop("users", None))
    return Configuration(Settings.load(options), lazy, users)


def _check_beside(options: Mapping[str, Any]) -> None:
    """What stands beside the dict has no effect. A name for a value that is used in the dict does no harm."""
    names = [name for name in dir(django_settings) if name.isupper() and name != SETTING]
    # Others are not looked at: to read one may raise, or warn.
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
        _made.clear()  # a request that still uses an old client may finish; its connections end with it
