"""Find misplaced gates: those that protect nothing, because the app never calls what they return.

A gate refers to the function that it wraps. Where an app serves that very function, and what the gate returned is
used nowhere, the gate was written above the line that registers the function, and the route is unprotected. All
references are weak: no view or app is kept alive by this.
"""

from __future__ import annotations

import gc
import inspect
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from functools import partial
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, NoReturn, Self, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

from moonkey_core._dataclass import dataclass
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements

T = TypeVar("T", bound=Callable[..., Any])

logger: logging.Logger = logging.getLogger("moonkey")

_MOST_OBJECTS = 20_000
_MOST_LAYERS = 20

_CONTAINERS = (list, tuple, set, frozenset, dict)
_RUNNING = (FrameType, CoroutineType, GeneratorType, AsyncGeneratorType, ModuleType)
_METHOD_KINDS = (staticmethod, classmethod, property)
_FUNCTIONS = (FunctionType, MethodType, partial)


@dataclass(frozen=True, slots=True)
class Framework:
    """The properties of a framework that the search depends on.

    Attributes:
        name: The name of the framework.
        package: The package of its gates.
        registries: The types whose instances refer to the functions that an app serves.
        right: Returns the advice what to write instead, for the name of a function, the name of its gate, and the
            route of the function.
    """

    name: str
    package: str
    registries: tuple[type, ...]
    right: Callable[[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Registered:
    """A function that an app calls; ``where`` is the route or the occasion."""

    view: object
    where: str


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of an object of a framework package: a gate around a function, or a decorator that makes one."""

    package: str
    name: str
    is_gate: bool


@dataclass(slots=True)
class _Gates:
    """The gates around one function that still exist.

    Attributes:
        name: The name of the gate.
        alive: The gates.
        were_used: Whether any app, even one that does not exist any more, has served one of them.
    """

    name: str
    alive: WeakSet[Callable[..., Any]] = field(default_factory=WeakSet)
    were_used: bool = False


_kinds: WeakKeyDictionary[object, Kind] = WeakKeyDictionary()
_demands: WeakKeyDictionary[object, Requirements] = WeakKeyDictionary()
_gates: dict[ReferenceType[Any], _Gates] = {}
_results: WeakKeyDictionary[object, str] = WeakKeyDictionary()
"""For each app: the error message about its gates, or the empty text."""


class Undecorated(partial[Any]):
    """What a gate with parentheses returns: the decorator, which protects nothing until it is put on a view."""

    _made_in: CodeType | None = None

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        """Make it, and note which function has called the gate."""
        made = super().__new__(cls, *args, **kwargs)
        made._made_in = sys._getframe(3).f_code  # that of the gate and of its helper are in between
        return made

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Put the gate on a view."""
        if not args:  # REST framework makes an object of each class that it is given
            raise TypeError(self._purpose)
        self._made_in = None
        return super().__call__(*args, **kwargs)

    @property
    def _purpose(self) -> str:
        name = _name_of(self)
        return (
            f"This is the decorator that {name}(…) returns, and is for a view alone. Write @{name} above the "
            f"view, or {name}(view) where the view is registered."
        )

    def __getattr__(self, name: str) -> NoReturn:
        """Say what this is to a library that takes it for something else, such as a class of REST framework's."""
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"{name}: {self._purpose}")

    def __del__(self) -> None:
        """Log that it was thrown away at once, as by a view that calls ``require_auth()`` in its body."""
        if self._made_in is None or sys.is_finalizing():
            return
        frame = sys._getframe(1)
        if frame.f_code is self._made_in:
            logger.error(
                "%s(…) was called in line %d of %s, and its result was put on no view: it protects nothing. Write "
                "@%s above the view; inside of a view, call require(auth) of moonkey_core.gate",
                _name_of(self),
                frame.f_lineno,
                os.path.basename(frame.f_code.co_filename),
                _name_of(self),
                extra={"reason": "gate_unused"},
            )


def _name_of(made: Undecorated) -> str:
    kind = _kinds.get(made)
    return "require_auth" if kind is None else kind.name


def decorator(made: T, package: str, name: str, requirements: Requirements | None = None) -> T:
    """Register a decorator that makes a gate with these requirements, and return it."""
    _kinds[made] = Kind(package, name, is_gate=False)
    if requirements is not None:
        _demands[made] = requirements
    return made


def register_gate(
    gate: T, view: Callable[..., Any], package: str, name: str, requirements: Requirements | None = None
) -> T:
    """Register that ``gate`` protects ``view`` with these requirements, and return the gate."""
    _kinds[gate] = Kind(package, name, is_gate=True)
    if requirements is not None:
        _demands[gate] = requirements
    # A route may serve a function inside a decorated one; the function inside a partial is never a view.
    for one in (view,) if isinstance(view, (partial, MethodType)) else _layers(view):
        key = _reference(one, _forget)
        if key is not None:
            _gates.setdefault(key, _Gates(name)).alive.add(gate)
    return gate


def kind_of(thing: object) -> Kind | None:
    """Return the kind of an object; ``None`` where it is neither a gate nor a decorator of ours."""
    if isinstance(thing, MethodType):
        thing = thing.__func__
    return _kinds.get(thing) if _reference(thing) is not None else None


def demands_of(thing: object) -> Requirements | None:
    """Return what a gate, or a decorator that makes one, requires; ``None`` of anything else."""
    if isinstance(thing, MethodType):
        thing = thing.__func__
    return _demands.get(thing) if _reference(thing) is not None else None


def has_gate(view: object) -> bool:
    """Return whether a view is a gate, or has one further inside."""
    return any((kind := kind_of(one)) is not None and kind.is_gate for one, _, _ in _reached([view]))


def check_demands(registered: Iterable[Registered], check: Callable[[Requirements], None]) -> None:
    """Check whether a client can give what the gates of an app require: not each provider can be asked, for one.

    Args:
        registered: The functions that the app serves.
        check: Raises ``ConfigurationError`` where it cannot. It is not called where any client can.

    Raises:
        ConfigurationError: One of them is never met.
    """
    for one in registered:
        for asked in _demands_in(one.view):
            if not asked.depends_on_provider:
                continue
            try:
                check(asked)
            except ConfigurationError as error:
                raise ConfigurationError(f"{one.where}: {error}") from None


def _demands_in(view: object) -> Iterator[Requirements]:
    """Yield the requirements of the gates of a view: around it, inside of it, and on the methods of its class.

    So do decorators that a method applies whenever it is called, as with Django's ``method_decorator``.
    Other objects that it refers to are left out: they may be other apps, with other clients.
    """
    seen: set[int] = set()
    queue: deque[object] = deque([view, attribute(view, "view_class"), attribute(view, "cls")])
    while queue and len(seen) < _MOST_OBJECTS:
        one = queue.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        asked = _demands.get(one) if _reference(one) is not None else None
        asked = asked or attribute(one, "requirements")  # of a dependency of FastAPI
        if isinstance(asked, Requirements):
            yield asked
        if isinstance(one, type):
            queue.extend(
                function for base in one.__mro__ for function in vars(base).values() if callable(function)
            )
        else:
            queue.extend(_wrapped(one))
            for _, referent in _referents(one):
                if isinstance(referent, _FUNCTIONS):
                    queue.append(referent)
                elif isinstance(referent, list | tuple):
                    queue.extend(item for item in referent if kind_of(item) is not None)


def calls(view: object, other: object) -> bool:
    """Return whether a function may call another, as far as its references show."""
    return any(one is other for one, _, _ in _reached([view]))


def described(view: object) -> str:
    """Return the name of a function with its place in the source, for messages."""
    for _ in range(_MOST_LAYERS):
        if not isinstance(view, partial):
            break
        view = view.func
    name = getattr(view, "__qualname__", None) or type(view).__qualname__
    code = getattr(inspect.unwrap(view) if callable(view) else view, "__code__", None)
    place = f" ({os.path.basename(code.co_filename)}, line {code.co_firstlineno})" if code is not None else ""
    return f"{name.replace('<locals>.', '')}{place}"


def check_target(view: object, name: str, in_a_class: str, more: tuple[object, ...] = ()) -> None:
    """Check that a gate can protect ``view``.

    Args:
        view: The argument of the gate.
        name: The name of the gate.
        in_a_class: The advice what to write instead in a class.
        more: Further positional arguments of the gate.

    Raises:
        TypeError: It cannot.
    """
    if isinstance(view, str) or more:
        raise keyword_only_error(name, view, sign="@")
    if isinstance(view, type):
        raise TypeError(f"@{name} goes on a function, and {view.__qualname__} is a class: {in_a_class}")
    if isinstance(view, _METHOD_KINDS):
        raise TypeError(
            f"@{name} goes on the function itself. Write @{type(view).__name__} above @{name}, not below it."
        )
    kind = kind_of(view)
    if kind is not None and not kind.is_gate:
        raise TypeError(f"{name} was given {kind.name}, which is no view. Write @{name} once, above the function.")
    if not callable(view):
        raise TypeError(
            f"{name} is a decorator and was given a {type(view).__name__}. It is no view by itself: "
            f"write @{name} above the view, or {name}(view) where the view is registered."
        )


def keyword_only_error(name: str, given: object, *, sign: str = "") -> TypeError:
    """Return the error for a gate whose requirement was passed without its keyword."""
    asked = f"{{{given!r}}}" if isinstance(given, str) else '{"admin"}'
    return TypeError(
        f"{name} takes what it asks for by keyword: write {sign}{name}(roles={asked}), or scopes=, claims=…"
    )


def route_order_advice(name: str, gate: str, where: str) -> str:
    """Return the advice for frameworks whose decorators register routes; ``where`` is such as ``GET /me``."""
    method, _, path = where.partition(" ")
    if not path.startswith("/"):
        line = f"@app.{where}" if where.isidentifier() else "the route"
    elif method in ("GET", "POST", "PUT", "PATCH", "DELETE", "WEBSOCKET"):
        line = f'@app.{method.lower()}("{path}")'
    else:
        line = f'@app.route("{path}")'
    return order_advice(line, name, gate)


def order_advice(line: str, name: str, gate: str) -> str:
    """Return the advice to write first ``line``, which registers a function, and then its gate."""
    return f"Put the gate below the route, next to the function: first {line}, then @{gate}, then def {name}(…)."


def check_once(app: object, find: Callable[[], Iterable[Registered]], framework: Framework) -> None:
    """Check the gates of an app, once; later calls for that app have the same result.

    Args:
        app: The app.
        find: Returns the functions that the app serves.
        framework: The framework of the app.

    Raises:
        ConfigurationError: A gate protects nothing.
    """
    found = _results.get(app)
    if found is None:
        found = _results[app] = find_misplaced_gate(find, framework)
    if found:
        raise ConfigurationError(found)


def find_misplaced_gate(find: Callable[[], Iterable[Registered]], framework: Framework) -> str:
    """Return the error message about the gates of an app, or the empty text."""
    try:
        return next(iter(misplaced_gates(list(find()), framework)), "")
    except ConfigurationError as error:
        return str(error)


def misplaced_gates(registered: list[Registered], framework: Framework) -> Iterator[str]:
    """Yield the error message about each function that is served without its gate.

    Args:
        registered: The functions that the app serves.
        framework: The framework of the app.
    """
    reached: list[_Reached] = []
    for one in registered:
        try:
            _check(one, registered, reached, framework)
        except ConfigurationError as error:
            yield str(error)


def _check(one: Registered, registered: list[Registered], reached: list[_Reached], framework: Framework) -> None:
    """Check one function; ``reached`` is filled where it is first needed.

    Raises:
        ConfigurationError: The function is served without its gate.
    """
    is_protected = False
    for view in _layers(one.view):
        kind, was_protected = kind_of(view), is_protected
        if kind is not None:
            _check_kind(kind, one, framework)
            is_protected = True
        gates = _gates_around(view)
        if gates is None or gates.were_used or was_protected:
            if gates is not None and was_protected:
                gates.were_used = True
            continue
        if not reached:
            reached += _reached([other.view for other in registered])
        if not _are_in_use(gates, view, reached, framework):
            name = getattr(view, "__name__", "view")
            raise ConfigurationError(
                f"{one.where} is open to everybody: it calls {described(view)} without the @{gates.name} that "
                f"was put on it, and that is never called. {framework.right(name, gates.name, one.where)}"
            )


def _check_kind(kind: Kind, one: Registered, framework: Framework) -> None:
    if kind.package != framework.package:
        raise ConfigurationError(
            f"{one.where}: {described(one.view)} has the {kind.name} of {kind.package}, which does not work in "
            f"{framework.name}. Write: from {framework.package} import {kind.name}"
        )
    if not kind.is_gate:
        raise ConfigurationError(
            f"{one.where} calls {kind.name} itself, which is no view and protects nothing by itself. "
            f"{framework.right('view', kind.name, one.where)}"
        )


def _layers(view: object) -> Iterator[object]:
    """Yield a view and the functions that it wraps, from the outside in, up to the methods of its class."""
    owner = attribute(view, "view_class") or attribute(view, "cls")
    # Django's `as_view()` copies the attributes of `dispatch`, `__wrapped__` included.
    methods = [id(one) for one in _wrapped(attribute(owner, "dispatch"))] if isinstance(owner, type) else []
    for one in _wrapped(view):
        if id(one) in methods:
            return
        yield one


def _wrapped(view: object) -> Iterator[object]:
    for _ in range(_MOST_LAYERS):
        if view is None:
            return
        yield view
        view = view.func if isinstance(view, partial) else attribute(view, "__wrapped__")


class _MethodReference(ReferenceType[Any]):
    """A weak reference to the object of a bound method, which stands for the method.

    ``weakref.WeakMethod`` has a callback that fails where the reference goes before its object does.
    """

    __slots__ = ("_function",)

    _function: ReferenceType[Any]

    def __new__(cls, method: MethodType, callback: Callable[[Any], None] | None = None) -> _MethodReference:
        """Make the reference, as ``weakref.ref`` does: in ``__new__``."""
        made = super().__new__(cls, method.__self__, callback)
        made._function = ref(method.__func__)
        return made

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _MethodReference)
            and bool(super().__eq__(other))
            and self._function == other._function
        )

    def __hash__(self) -> int:
        return super().__hash__()


