"""Which provider a client uses: an object, or a word with that provider's own variables.

``MOONKEY_PROVIDER=auth0`` calls :func:`moonkey_core.provider.Auth0` with the values of ``MOONKEY_AUTH0_DOMAIN``,
``MOONKEY_AUTH0_AUDIENCE`` and so on, one for each of its arguments. The functions are found by their names when
they are needed: providers stand above the settings.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from moonkey_core._provider import Provider
from moonkey_core._spelling import did_you_mean
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.fields import check_unquoted, flag, provider, words

MOONKEY: Final = "moonkey"
"""The word for MoonKey itself, which is made of the other settings."""

PRESETS: Mapping[str, str] = {
    "oidc": "OIDC",
    "auth0": "Auth0",
    "okta": "Okta",
    "entra": "EntraID",
    "keycloak": "Keycloak",
    "cognito": "Cognito",
    "firebase": "Firebase",
    "clerk": "Clerk",
    "supabase": "Supabase",
    "workos": "WorkOS",
    "introspection": "Introspection",
    "stytch": "Stytch",
    "stytch_b2b": "StytchB2B",
    "cdp": "CDP",
}
"""The words for the other providers, each with its name in ``moonkey_core.provider``."""

_MODULE = "moonkey_core.provider"
_MOONKEY_IDS = "moonkey_core.providers.moonkey.ids"
_PLACES = ("credential_headers", "cookies")  # the arguments of ProviderBase.at
_INTROSPECTION = "introspection"
_CLIENTS = frozenset({"moonkey_core.client.MoonKey", "moonkey_core.client.AsyncMoonKey"})


ChosenProvider = Provider | Literal["moonkey"]
"""A provider, or the word for MoonKey."""

logger: logging.Logger = logging.getLogger("moonkey")
_warned: set[str] = set()

_NAME = r"[a-z][a-z0-9_.\-]{0,39}"


def one_provider(value: object) -> ChosenProvider:
    """Parse one provider: an object, or the word ``moonkey``.

    Raises:
        ValueError: It is anything else.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word == MOONKEY:
            return MOONKEY
        if word in PRESETS:
            raise ValueError(
                f"is only the word {word!r}, and no variables are read here. Use Settings.load, or pass an object."
            )
        raise ValueError(f"is no provider. {_known(value)}")
    if is_client(value):
        raise ValueError(
            "is a client, and no provider. MoonKey is named by the word 'moonkey', with its settings beside that: "
            "providers=['moonkey', …], secret_key='sk_…'. Or make the client: providers=[MoonKey('sk_…'), …]."
        )
    if isinstance(value, type) or inspect.isroutine(value):
        raise ValueError(f"is not called yet. Write {getattr(value, '__name__', 'it')}(…) with its arguments.")
    found = provider(value)
    if found is None:
        raise ValueError(f"is no provider. {_known('')}")
    if not re.fullmatch(_NAME, str(found.name)):
        raise ValueError(
            "has a name that cannot be used: it must begin with a small letter, and have at most 40 small "
            "letters, digits, '_', '-' and '.'."
        )
    if found.name == MOONKEY:
        raise ValueError("has the name 'moonkey', which is MoonKey's. Give it another: name='…'.")
    if MOONKEY in found.scopes.values():
        # What was stored without a scope belongs to MoonKey, so its ids would be taken for MoonKey's.
        raise ValueError("has a scope 'moonkey', which is MoonKey's. Give it another, such as its issuer.")
    return found


def is_client(value: object) -> bool:
    """Return whether a value is a client, or the class of one. Clients stand above the settings."""
    kind = value if isinstance(value, type) else type(value)
    return any(f"{one.__module__}.{one.__qualname__}" in _CLIENTS for one in kind.__mro__)


def single_provider(value: object) -> Provider | None:
    """Parse the ``provider`` setting; ``None`` is MoonKey.

    Raises:
        ValueError: It is no provider.
    """
    found = None if value is None else one_provider(value)
    return None if isinstance(found, str) else found


