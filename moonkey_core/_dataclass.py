"""Dataclasses whose methods are made when they are first needed, instead of at import.

``dataclasses.dataclass`` writes and compiles up to eight methods for a class, which costs 0.1 to 0.5 ms of CPU,
and few processes use all of our classes. Here the class and its slots are there at once. Whatever else makes it a
dataclass is made by ``dataclasses.dataclass`` itself, of a copy of the class, when the first of it is read. From
then on the class is what it would have been from the start.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(**options):
        """Make a class a dataclass with slots, by the options of ``dataclasses.dataclass``."""
        return lambda cls: with_late_methods(cls, options)


__all__ = ["MARKS", "dataclass", "with_late_methods"]

T = TypeVar("T")

MARKS = frozenset({"__dataclass_fields__", "__dataclass_params__", "__getstate__", "__setstate__", "__replace__"})
"""The attributes by which other code recognises a dataclass, or by which it is copied."""


class _Late:
    """An attribute of a class until it is first read: the class then gets all of its late attributes."""

    __slots__ = ("_cls", "_complete", "_name")

    def __init__(self, cls: type, name: str, complete: Callable[[], None]) -> None:
        self._cls = cls
        self._name = name
        self._complete = complete

    def __get__(self, instance: object, owner: type) -> Any:
        self._complete()
        found = vars(self._cls)[self._name]
        return found.__get__(instance, owner) if hasattr(found, "__get__") else found


def with_late_methods(
    cls: type[T],
    options: Mapping[str, bool],
    extend: Callable[[type], Mapping[str, object]] | None = None,
    extensions: tuple[str, ...] = (),
    without: frozenset[str] = frozenset(),
) -> type[T]:
    """Return the class with slots for its fields. What makes it a dataclass is made when it is first read.

    Threads that read it at the same time get the same methods.

    Args:
        cls: The class. Its annotations are texts (``from __future__ import annotations``).
        options: Those of ``dataclasses.dataclass``, with ``slots``.
        extend: Returns further attributes of the class, made from the finished dataclass.
        extensions: The names of these.
        without: What of a dataclass the class does not get.
    """
    body = {name: one for name, one in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    body["__qualname__"] = cls.__qualname__
    slots = _slots(cls, options)
    late = [name for name in _added_by(options) if name not in body and name not in without]
    late.extend(extensions)

    made_by: Any = type(cls)

    def complete() -> None:
        whole = dataclasses.dataclass(**options)(made_by(cls.__name__, cls.__bases__, dict(body)))
        if vars(whole)["__slots__"] != slots:
            raise TypeError(f"The fields of {cls.__qualname__} are not its annotations.")
        made = vars(whole) | extend(whole) if extend is not None else vars(whole)
        for name in late:
            if isinstance(vars(slotted)[name], _Late):
                setattr(slotted, name, made[name])

    kept = {name: one for name, one in body.items() if name not in slots}
    slotted: type[T] = made_by(cls.__name__, cls.__bases__, kept | {"__slots__": slots})
    if options.get("eq", True) and not options.get("frozen") and "__hash__" not in body:
        setattr(slotted, "__hash__", None)  # noqa: B010 - to type checkers it is a method
    for name in late:
        setattr(slotted, name, _Late(slotted, name, complete))
    return slotted


def _slots(cls: type, options: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the slots that a class gets: one for each field of its own."""
    inherited = set(chain.from_iterable(vars(base).get("__slots__", ()) for base in cls.__mro__[1:-1]))
    annotations = vars(cls).get("__annotations__", {}).items()
    names = [name for name, annotation in annotations if not annotation.startswith("ClassVar")]
    names += ["__weakref__"] if options.get("weakref_slot") else []
    return tuple(name for name in names if name not in inherited)


def _added_by(options: Mapping[str, bool]) -> list[str]:
    """Return the names of what ``dataclasses.dataclass`` adds to a class that has none of it yet."""
    names = ["__init__", "__match_args__", "__dataclass_fields__", "__dataclass_params__"]
    if hasattr(copy, "replace"):  # Python 3.13
        names.append("__replace__")
    if options.get("repr", True):
        names.append("__repr__")
    if options.get("eq", True):
        names.append("__eq__")
    if options.get("frozen"):
        names += ["__setattr__", "__delattr__", "__getstate__", "__setstate__"]
        if options.get("eq", True):
            names.append("__hash__")
    return names
