"""The base of the models: immutable values that have one JSON shape.

Flask, FastAPI and JSON libraries write any dataclass field by field. The credentials of a login and all ``extra``
data would then be in the response, with dates in a different form for each framework. So models have all of a
dataclass but the marks by which libraries recognise one. A library that does not know them refuses them; one with
a hook for foreign types is set up to call :meth:`Value.to_dict`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, field, fields
from datetime import UTC, datetime
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar, dataclass_transform

from moonkey_core import _dict_habits
from moonkey_core._dataclass import MARKS, with_late_methods

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a class of immutable values with slots, as ``dataclass(frozen=True, slots=True)`` does.

    ``dataclasses.is_dataclass`` is false for it.
    """

    def extend(whole: type) -> dict[str, object]:
        every = fields(whole)
        names = tuple(one.name for one in every)
        return {
            "_fields": names,
            "_all_fields": every,
            "__init__": _quick_init(made, vars(whole)["__init__"], every),
            "__setattr__": _refusal_to_set(made, names),
        }

    made = with_late_methods(cls, _FROZEN, extend, ("_fields", "_all_fields"), MARKS)
    return made


_FROZEN = {"frozen": True, "slots": True}
_set_class: Callable[[object, type], None] = vars(object)["__class__"].__set__


def _quick_init(cls: type, strict: FunctionType, every: tuple[Field[Any], ...]) -> FunctionType:
    """Return a constructor that does what that of a frozen dataclass does, in a third of the time.

    That one has to set each field past the refusal of its own class, by a call. This one makes the new object,
    which nothing else knows yet, one of a subclass that refuses nothing, and at the end one of its class again.

    Args:
        cls: The class, which has no ``__post_init__``.
        strict: The constructor of the frozen dataclass. It makes the objects of subclasses.
        every: The fields, each of them an argument.
    """
    body = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    names, defaults = [one.name for one in every], strict.__defaults__ or ()
    by_default = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    factories = {f"_make_{one.name}": one.default_factory for one in every if one.default_factory is not MISSING}
    arguments = ", ".join(names)
    lines = [
        f"def __init__(self, {arguments}):",
        " if _type(self) is not _cls:",
        f"  return _strict(self, {arguments})",
        " _set_class(self, _open)",
        *(
            f" self.{name} = _make_{name}() if {name} is _absent_{name} else {name}"
            if f"_make_{name}" in factories
            else f" self.{name} = {name}"
            for name in names
        ),
        " self.__class__ = _cls",
    ]
    known = {
        "_type": type,
        "_cls": cls,
        "_open": type(cls)(f"_Open{cls.__name__}", (cls,), body),
        "_strict": strict,
    }
    absent = {f"_absent_{name}": default for name, default in by_default.items()}
    # With the names of the module: what reads the annotations of the constructor looks them up in its globals.
    found: dict[str, Any] = {**strict.__globals__, **factories, **absent, **known, "_set_class": _set_class}
    exec("\n".join(lines), found)  # noqa: S102 - as `dataclasses` itself does; the names are those of the fields
    init: FunctionType = found["__init__"]
    init.__defaults__, init.__annotations__ = defaults, strict.__annotations__
    init.__module__, init.__qualname__ = cls.__module__, strict.__qualname__
    return init


def _refusal_to_set(cls: type[Any], names: tuple[str, ...]) -> Callable[[object, str, object], None]:
    """Return the ``__setattr__`` of a frozen dataclass.

    With slots, that of ``dataclasses`` raises an error about ``super`` for a name that is no field: it knows the
    class only as it was before it got them.
    """

    def __setattr__(self: Any, name: str, value: object) -> None:
        if name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        if type(self) is cls:
            raise FrozenInstanceError(
                f"cannot set {name!r}: {cls.__name__} is read-only. Keep data of the app in an object of its own."
            )
        super(cls, self).__setattr__(name, value)

    return __setattr__


class _Serializer:
    """The descriptor behind ``__pydantic_serializer__``.

    pydantic reads it on a value whose type is not declared, such as one in a ``dict[str, Any]``.
    """

    def __get__(self, instance: object, owner: type) -> Any:
        from moonkey_core._pydantic import serializer_of

        return serializer_of(owner)


class Value:
    """The base class of all models.

    Attributes:
        shown_fields: The names of the fields that :meth:`to_dict` returns.
        optional_fields: The names of those that it returns only where they are not empty.
    """

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]]
    _all_fields: ClassVar[tuple[Field[Any], ...]]
    shown_fields: ClassVar[tuple[str, ...]]
    optional_fields: ClassVar[tuple[str, ...]] = ()
    _late_fields: ClassVar[tuple[str, ...]] = ()  # the last ones, which earlier versions did not have

    if not TYPE_CHECKING:  # only errors come here, and type checkers tell them by themselves

        def __getitem__(self, key: object) -> NoReturn:
            raise _dict_habits.item_error(type(self), key)

        def __getattr__(self, name: str) -> NoReturn:
            raise _dict_habits.attribute_error(type(self), name)

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain data for JSON, the same in every framework, without any credential.

        Times are RFC 3339 in UTC and whole seconds (``2025-11-21T16:01:00Z``), models are dicts, tuples are lists,
        and a missing value is ``None``. ``extra`` and the tokens of a login are not included: read those fields
        by name.

        Raises:
            TypeError: A field has a value that its type does not allow.
            ValueError: A time has no time zone.
        """
        shown = {name: _plain(getattr(self, name), name) for name in self.shown_fields}
        for name in self.optional_fields:
            if found := getattr(self, name):
                shown[name] = _plain(found, name)
        return shown

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some fields.

        Args:
            changes: The new values by the names of the fields.

        Raises:
            TypeError: There is no such field.
        """
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **changes})

    __replace__ = replace  # copy.replace() of Python 3.13

    def __getstate__(self) -> list[object]:
        state = [getattr(self, name) for name in self._fields]
        for late in reversed(self._all_fields[len(state) - len(self._late_fields) :]):
            if state[-1] != late.default:
                break
            del state[-1]  # as earlier versions write it
        return state

    def __setstate__(self, state: list[object]) -> None:
        for name, one in zip(self._fields, state, strict=False):
            object.__setattr__(self, name, one)
        for new in self._all_fields[len(state) :]:  # a state of an earlier version has no such field
            made = new.default_factory() if new.default_factory is not MISSING else new.default
            object.__setattr__(self, new.name, made)

    __pydantic_serializer__: ClassVar[Any] = _Serializer()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        """Return the schema of ``to_dict()``, for pydantic and the OpenAPI document of FastAPI."""
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
    """Return a time as RFC 3339 text, in UTC and whole seconds, so that texts sort as times do.

    Raises:
        ValueError: The time is naive.
    """
    if moment.utcoffset() is None:
        raise ValueError("A time without a time zone cannot be written down. Make it with datetime.now(UTC).")
    return moment.astimezone(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
