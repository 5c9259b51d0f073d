"""Packages that belong to an extra of ours, and may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Around the first import of ``package``: say which extra brings it along where it is not installed.

    The ``ModuleNotFoundError`` of anything else that is missing, inside of that package too, goes on as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"{package} is not installed. Install it with: pip install 'moonkey[{extra}]'", name=package
        ) from error
