"""Finds the app that a name stands for, and the framework package that knows it.

The core knows no framework: each framework package has a module ``doctor``, which is imported where the
framework is.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from moonkey_core._doctor.lines import Line, wrong
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

_SETTINGS = "DJANGO_SETTINGS_MODULE"
_FRAMEWORKS = {"flask": "moonkey_flask", "django": "moonkey_django", "starlette": "moonkey_starlette"}


class FrameworkDoctor(Protocol):
    """The module ``doctor`` of a framework package."""

    def recognizes(self, app: object) -> bool:
        """Return whether an object is an app of this framework, or has one inside."""
        ...

    def settings_of(self, app: object) -> Settings | None:
        """Return the settings with which the app uses this package; ``None`` where it does not."""
        ...

    def stack_of(self, app: object) -> list[Line]:
        """Return what is to be said of the middleware of the app, their order and their lists."""
        ...


class AppError(Exception):
    """The app that was named cannot be had."""


@dataclass(frozen=True, slots=True)
class FoundApp:
    """An app, and the module that knows its framework."""

    app: object
    doctor: FrameworkDoctor

    def load(self) -> Settings:
        """Return the settings of the app; those of the environment where it does not use this package.

        Raises:
            ConfigurationError: They are wrong.
        """
        return self.doctor.settings_of(self.app) or Settings.load()

    def check(self) -> list[Line]:
        """Return what is to be said of the stack of the app."""
        return self.doctor.stack_of(self.app)


def find_app(name: str, directory: str = "") -> FoundApp:
    """Import an app by its name.

    Args:
        name: ``module:app``, or ``module:create_app()`` for a factory without arguments.
        directory: Where to look for the module first, as servers do; the current directory if empty.

    Raises:
        AppError: There is no such module or app, or it is of no framework that is known here. The text of an
            exception of the app's own code is not repeated: it may hold anything.
        ConfigurationError: A setting of this package is wrong, and importing the app has raised it.
    """
    module_name, _, path = name.partition(":")
    path = path or "app"
    is_factory = path.endswith("()")
    place = directory or os.getcwd()
    if place not in sys.path:
        sys.path.insert(0, place)
    found: Any = attempt(partial(importlib.import_module, module_name), f"The module {module_name!r}")
    for part in path.removesuffix("()").split("."):
        if not hasattr(found, part):
            raise AppError(f"{module_name!r} has no {part!r}. Name the app as module:app or module:create_app().")
        found = getattr(found, part)
    if is_factory:
        found = attempt(cast("Callable[[], Any]", found), f"The factory {path}")
    return _recognized(found, name)


def find_django(settings_module: str = "") -> FoundApp:
    """Set Django up, and return its project.

    Args:
        settings_module: The settings, if ``DJANGO_SETTINGS_MODULE`` does not name them.

    Raises:
        AppError: Django or its settings cannot be had, or these have no ``ROOT_URLCONF``.
        ConfigurationError: A setting of this package is wrong, and setting Django up has raised it.
    """
    if not (settings_module or os.environ.get(_SETTINGS)):
        raise AppError(f"Name the settings of the Django project: --django mysite.settings, or {_SETTINGS}.")
    if settings_module:
        os.environ[_SETTINGS] = settings_module
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    django = attempt(partial(importlib.import_module, "django"), "Django")
    attempt(django.setup, "The Django project")
    settings = importlib.import_module("django.conf").settings
    if not getattr(settings, "ROOT_URLCONF", ""):
        raise AppError(
            f"{os.environ[_SETTINGS]!r} has no ROOT_URLCONF, so it is no module of settings. A project in one "
            "file, which calls settings.configure(), is named by its app: module:application."
        )
    return FoundApp(None, _doctor_of("moonkey_django"))


def attempt(call: Callable[[], Any], what: str) -> Any:
    """Return what code of the app returns.

    Args:
        call: The code.
        what: What it is for, as the subject of a sentence.

    Raises:
        AppError: It has failed.
        ConfigurationError: A setting of this package is wrong.
    """
    problem = ""
    try:
        return call()
    except ConfigurationError:
        raise
    except ModuleNotFoundError as error:
        problem = f"{what} cannot be loaded: there is no module {str(error.name)!r}."
    except SystemExit as error:
        problem = f"{what} cannot be loaded: it ends the process ({type(error).__name__})."
    except Exception as error:
        cause = error.__context__
        if isinstance(cause, ConfigurationError) and str(cause) == str(error):
            raise cause from None  # Django's ImproperlyConfigured for a setting of ours
        problem = f"{what} cannot be loaded: {type(error).__name__}. Start the app once to see the whole error."
    raise AppError(problem)  # outside of the handler: the context of the exception may hold anything


def _recognized(app: object, name: str) -> FoundApp:
    for framework, package in _FRAMEWORKS.items():
        if framework in sys.modules:
            doctor = _doctor_of(package)
            if doctor.recognizes(app):
                return FoundApp(app, doctor)
    kind = type(app).__name__
    hint = " A factory is named with its parentheses: module:create_app()." if callable(app) else ""
    raise AppError(f"{name!r} is a {kind}, and no app of Flask, Django, Starlette or FastAPI.{hint}")


def _doctor_of(package: str) -> FrameworkDoctor:
    return cast("FrameworkDoctor", importlib.import_module(f"{package}.doctor"))


def not_set_up(mend: str) -> Line:
    """Return the line for an app that does not use this package."""
    return wrong("stack", "This app does not use MoonKey: no request has an identity.", mend)
