"""Names of settings, and where each of them belongs. An unknown name is never ignored in silence."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from moonkey_core._spelling import did_you_mean, near_miss
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.sign_in_settings import SignInSettings

logger: logging.Logger = logging.getLogger("moonkey")

PREFIX = "MOONKEY_"

REQUIREMENT_ARGUMENTS = (
    "max_staleness", "factors", "factor_count", "factor_max_age", "session_max_age", "acr_values", "max_age",
    "mfa_max_age",
    "claims", "scopes", "roles", "permissions", "allow_actor", "allow_machines",
)  # fmt: skip
"""The requirements of single routes that are no setting as well."""

MIDDLEWARE_ARGUMENTS = ("required", "public_paths", "bind_websockets", "templates")
"""Further arguments of the middleware for Starlette and FastAPI. It also takes ``lazy``, as Django's dict does."""

DJANGO_KEYS = ("lazy", "users", "logout_ends_session", "required")
"""Further keys of Django's ``MOONKEY`` dict."""

_CLIENT_ARGUMENTS = ("client", "http_client", "hooks")
_NESTED = {"cookies": CookieSettings, "sign_in": SignInSettings}
_MOST_SHOWN = 10

# What Kubernetes sets for each service whose name begins with "moonkey" (its documentation, "Accessing the
# Service: environment variables"). The last one alone may mean something else, so its value has to be an address.
_KUBERNETES = (
    r"MOONKEY(_[A-Z0-9]+)*_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT = r"MOONKEY(_[A-Z0-9]+)*_PORT"
_KUBERNETES_ADDRESS = r"(tcp|udp|sctp)://"


@cache
def _elsewhere() -> dict[str, str]:
    """Return the names that are no setting of the top level, each with a sentence about where it belongs."""
    found = {name: f"It is what a single route asks: @require_auth({name}=…)." for name in REQUIREMENT_ARGUMENTS}
    found |= {
        name: f"It is an argument of MoonKeyMiddleware for Starlette and FastAPI: {name}=…."
        for name in MIDDLEWARE_ARGUMENTS
    }
    found |= {
        name: f"It has its place in Django's settings: MOONKEY = {{{name.upper()!r}: …}}." for name in DJANGO_KEYS
    }
    found["lazy"] = (
        "It is an argument of the middleware of Starlette and FastAPI, or a key of Django's MOONKEY dict."
    )
    found["required"] = (
        "It is an argument of MoonKeyMiddleware for Starlette and FastAPI, and of FlaskMoonKey; or a key of "
        "Django's MOONKEY dict."
    )
    found |= dict.fromkeys(_CLIENT_ARGUMENTS, "Make the client yourself, and hand it over as `client`.")
    for setting, kind in _NESTED.items():
        for field in fields(kind):
            place = f"It belongs inside {setting!r}: {setting}={kind.__name__}({field.name}=…)."
            found[field.name] = f"{found[field.name]} Or: {place}" if field.name in found else place
            found |= {f"{setting}{joint}{field.name}": place for joint in ("_", "__")}
    return found


@cache
def _nested_names() -> tuple[str, ...]:
    starts = tuple(f"{setting}_" for setting in _NESTED)
    return tuple(name for name in _elsewhere() if name.startswith(starts))


_warned: set[tuple[str, str]] = set()


def check_arguments(
    given: Iterable[str],
    known: Collection[str],
    beside: Collection[str] = (),
    more: Callable[[str], Collection[str]] = lambda _: (),
) -> None:
    """Check that all given names are settings.

    Args:
        given: The names.
        known: The names of all settings.
        beside: Other arguments that could have been given in the same place.
        more: Returns further names that are known, and like a name.

    Raises:
        ConfigurationError: A name is no setting; the message suggests a similar one.
    """
    for name in given:
        if name not in known and name not in (further := more(name)):
            advice = _advice(name, (*known, *further), beside)
            raise ConfigurationError(f"There is no setting {name[:60]!r}. {advice}")


def _advice(name: str, known: Collection[str], beside: Collection[str]) -> str:
    bare, possible = name.lower().removeprefix(PREFIX.lower()), (*known, *beside)
    if bare in _elsewhere() and bare not in possible:
        return _elsewhere()[bare]
    near = near_miss(bare, (*possible, *_nested_names()))
    if near in _nested_names():
        return _elsewhere()[near]
    return did_you_mean(bare, possible, "See the table of settings in the README.")


def variable_of(name: str) -> str:
    """Return the name of a setting in the environment."""
    return PREFIX + name.upper()


def both_names(name: str) -> str:
    """Return the names of a setting in the environment and among arguments, for messages."""
    return f"{variable_of(name)} ({name})"


def from_variables(
    found: Mapping[Any, Any],
    known: Collection[str],
    kind: str,
    written: Callable[[str], str] = both_names,
    more: Callable[[str], Collection[str]] = lambda _: (),
) -> dict[str, Any]:
    """Return the settings among the variables of a framework or of the environment.

    Any other variable that begins with ``MOONKEY_`` is logged once, as it has no effect.

    Args:
        found: The variables.
        known: The names of all settings.
        kind: What such a variable is called in messages, such as ``environment variable``.
        written: Returns how a setting is to be written there.
        more: Returns further names that are known, and like a name.

    Returns:
        The values by the names of the settings.

    Raises:
        ConfigurationError: A variable is nearly one of ``known``, or belongs elsewhere.
    """
    settings, unknown = {}, []
    for variable, value in found.items():
        if not isinstance(variable, str) or not variable.upper().startswith(PREFIX):
            continue
        name = variable[len(PREFIX) :].lower()
        further = () if name in known else more(name)
        if (name in known or name in further) and variable == variable_of(name):
            settings[name] = value
        elif not _is_of_kubernetes(variable, value):
            _check_variable(variable, name, (*known, *further), kind, written)
            unknown.append(variable)
    _warn_unknown(unknown, kind)
    return settings


def _check_variable(
    variable: str, name: str, known: Collection[str], kind: str, written: Callable[[str], str]
) -> None:
    place = None if name in known else _elsewhere().get(name)
    near = near_miss(name, (*known, *_nested_names()))
    if place is None and near is not None:
        place = f"Did you mean {written(near)}?" if near in known else _elsewhere()[near]
    if place is not None:
        raise ConfigurationError(
            f"There is no setting {name[:60]!r}: the {kind} {variable[:60]} is wrong. {place}"
        )


def _is_of_kubernetes(variable: str, value: object) -> bool:
    if re.fullmatch(_KUBERNETES, variable):
        return True
    is_address = isinstance(value, str) and re.match(_KUBERNETES_ADDRESS, value) is not None
    return is_address and re.fullmatch(_KUBERNETES_PORT, variable) is not None


def _warn_unknown(unknown: Iterable[str], kind: str) -> None:
    new = sorted(name for name in unknown if (kind, name) not in _warned)
    if not new:
        return
    _warned.update((kind, name) for name in new)
    shown = [ascii(name[:60]) for name in new[:_MOST_SHOWN]] + (["…"] if len(new) > _MOST_SHOWN else [])
    logger.warning(
        "there is no such setting, so this %s has no effect: %s",
        kind,
        ", ".join(shown),
        extra={"reason": "setting_unknown"},
    )