def _reference(view: object, callback: Callable[[Any], None] | None = None) -> ReferenceType[Any] | None:
    try:
        made: ReferenceType[Any] = (
            _MethodReference(view, callback) if isinstance(view, MethodType) else ref(view, callback)
        )
        hash(made)
    except Exception:  # it has no weak references, or no hash
        return None
    return made


def attribute(thing: object, name: str) -> Any:
    """Return an attribute of a foreign object; ``None`` where it has none, or raises any error."""
    try:
        return getattr(thing, name, None)
    except Exception:  # such as a proxy without an object
        return None


def _forget(reference: ReferenceType[Any]) -> None:
    _gates.pop(reference, None)


def _gates_around(view: object) -> _Gates | None:
    key = _reference(view)
    return None if key is None else _gates.get(key)


# --- Is the function that a gate returned in use anywhere?

_Reached = tuple[object, str, object]
"""An object that was reached, the name that it has there, and its holder."""


def _are_in_use(gates: _Gates, view: object, reached: list[_Reached], framework: Framework) -> bool:
    """Return whether a gate around a view is in use, as far as its references show.

    A view that was defined inside of a function may have lost its gate for good. A view of a module or a class has
    a name there. While that name refers to the view itself, its gate was made for some app, maybe another one.
    """
    if "<locals>" in getattr(view, "__qualname__", "<locals>"):
        return any(_is_in_use(gate, view, reached, framework) for gate in gates.alive)
    for gate in gates.alive:
        if calls(_named(view), gate):
            return _is_in_use(gate, view, reached, framework)
    return True


