"""The stand-in for an ``Auth`` that is not resolved yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from moonkey_core.auth import Auth, BaseAuth

__all__ = ["AuthSource", "LazyAuth"]


class AuthSource(Protocol):
    """The object that resolves the identity for a :class:`LazyAuth`.

    Attributes:
        auth: The identity; ``None`` where it is not resolved yet.
    """

    auth: Auth | None

    def read(self) -> Auth:
        """Return the identity to code that reads it; resolves it, or raises ``ConfigurationError``."""
        ...


class LazyAuth:
    """A stand-in for the ``Auth`` of a request, which resolves the identity when an attribute is read.

    To ``isinstance`` it is an ``Auth``. ``repr`` reads nothing, nor does looking for a special method that no
    ``Auth`` has: templates, debuggers and debug pages do so with every object.
    """

    __slots__ = ("_source",)

    def __init__(self, source: AuthSource) -> None:
        self._source = source

    @property  # type: ignore[misc]
    def __class__(self) -> type[BaseAuth]:  # type: ignore[override]
        return BaseAuth

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and not hasattr(BaseAuth, name):
            raise AttributeError(name)
        return getattr(self._source.read(), name)

    def __bool__(self) -> bool:
        return bool(self._source.read())

    def __eq__(self, other: object) -> bool:
        return self is other or self._source.read() == other

    def __hash__(self) -> int:
        return hash(self._source.read())

    def __reduce__(self) -> tuple[Callable[[Auth], Auth], tuple[Auth]]:
        return _itself, (self._source.read(),)

    def __repr__(self) -> str:
        return "LazyAuth()" if self._source.auth is None else repr(self._source.auth)


def _itself(auth: Auth) -> Auth:
    return auth