def providers(value: object) -> tuple[ChosenProvider, ...]:
    """Parse the ``providers`` setting.

    Raises:
        ValueError: It is not a list of providers, or two have one name.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError('must be a list of providers, such as ["moonkey", Auth0(…)].')
    found: tuple[ChosenProvider, ...] = tuple(one_provider(one) for one in value)
    if not found:
        raise ValueError("is empty. Name at least one provider, or leave it out for MoonKey.")
    names = [name_of(one) for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has two providers of the name {name!r}. Give one of them another: name='…'.")
    return found


def token_prefix(chosen: Provider | None) -> str:
    """Return the prefix that session tokens of a provider are written with and without; empty: with none.

    Args:
        chosen: The provider; ``None``: MoonKey.
    """
    if chosen is not None:
        return ""
    found: str = importlib.import_module(_MOONKEY_IDS).TOKEN_PREFIX
    return found


def name_of(chosen: ChosenProvider) -> str:
    """Return the name of a provider."""
    return chosen if isinstance(chosen, str) else chosen.name


def _known(value: str) -> str:
    near = did_you_mean(value.lower(), (MOONKEY, *PRESETS)) if value else ""
    known = f"Known words are: {', '.join((MOONKEY, *PRESETS))}. Or pass an object, such as Auth0(…)."
    return f"{near} {known}" if near else known


def preset_of(name: str) -> str | None:
    """Return the word that the name of a setting begins with: ``auth0`` for ``auth0_domain``; ``None`` if none."""
    fitting = [word for word in PRESETS if name.startswith(f"{word}_") and len(name) > len(word) + 1]
    return max(fitting, key=len, default=None)


def argument_names(word: str) -> tuple[str, ...]:
    """Return the arguments of a provider, each as the name of a setting, such as ``auth0_domain``."""
    return tuple(f"{word}_{argument}" for argument in dict.fromkeys((*_arguments(_maker(word)), *_PLACES)))


def without_words(given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Replace the words for providers among the settings by providers, and take their arguments out.

    Args:
        given: Values by the names of settings, arguments of providers among them.

    Returns:
        The settings, and the names of arguments that belong to no provider that is chosen.

    Raises:
        ConfigurationError: A word is unknown; an argument is missing, unknown or wrong.
    """
    arguments: dict[str, dict[str, Any]] = {}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        word = preset_of(name)
        if word is None:
            settings[name] = value
        elif value is not None:
            arguments.setdefault(word, {})[name[len(word) + 1 :]] = value
    used: set[str] = set()
    if isinstance(settings.get("provider"), str):
        settings["provider"] = _made("provider", settings["provider"], arguments, used)
    chosen = settings.get("providers")
    if isinstance(chosen, str):
        chosen = chosen.replace(",", " ").split()
    if isinstance(chosen, Iterable):
        settings["providers"] = [
            _made("providers", one, arguments, used) if isinstance(one, str) else one for one in chosen
        ]
    unused = tuple(f"{word}_{name}" for word in arguments if word not in used for name in arguments[word])
    return settings, unused


def check_used(unused: Iterable[str], options: Mapping[str, object]) -> None:
    """Refuse arguments of a provider that is not chosen. One from the environment is logged, once.

    Args:
        unused: The names of the arguments.
        options: What was not given by the environment.

    Raises:
        ConfigurationError: One of them was given beside the options.
    """
    for name in unused:
        word = preset_of(name)
        if name in options:
            raise ConfigurationError(f"{name} has no effect without provider={word!r}. Set both, or leave it out.")
        if name not in _warned:
            _warned.add(name)
            logger.warning(
                "MOONKEY_%s has no effect: the provider is not %s",
                name.upper(),
                word,
                extra={"reason": "provider_not_chosen"},
            )


