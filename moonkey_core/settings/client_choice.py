"""A MoonKey client among the providers: ``providers=[MoonKey(…), Stytch(…)]``. It lends its settings.

The new client is another one, which makes calls of its own: the given one is only read. Clients stand above the
settings, so they are told by their name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.names import both_names
from moonkey_core.settings.provider_choice import MOONKEY, is_client

_PLACES = ("provider", "providers")


def without_clients(given: Mapping[str, Any], has_value: Callable[[Any, str, object], bool]) -> dict[str, Any]:
    """Put the word for MoonKey in the place of a client of it, and the client's settings among the others.

    Args:
        given: Values by the names of settings.
        has_value: Returns whether a setting of some settings has the value that another one is parsed to.

    Raises:
        ConfigurationError: The client is one of another provider, or has another value of a setting that is given.
    """
    settings: dict[str, Any] = dict(given)
    clients: list[Any] = []
    for place in _PLACES:
        chosen = settings.get(place)
        if _is_made(chosen):
            clients.append(chosen)
            settings[place] = MOONKEY
        elif isinstance(chosen, Iterable) and not isinstance(chosen, str | Mapping):
            every = list(chosen)
            clients += [one for one in every if _is_made(one)]
            settings[place] = [MOONKEY if _is_made(one) else one for one in every]
    for client in clients:
        found = _settings_of(client.settings)
        for name, value in found.items():
            if settings.get(name) is not None and not has_value(client.settings, name, settings[name]):
                raise ConfigurationError(
                    f"{both_names(name)} is set here, and has another value in the MoonKey(…) among the "
                    "providers. Set it once."
                )
            if settings.get(name) is None:
                settings[name] = value
    return settings


def _is_made(value: object) -> bool:
    return not isinstance(value, type) and is_client(value)


def _settings_of(settings: Any) -> dict[str, Any]:
    """Return the settings of a client that differ from the defaults.

    Raises:
        ConfigurationError: It is no client of MoonKey alone.
    """
    if settings.provider is not None or settings.providers:
        raise ConfigurationError(
            "MOONKEY_PROVIDERS (providers) holds a client that is not one of MoonKey alone. Pass the providers "
            "that it was made with."
        )
    return {
        field.name: value
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) != field.default
    }
