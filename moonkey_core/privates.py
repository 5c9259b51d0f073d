"""Checked access to private attributes of other libraries.

Without the check, a release without such an attribute would switch a protection off silently.
"""

from __future__ import annotations

from typing import Any

from moonkey_core.errors import ConfigurationError


def private(owner: object, name: str) -> Any:
    """Return the value of a private attribute.

    Raises:
        ConfigurationError: There is none of that name.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise missing(owner, name) from None


def set_private(owner: object, name: str, value: object) -> None:
    """Set a private attribute.

    Raises:
        ConfigurationError: There is none of that name yet.
    """
    private(owner, name)
    setattr(owner, name, value)


def missing(owner: object, name: str) -> ConfigurationError:
    """Make the error for an attribute that an object or class does not have."""
    kind = owner if isinstance(owner, type) else type(owner)
    return changed(kind.__module__.partition(".")[0], f"{kind.__qualname__}.{name}")


def changed(package: str, name: str) -> ConfigurationError:
    """Make the error for a library whose private ``name`` does not exist any more, or has another use."""
    return ConfigurationError(
        f"The installed {package} ({_version(package)}) has no {name}, or uses it otherwise, and MoonKey "
        f"cannot work safely without. Install a release of {package} that this version of moonkey was tested "
        "with, or a newer moonkey."
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"