def _made(setting: str, word: str, arguments: Mapping[str, Mapping[str, Any]], used: set[str]) -> object:
    word = word.strip().lower().replace("-", "_")
    if word == MOONKEY:
        return MOONKEY
    if word not in PRESETS:
        raise ConfigurationError(f"MOONKEY_{setting.upper()} ({setting}) is no provider. {_known(word)}")
    make, given = _maker(word), dict(arguments.get(word, {}))
    used.add(word)
    if word != _INTROSPECTION and _INTROSPECTION in _arguments(make) and arguments.get(_INTROSPECTION):
        given.setdefault(_INTROSPECTION, _made(setting, _INTROSPECTION, arguments, used))
    return _called(word, make, given)


def _called(word: str, make: Callable[..., object], given: Mapping[str, Any]) -> object:
    known = _arguments(make)
    places = {name: given[name] for name in _PLACES if name in given and name not in known}
    given = {name: value for name, value in given.items() if name not in places}
    converted: dict[str, Any] = {}
    for name, value in given.items():
        setting = f"{word}_{name}"
        if name not in known:
            raise ConfigurationError(
                f"There is no setting {setting[:60]!r}. "
                f"{did_you_mean(name, known)} Known are: {', '.join(argument_names(word))}.".replace("  ", " ")
            )
        problem = ""
        try:
            converted[name] = _converted(check_unquoted(value), known[name])
        except ValueError as error:
            problem = str(error)
        if problem:  # outside of the handler: the context of the exception would hold the value
            raise ConfigurationError(f"MOONKEY_{setting.upper()} ({setting}) {problem}")
    missing = [
        f"MOONKEY_{word}_{name}".upper() + f" ({word}_{name})"
        for name, one in inspect.signature(make).parameters.items()
        if name in known and one.default is inspect.Parameter.empty and name not in converted
    ]
    if missing:
        raise ConfigurationError(
            f"{missing[0]} is missing, which the provider {word!r} needs. Set it, or pass the provider as an "
            f"object: provider={PRESETS[word]}(…)."
        )
    problem = ""
    try:
        made: Any = make(**converted)
        return made.at(**places) if places else made
    except ConfigurationError as error:
        problem = str(error)
    raise ConfigurationError(_of_setting(word, problem, converted))  # outside of the handler, as above


def _of_setting(word: str, problem: str, given: Iterable[str]) -> str:
    """Return what is wrong with an argument of a provider that was chosen by a word, with the setting's name."""
    argument = re.split(r"[^a-z0-9_]", problem, maxsplit=1)[0]
    rest = problem[len(argument) :]
    if rest.startswith(" of Introspection"):  # beside the provider: it has variables of its own
        word = _INTROSPECTION
    elif argument not in given:
        return f"The provider {word!r}, made of MOONKEY_{word.upper()}_…: {problem}"
    return f"MOONKEY_{word}_{argument}".upper() + f" ({word}_{argument}){rest}"


def _maker(word: str) -> Callable[..., object]:
    made: Callable[..., object] = getattr(importlib.import_module(_MODULE), PRESETS[word])
    return made


def _arguments(make: Callable[..., object]) -> dict[str, object]:
    """Return the types of the arguments that a provider takes by name."""
    hints = get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: hints.get(name, object)
        for name, one in inspect.signature(make).parameters.items()
        if one.kind in kinds
    }


def _converted(value: object, hint: object) -> object:
    """Return a text of the environment as a value of an argument's type; any other value as it is.

    Raises:
        ValueError: The text is none of that type.
    """
    if not isinstance(value, str):
        return value
    kinds = _flat(hint)
    if bool in kinds:
        return flag(value)
    if (float in kinds or int in kinds) and str not in kinds:
        return _number(value)
    if Mapping in kinds and value.lstrip().startswith("{"):
        return _json_object(value)
    if kinds & {Sequence, tuple, list, frozenset, set, Iterable}:
        return words(value)
    return value


def _flat(hint: object) -> set[object]:
    """Return the plain types in a union."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return {kind for one in get_args(hint) for kind in _flat(one)}
    return {origin or hint}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number.") from None


def _json_object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON.") from None
