"""The arguments of the functions and classes that make providers: a wrong name is a configuration error."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from moonkey_core._spelling import did_you_mean
from moonkey_core.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")


class WrongArguments(ConfigurationError, TypeError):
    """A provider is made with arguments that it does not take, or without those that it needs."""


def suggests_arguments(make: Callable[P, R]) -> Callable[P, R]:
    """Have a function, or the ``__init__`` of a class, say which argument was meant where one is unknown.

    An argument that is a ``bool`` takes no other value: the text ``"false"`` would switch it on.

    Its signature stays: type checkers, ``help`` and ``inspect`` see that of the function.
    """
    signature = inspect.signature(make)
    name = make.__qualname__.removesuffix(".__init__")
    flags = [one.name for one in signature.parameters.values() if one.annotation in ("bool", bool)]

    @functools.wraps(make)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise WrongArguments(_problem(name, signature.parameters, args, kwargs, str(error))) from None
        for one in flags:
            if not isinstance(kwargs.get(one, False), bool):
                raise ConfigurationError(f"{one} must be True or False, not a {type(kwargs[one]).__name__}.")
        return make(*args, **kwargs)

    return checked


def _problem(
    name: str,
    parameters: Mapping[str, inspect.Parameter],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    otherwise: str,
) -> str:
    """Return what is wrong with the arguments of a call. No value is repeated: it may be a secret."""
    known = [one for one in parameters if one != "self"]
    for given in kwargs:
        if given not in known:
            hint = did_you_mean(given, known, f"Known are: {', '.join(known)}.")
            return f"{name} has no argument {given[:60]!r}. {hint}"
    places = [one for one in parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(args) > len(places):
        rest = ", ".join(one for one in known if parameters[one].kind is inspect.Parameter.KEYWORD_ONLY)
        return f"{name} takes only its first arguments by place. Write the others by name: {rest}."
    reached = {one.name for one in places[: len(args)]}.union(kwargs)
    missing = [one for one in known if parameters[one].default is inspect.Parameter.empty and one not in reached]
    if missing:
        return f"{name} needs {' and '.join(missing)}: {name}({', '.join(f'{one}=…' for one in missing)})."
    return f"{name}: {otherwise}."