def _named(view: Any) -> object:
    """Return the object that the name of a function refers to where it was defined."""
    first, *others = view.__qualname__.split(".")
    found = getattr(view, "__globals__", {}).get(first)
    for name in others:
        found = getattr(found, "__dict__", {}).get(name)
    return found


def _is_in_use(gate: object, view: object, reached: list[_Reached], framework: Framework) -> bool:
    if any(one is gate and not _is_its_own(view, name, referrer) for one, name, referrer in reached):
        return True
    return _is_referenced(gate, view, framework.registries)


def _is_its_own(view: object, name: str, referrer: object) -> bool:
    """Return whether a variable is the one to which ``@gate`` has bound its result, in place of the function."""
    scope, inside = (getattr(one, "__qualname__", "").rpartition(".")[0] for one in (view, referrer))
    if isinstance(referrer, type):
        inside = referrer.__qualname__
    return bool(scope) and inside == scope and name == getattr(view, "__name__", None)


def _reached(views: Iterable[object]) -> Iterator[_Reached]:
    """Yield all functions that these can call, as far as references show: wrapped, in closures, in attributes."""
    seen: set[int] = set()
    queue: deque[_Reached] = deque((view, "", None) for view in views)
    while queue and len(seen) < _MOST_OBJECTS:
        binding = queue.popleft()
        yield binding
        one = binding[0]
        if id(one) in seen:
            continue
        seen.add(id(one))
        queue.extend(
            (referent, name, one)
            for name, referent in _referents(one)
            if callable(referent) or isinstance(referent, _CONTAINERS)
        )


