"""What the API's values have in common: immutable, with one shape for JSON, and no other.

Flask, FastAPI and JSON libraries take any dataclass apart, field by field: the credentials of a login would be in
the response, and whatever else the service has sent, with dates that each of them writes in its own way. So these
are dataclasses in all but name. What does not know them refuses them; what has a hook for such things is told to
call :meth:`Value.to_dict`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

T = TypeVar("T")

_MARKS = ("__dataclass_fields__", "__dataclass_params__", "__getstate__", "__setstate__", "__replace__")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make of a class an immutable value with slots, as ``dataclass(frozen=True, slots=True)`` does.

    ``dataclasses.is_dataclass`` is false for it.
    """
    made = dataclass(frozen=True, slots=True)(cls)
    made._fields = tuple(one.name for one in fields(made))  # type: ignore[arg-type, attr-defined]
    for name in _MARKS:
        if name in vars(made):
            delattr(made, name)
    return made


class _Serializer:
    """What pydantic looks for at a value whose type it was not told, such as one in a ``dict[str, Any]``."""

    def __get__(self, instance: object, owner: type) -> Any:
        from moonkey_core._pydantic import serializer_of

        return serializer_of(owner)


class Value:
    """The base of all of them. ``shown_fields`` are the fields that :meth:`to_dict` has."""

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]]
    shown_fields: ClassVar[tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """The value as plain data for JSON: the same in every framework, and never with a credential in it.

        Times are RFC 3339 in UTC and whole seconds (``2025-11-21T16:01:00Z``), models are dicts, tuples are lists,
        and what is not known is ``None``. ``extra`` is not in it, and neither are the tokens of a login: ask for
        those by name. Raises ``TypeError`` or ``ValueError`` where a field holds what its type does not allow.
        """
        return {name: _plain(getattr(self, name), name) for name in self.shown_fields}

    def replace(self, **changes: Any) -> Self:
        """The same value with other fields. Raises ``TypeError`` for a name that is none of them."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **changes})

    __replace__ = replace  # copy.replace() of Python 3.13

    def __getstate__(self) -> list[object]:
        return [getattr(self, name) for name in self._fields]

    def __setstate__(self, state: list[object]) -> None:
        for name, one in zip(self._fields, state, strict=False):
            object.__setattr__(self, name, one)

    __pydantic_serializer__: ClassVar = _Serializer()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        """The shape of ``to_dict()``, for pydantic and the OpenAPI document of FastAPI."""
        from moonkey_core._pydantic import core_schema_of

        return core_schema_of(cls, handler.generate_schema)


def _plain(one: object, name: str) -> Any:
    if one is None or isinstance(one, str | bool):
        return one
    if isinstance(one, Value):
        return one.to_dict()
    if isinstance(one, datetime):
        return utc_text(one)
    if isinstance(one, tuple | list):
        return [_plain(item, name) for item in one]
    raise TypeError(f"{name} cannot be written as JSON: it is a {type(one).__name__}.")


def utc_text(moment: datetime) -> str:
    """A time as RFC 3339 writes it, in UTC and whole seconds, so that texts sort as times do.

    Raises ``ValueError`` for a naive one.
    """
    if moment.utcoffset() is None:
        raise ValueError("A time without a time zone cannot be written down. Make it with datetime.now(UTC).")
    return moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
