"""Suggestions for misspelt names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Self

NEAR = 0.85
"""From this ratio on (``difflib``: 0 to 1) an unknown name is taken for a misspelt known one."""

_ALIKE = 0.6
"""From this ratio on a known name is suggested where an unknown one is an error anyway."""


def near_miss(name: str, known: Iterable[str], cutoff: float = NEAR) -> str | None:
    """Return the known name (in lower case) that is most like this one, or ``None``. Case does not count.

    Args:
        name: The unknown name.
        known: The known names, in lower case.
        cutoff: The least ratio of ``difflib`` (0 to 1).
    """
    import difflib  # few processes need it

    found = difflib.get_close_matches(name[:100].lower(), sorted(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a sentence that suggests the known name most like this one, or ``otherwise``."""
    near = near_miss(name, known, _ALIKE)
    return otherwise if near is None else f"Did you mean {near!r}?"


class KnownArguments:
    """A base of dataclasses whose ``TypeError`` for an unknown keyword argument suggests a known one."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
        for name in kwargs:
            if name not in known:
                hint = did_you_mean(name, known, f"Known are: {', '.join(sorted(known))}.")
                raise TypeError(f"{cls.__name__} has no argument {name[:60]!r}. {hint}")
        return super().__new__(cls)