def _referents(one: object) -> Iterator[tuple[str, object]]:
    if isinstance(one, FunctionType):
        for name, cell in zip(one.__code__.co_freevars, one.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not set yet
                continue
        yield "", (*(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values())
        yield "", getattr(one, "__wrapped__", None)
    elif isinstance(one, MethodType):
        yield from (("", one.__func__), ("", one.__self__))
    elif isinstance(one, partial):
        yield from (("", referent) for referent in (one.func, one.args, one.keywords))
    elif isinstance(one, dict):
        yield from (("", referent) for referent in tuple(one.values()))
    elif isinstance(one, _CONTAINERS):
        yield from (("", referent) for referent in tuple(one))
    else:
        yield from tuple((attribute(one, "__dict__") or {}).items())


def _is_referenced(gate: object, view: object, registries: tuple[type, ...]) -> bool:
    """Return whether any object uses the function that a gate returned, even another app.

    The search goes from referrer to referrer. A namespace that has it under the name of the function itself does
    not count, as ``@gate`` always leaves that reference behind. A namespace that has it under another name does,
    as the app chose that.
    """
    own_name = getattr(view, "__name__", None)
    layer, seen = [gate], {id(gate)}
    own_objects: list[object] = [layer]  # the objects of this function itself that refer to the gate
    for _ in range(_MOST_LAYERS):
        asked = tuple(layer)
        own_objects.append(asked)  # from Python 3.13 on, the result includes the arguments of the call
        referrers = gc.get_referrers(*asked)
        found: list[object] = []
        for referrer in referrers:
            if (
                id(referrer) in seen
                or isinstance(referrer, _RUNNING)
                or any(referrer is one for one in own_objects)
            ):
                continue
            seen.add(id(referrer))
            if isinstance(referrer, dict) and _is_namespace(referrer):
                names = [
                    name for name, referent in tuple(referrer.items()) if any(referent is one for one in layer)
                ]
                if names != [own_name]:
                    return True
            elif isinstance(referrer, registries) or not _is_intermediate(referrer):
                return True
            elif not isinstance(referrer, FunctionType) or not _closes_over_its_own(referrer, view, layer):
                found.append(referrer)
        if not found:
            return False
        own_objects += [referrers, found]
        layer = found
    return True


def _closes_over_its_own(referrer: FunctionType, view: object, closures: list[object]) -> bool:
    """Return whether a function refers to a gate only because its code names the variable."""
    if not any(referrer.__closure__ is one for one in closures):
        return False
    return any(_is_its_own(view, name, referrer) for name in referrer.__code__.co_freevars)


def _is_namespace(found: dict[Any, Any]) -> bool:
    """Return whether a dict is the namespace of a module or a class.

    Decorators copy ``__module__`` into the dict of a function, but then there is ``__wrapped__`` too.
    """
    return "__builtins__" in found or ("__module__" in found and "__wrapped__" not in found)


def _is_intermediate(referrer: object) -> bool:
    """Return whether a reference from this object is no use by itself, but may be part of one."""
    return callable(referrer) or isinstance(referrer, (CellType, *_CONTAINERS, *_METHOD_KINDS))
