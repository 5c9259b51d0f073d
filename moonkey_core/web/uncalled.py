"""What a framework is told that gets routes of another one, or the function that makes them, not called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, ParamSpec, Protocol, TypeVar, cast

from moonkey_core.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """A decorator that keeps the type of a function."""

    def __call__(self, make: Callable[P, R], /) -> Callable[P, R]:
        """Return a stand-in for the function."""
        ...


class _Uncalled:
    """A function that makes routes. Where a framework takes it for what it makes, the error says what to write."""

    def __init__(self, make: Callable[..., Any], written: str) -> None:
        functools.update_wrapper(self, make)
        self._make = make
        self._advice = f"session_routes is a function, and was not called. Write: {written}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args:  # it takes none: a framework has it for a view, or for an app
            raise ConfigurationError(self._advice)
        return self._make(**kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        _missing(name, self.__dict__.get("_advice", ""))


def says_if_uncalled(written: str) -> Decorator:
    """Have a function that makes routes say what to write, where a framework gets the function itself.

    Args:
        written: The right line, with the function called.
    """

    def wrap(make: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", _Uncalled(make, written))

    return wrap


class Misplaced:
    """Mixin of what one framework gets as its routes. Where another one gets it, the error says what to write."""

    belongs: ClassVar[str]

    if not TYPE_CHECKING:  # only errors come here

        def __getattr__(self, name: str) -> NoReturn:
            _missing(name, self.belongs)


def _missing(name: str, advice: str) -> NoReturn:
    """Raise the error of an attribute that another framework looks for on routes of ours.

    Args:
        name: The name of the attribute.
        advice: What to write instead.

    Raises:
        AttributeError: The attribute is one of a library that may go on without it.
        ConfigurationError: Django looks for it, and would go on with an error that misleads.
    """
    if name == "urlpatterns":
        raise ConfigurationError(advice)
    raise AttributeError(name if name.startswith("__") else f"{name}: {advice}")
