"""The app that a command is given by name, such as ``package.module:app`` or ``package.module:create_app()``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any


class NoSuchApp(Exception):
    """There is no such app; the message says what is wrong with its name."""


def load_app(name: str) -> Any:
    """Import an app by its name, from the current folder or the path of modules.

    Args:
        name: ``module:app``, ``module:app.attribute``, or ``module:create_app()`` for a function that takes no
            arguments and returns the app.

    Raises:
        NoSuchApp: The name is wrong, or there is no such module or attribute. What the module itself raises comes
            through as it is.
    """
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise NoSuchApp(f"{name!r} does not name an app. Write module:app, or module:create_app().")
    look_in_the_current_folder()
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise NoSuchApp(f"There is no module {module_name!r}. Is this the right folder?") from None
    is_factory = path.endswith("()")
    for part in path.removesuffix("()").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NoSuchApp(f"There is no {part!r} in {module_name!r}.") from None
    return found() if is_factory else found


def look_in_the_current_folder() -> None:
    """Have modules imported from the current folder, too, as the servers do that are given an app by name."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
