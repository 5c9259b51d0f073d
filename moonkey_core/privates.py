"""What this package needs of other libraries that they keep to themselves: reached here, and never in silence.

A release in which such an attribute is gone would otherwise switch a protection off without a word.
"""

from __future__ import annotations

from typing import Any

from moonkey_core.errors import ConfigurationError


def private(owner: object, name: str) -> Any:
    """The value of a private attribute. Raises ``ConfigurationError`` where there is none."""
    try:
        return getattr(owner, name)
    except AttributeError:
        raise missing(owner, name) from None


def set_private(owner: object, name: str, value: object) -> None:
    """Set a private attribute that is there already. Raises ``ConfigurationError`` where it is not."""
    private(owner, name)
    setattr(owner, name, value)


def missing(owner: object, name: str) -> ConfigurationError:
    """The error for an attribute that an object or class does not have."""
    kind = owner if isinstance(owner, type) else type(owner)
    return changed(kind.__module__.partition(".")[0], f"{kind.__qualname__}.{name}")


def changed(package: str, what: str) -> ConfigurationError:
    """The error for a library that is not as this package knows it."""
    return ConfigurationError(
        f"The installed {package} ({_version(package)}) has no {what}, or uses it otherwise, and MoonKey "
        f"cannot work safely without. Install a release of {package} that this version of moonkey was tested "
        "with, or a newer moonkey."
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"
