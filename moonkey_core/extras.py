"""Optional packages, which extras of this one install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Explain in the error of the first import of ``package`` which extra installs it.

    The error for any other module that is missing, also inside of that package, is not changed.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{package} is not installed. Install it with: pip install 'moonkey[{extra}]'", name=package
        ) from error
