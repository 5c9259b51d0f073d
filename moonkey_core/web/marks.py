"""Which gates a view is behind, and which views are open on purpose: read from marks, without a call of the view.

A gate leaves its mark when it is made (:mod:`moonkey_core.web.placement`), and :func:`open_view` leaves one on a
view that is open to all clients. Both the audit of routes and what refuses by default read them here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from moonkey_core.gate import Requirements
from moonkey_core.web.placement import attribute, demands_of, kind_of

T = TypeVar("T")

GATE = "require_auth"
"""The name of the gate that refuses requests."""

SESSION_ROUTE = "session route"
"""The name of the mark on the views of the package's own session routes."""

_ANY_USER = Requirements()
_ANY_CLIENT = Requirements(allow_machines=True)
_MOST_LAYERS = 50
_VIEW_NAMES = frozenset({"view", "view_func", "func", "function", "f", "fn", "endpoint", "handler", "inner"})
"""What decorators call the function that they were given."""
_METHOD_KINDS = (staticmethod, classmethod, property)


class Mark(NamedTuple):
    """What a view says of itself.

    Attributes:
        package: The package of the gate or decorator.
        name: Its name.
        requirements: What it requires; ``None`` of a view that is open.
        reason: Why a view is open.
    """

    package: str
    name: str
    requirements: Requirements | None = None
    reason: str = ""

    @property
    def is_gate(self) -> bool:
        """Whether it refuses requests; else it says that the view is open to all clients."""
        return self.name == GATE


_open: WeakKeyDictionary[object, Mark] = WeakKeyDictionary()


def open_view(view: T, package: str, name: str, reason: str = "") -> T:
    """Mark a view as open to all clients, and return it.

    Args:
        view: The function, method or class.
        package: The package of the decorator.
        name: The name of the decorator, or what the view is.
        reason: Why it is open, for the audit.

    Raises:
        TypeError: It is no view, or is behind a gate.
    """
    thing: object = view
    if isinstance(thing, _METHOD_KINDS):
        raise TypeError(f"@{name} goes on the function itself. Write @{type(thing).__name__} above it, not below.")
    if not callable(thing):
        raise TypeError(f"{name} is a decorator and was given a {type(view).__name__}, which is no view.")
    if any(mark.is_gate for mark in marks_on(view)):
        raise TypeError(f"{_name(view)} has both @{GATE} and @{name}. Leave one of them out.")
    _open[view.__func__ if isinstance(view, MethodType) else view] = Mark(package, name, None, reason)
    return view


def opener(package: str, given: T | None, reason: str, more: tuple[object, ...] = ()) -> Any:
    """Return what ``@public``, or ``@public(reason=…)``, makes of its argument.

    Args:
        package: The package of the decorator.
        given: The view; ``None`` where the decorator is written with parentheses.
        reason: Why the view is open.
        more: Further positional arguments, which are an error.

    Raises:
        TypeError: An argument is of no use.
    """
    if more or isinstance(given, str):
        raise TypeError('public takes a view, or its reason by keyword: write @public(reason="…").')
    if not isinstance(reason, str):
        raise TypeError("The reason of public is a text.")
    return (
        partial(open_view, package=package, name="public", reason=reason)
        if given is None
        else open_view(given, package, "public", reason)
    )


def marks_on(view: object, *handlers: object) -> list[Mark]:
    """Return the marks on a view, the outermost first.

    They are those of the functions that are called for certain: the view itself, what it wraps, the class that it
    was made from, and the methods of it that are given.

    Args:
        view: What the framework calls for the request.
        *handlers: The methods of its class that it calls in turn.
    """
    found = list(_marks_in(view))
    for owner in (attribute(view, "view_class"), attribute(view, "cls"), view):
        if isinstance(owner, type):
            found += [_open[owner]] if owner in _open else []
            found += [one for name in ("dispatch", "dispatch_request") for one in _marks_in(vars_of(owner, name))]
    for handler in handlers:
        found += _marks_in(handler)
    return list(dict.fromkeys(found))


