"""Names that somebody may have misspelt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Self

NEAR = 0.85
"""From this ratio on (``difflib``: 0 to 1) an unknown name is taken for a misspelt known one."""

_ALIKE = 0.6
"""From here on a known name is worth mentioning, where an unknown one is an error anyway."""


def near_miss(name: str, known: Iterable[str], cutoff: float = NEAR) -> str | None:
    """The known name (in lower case) that is most like this one, if any is; case does not count."""
    import difflib  # most processes never need it

    found = difflib.get_close_matches(name[:100].lower(), sorted(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A sentence that names the known name most like this one; ``otherwise`` where none is."""
    near = near_miss(name, known, _ALIKE)
    return otherwise if near is None else f"Did you mean {near!r}?"


class KnownArguments:
    """A base of dataclasses: an unknown keyword argument is answered with the one that may be meant.

    Raises ``TypeError``, as without it.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
        for name in kwargs:
            if name not in known:
                mend = did_you_mean(name, known, f"Known are: {', '.join(sorted(known))}.")
                raise TypeError(f"{cls.__name__} has no argument {name[:60]!r}. {mend}")
        return super().__new__(cls)
