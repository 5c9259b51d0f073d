"""The ``MOONKEY`` setting, and the clients that follow from it. The one place that reads it.

Live: when the setting changes (``override_settings`` in a test), all that was made from it is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

SETTING = "MOONKEY"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the ``MOONKEY`` setting says, validated.

    ``lazy`` is for ASGI: nothing is verified before the view, which awaits ``request.amoonkey()``. It tells how
    the views are written, so the environment has no say in it.
    """

    settings: Settings
    lazy: bool


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
    lazy = options.pop("lazy", False)
    if not isinstance(lazy, bool):
        raise ConfigurationError('MOONKEY["LAZY"] must be True or False.')
    return Configuration(Settings.load(options), lazy)


def _new_client() -> MoonKey:
    return MoonKey(configuration().settings)


def _new_async_client() -> AsyncMoonKey:
    return AsyncMoonKey(configuration().settings)


@receiver(setting_changed)
def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting == SETTING:
        _made.clear()  # a request that still uses an old client may finish; its connections end with it