def vars_of(owner: type, name: str) -> object:
    """Return what a class or one of its bases has under a name, without binding it; ``None`` if nothing."""
    return next((vars(one)[name] for one in owner.__mro__ if name in vars(one)), None)


def default_requirements(marks: list[Mark], package: str) -> Requirements | None:
    """Return what is required of a request to a view where everything is closed by default.

    A gate of its own goes further, so this is the least: a verified user and session, or a machine where the
    view's own gate lets one pass.

    Args:
        marks: The marks on the view.
        package: The framework package, whose marks alone count.

    Returns:
        The requirements; ``None`` where the view is open.
    """
    ours = [mark for mark in marks if mark.package == package]
    gates = [mark.requirements for mark in ours if mark.is_gate]
    if not gates:
        return None if ours else _ANY_USER
    return _ANY_CLIENT if all(one is not None and one.allow_machines for one in gates) else _ANY_USER


def called_by(view: object) -> Iterator[object]:
    """Yield a view and what it calls for certain: the functions that it wraps, from the outside in."""
    seen: set[int] = set()
    queue: deque[object] = deque([view])
    while queue and len(seen) < _MOST_LAYERS:
        one = queue.popleft()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        queue.extend(_inside(one))


def cells_of(function: object) -> dict[str, object]:
    """Return the variables that a function closes over, by name."""
    if not isinstance(function, FunctionType):
        return {}
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    return found


def applied_later(function: object) -> Iterator[object]:
    """Yield the decorators that a function applies when it is called: Django's ``method_decorator`` does so."""
    found = cells_of(function).get("decorators")
    yield from found if isinstance(found, list | tuple) else [found] if callable(found) else []


def _marks_in(view: object) -> Iterator[Mark]:
    for one in called_by(view):
        kind = kind_of(one)
        if kind is not None and kind.is_gate:
            yield Mark(kind.package, kind.name, demands_of(one) or _ANY_USER)
        if (mark := _mark_of(one)) is not None:
            yield mark
        for decorator in applied_later(one):
            kind = kind_of(decorator)
            if kind is not None and not kind.is_gate:
                yield Mark(kind.package, kind.name, demands_of(decorator) or _ANY_USER)


def _mark_of(one: object) -> Mark | None:
    try:
        return _open.get(one)
    except TypeError:  # it has no weak references, or no hash
        return None


def _inside(one: object) -> Iterator[object]:
    if isinstance(one, partial):
        yield one.func
    elif isinstance(one, MethodType):
        yield one.__func__
    elif isinstance(one, type):
        return
    else:
        if (wrapped := attribute(one, "__wrapped__")) is not None:
            yield wrapped
        # Django's admin has its views behind a function that names them, and not its own check, as what it wraps.
        held = cells_of(one) if isinstance(one, FunctionType) else attribute(one, "__dict__") or {}
        given = {name: value for name, value in held.items() if _was_given(value, one)}
        if len(given) > 1:
            given = {name: value for name, value in given.items() if name in _VIEW_NAMES}
        if len(given) == 1:
            yield from given.values()


def _is_function(value: object) -> bool:
    is_wrapper = not isinstance(value, type) and attribute(value, "__wrapped__") is not None
    return is_wrapper or isinstance(value, FunctionType | MethodType | partial)


def _was_given(value: object, function: object) -> bool:
    """Return whether a function that another object holds is what a decorator was given, and no neighbour."""
    if not _is_function(value):
        return False
    if not isinstance(function, FunctionType):
        return True
    scope = _scope(value)
    return not scope or not f"{_scope(function)}.".startswith(f"{scope}.")


def _scope(function: object) -> str:
    return str(attribute(function, "__qualname__") or "").rpartition(".")[0]


def _name(view: object) -> str:
    return str(attribute(view, "__name__") or type(view).__name__)
