"""The stand-ins for an ``Auth``, a user or a session that is not resolved yet: the same in every framework."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, TypeVar

from moonkey_core._dict_habits import attribute_error, item_error
from moonkey_core.auth import Auth, BaseAuth

__all__ = ["AuthSource", "LazyAuth", "LazyValue"]

T = TypeVar("T")


class AuthSource(Protocol):
    """The object that resolves the identity for a :class:`LazyAuth`."""

    @property
    def auth(self) -> Auth | None:
        """The identity; ``None`` where it is not resolved yet."""
        ...

    def read(self) -> Auth:
        """Return the identity to code that reads it; resolves it, or raises ``ConfigurationError``."""
        ...


class LazyValue(Generic[T]):
    """A stand-in for a value of the class ``kind``, which is resolved when a public attribute of it is read.

    To ``isinstance`` it is such a value. Debuggers, templates and debug pages look at every object, and must not
    verify a credential by that: ``repr``, ``dir``, ``isinstance``, ``copy`` and looking for a name that the class
    does not have, or that begins with an underscore, resolve nothing. A copy shares the resolution. Only a value
    that is resolved can be pickled, and is pickled as itself.
    """

    __slots__ = ("_resolver",)

    _kind: ClassVar[type[Any]]
    _public_names: ClassVar[frozenset[str]]

    def __init_subclass__(cls, kind: type[Any] | None = None) -> None:
        super().__init_subclass__()
        if kind is not None:
            cls._kind = kind
            cls._public_names = frozenset(name for name in dir(kind) if not name.startswith("_"))
            for name in cls._public_names:  # to find one by `__getattr__` takes longer
                setattr(cls, name, property(cls._reader_of(name)))

    @classmethod
    def _reader_of(cls, name: str) -> Callable[[Any], Any]:
        """Return the function that reads a public attribute of a stand-in's value."""
        return lambda stand_in: getattr(stand_in._read(), name)

    def __init__(self, source: AuthSource) -> None:
        self._resolver = source

    def _known(self) -> T | None:
        """Return the value where it is resolved; else ``None``."""
        raise NotImplementedError

    def _read(self) -> T:
        """Return the value to code that reads it; resolves it, or raises the error that says why it cannot."""
        raise NotImplementedError

    def _again(self) -> LazyValue[T]:
        """Return another stand-in, with the same source."""
        return type(self)(self._resolver)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._kind

    def __getattr__(self, name: str) -> Any:
        if name not in self._public_names:
            raise attribute_error(self._kind, name)
        return getattr(self._read(), name)

    if not TYPE_CHECKING:  # only errors come here; nothing is resolved

        def __getitem__(self, key: object) -> NoReturn:
            raise item_error(self._kind, key)

    def __dir__(self) -> list[str]:
        return sorted(self._public_names)

    def __bool__(self) -> bool:
        return bool(self._read())

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, self._kind):
            return False
        return self._shares_with(other) or self._read() == other

    def _shares_with(self, other: object) -> bool:
        """Return whether the other is a stand-in for the same value of the same source."""
        return type(other) is type(self) and other._resolver is self._resolver

    def __hash__(self) -> int:
        return hash(self._read())

    def __copy__(self) -> Any:
        known = self._known()
        return self._again() if known is None else known

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        known = self._known()
        return self._again() if known is None else copy.deepcopy(known, memo)

    def __reduce__(self) -> tuple[Callable[[T], T], tuple[T]]:
        known = self._known()
        if known is None:
            _refuse_pickling(self._kind.__name__)
        return _itself, (known,)

    def __repr__(self) -> str:
        known = self._known()
        return f"Lazy{self._kind.__name__}()" if known is None else repr(known)


class LazyAuth(LazyValue[Auth], kind=BaseAuth):
    """A stand-in for the ``Auth`` of a request, which resolves the identity when an attribute is read."""

    __slots__ = ()

    def _known(self) -> Auth | None:
        return self._resolver.auth

    def _read(self) -> Auth:
        return self._resolver.read()

    @classmethod
    def _reader_of(cls, name: str) -> Callable[[Any], Any]:
        # Nearly every view reads one or two of them: `_read` would be one more call for each.
        return lambda stand_in: getattr(stand_in._resolver.read(), name)


def _refuse_pickling(name: str) -> NoReturn:
    raise TypeError(
        f"A stand-in for {name} cannot be pickled before the credential of its request was verified. Read an "
        "attribute of it first, or pickle what you need of it."
    )


def _itself(value: T) -> T:
    return value
