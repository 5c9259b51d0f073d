"""A text that must not be shown."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A string that is masked in ``repr``, ``str``, logs and tracebacks, and that cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Wrap ``value``."""
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        """Return a mask."""
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a secret with the same value."""
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        """Return the hash of the value."""
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("A secret cannot be pickled.")
