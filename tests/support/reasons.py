"""What the source says of log lines and of the reasons of errors: found by reading it, not by running it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import moonkey_core
from moonkey_core import errors
from moonkey_core._plan import TransportError

_SOURCE = Path(moonkey_core.__file__).parent.parent
_PACKAGES = ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
_PLACES = {"_invalid": 0, "_refusal": 0, "require": 1, "allow": 1, "forbid": 1}
"""Functions that make an error, or a rule that ends in one, and which of their arguments is the reason."""
KINDS: tuple[str, ...] = get_args(get_type_hints(TransportError)["kind"])


@dataclass(frozen=True)
class LogCall:
    """One log line. ``reasons`` is empty where it passes on that of an error; ``None`` where it has none."""

    where: str
    level: str
    message: ast.expr
    reasons: frozenset[str] | None


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """All modules of the product, without the emulator."""
    paths = [path for package in _PACKAGES for path in sorted((_SOURCE / package).rglob("*.py"))]
    assert len(paths) > 50
    return tuple(
        (str(path.relative_to(_SOURCE)), ast.parse(path.read_text()))
        for path in paths
        if "emulator" not in path.parts
    )


@cache
def log_calls() -> list[LogCall]:
    """Every call of a logger's method, or of what stands before it where lines repeat."""
    return [
        LogCall(f"{name}:{call.lineno}", *said, _logged(tree, call))
        for name, tree in modules()
        if not name.endswith("_repeated_log.py")  # passes on what it is given
        for call in _calls(tree)
        if (said := _said(call)) is not None
    ]


def _said(call: ast.Call) -> tuple[str, ast.expr] | None:
    """Level and message of a call that logs; ``None`` for any other."""
    function = call.func
    if isinstance(function, ast.Name) and function.id == "log_repeated":
        level = call.args[0]
        assert isinstance(level, ast.Attribute)
        return level.attr.lower(), call.args[1]
    if (
        isinstance(function, ast.Attribute)
        and function.attr in _LEVELS
        and isinstance(function.value, ast.Name)
        and "log" in function.value.id
    ):
        return function.attr, call.args[function.attr == "log"]
    return None


@cache
def log_reasons() -> set[str]:
    """The reasons that log lines name themselves."""
    return {reason for call in log_calls() for reason in call.reasons or ()}


@cache
def error_reasons() -> set[str]:
    """Every reason that an error may have."""
    found = {
        value.default_reason
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.MoonKeyError)
    }
    for _name, tree in modules():
        for call in _calls(tree):
            place = _PLACES.get(call.func.id) if isinstance(call.func, ast.Name) else None
            if place is not None and place < len(call.args):
                found |= _values(tree, call.args[place])
            for keyword in call.keywords:
                if keyword.arg in ("reason", "machine_reason"):
                    found |= _values(tree, keyword.value)
    return found - {"jwks_over_budget"}  # a call for keys takes from no budget


def operations() -> set[str]:
    """The names of all calls to the API, as far as they stand in the source."""
    return {
        value
        for _name, tree in modules()
        for call in _calls(tree)
        if not (isinstance(call.func, ast.Name) and call.func.id == "NotSupported")  # it names what is not done
        for keyword in call.keywords
        if keyword.arg == "operation"
        for value in _values(tree, keyword.value, ("send", "login_or_create"))
    }


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _logged(tree: ast.Module, call: ast.Call) -> frozenset[str] | None:
    for keyword in call.keywords:
        if keyword.arg == "extra":
            for extra in (
                [keyword.value] if isinstance(keyword.value, ast.Dict) else _assigned(tree, keyword.value)
            ):
                if isinstance(extra, ast.Dict):
                    for key, value in zip(extra.keys, extra.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == "reason":
                            return frozenset(_values(tree, value))
    return None


def _assigned(tree: ast.Module, name: ast.expr) -> list[ast.expr]:
    if not isinstance(name, ast.Name):
        return []
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name.id for target in node.targets)
    ]


def _values(tree: ast.Module, value: ast.expr, kinds: Collection[str] = KINDS) -> set[str]:
    """What an expression may be, as far as it is spelled out; nothing where it passes on what it was given."""
    if isinstance(value, ast.Constant):
        return {value.value} if isinstance(value.value, str) else set()
    if isinstance(value, ast.IfExp):
        return _values(tree, value.body, kinds) | _values(tree, value.orelse, kinds)
    if isinstance(value, ast.JoinedStr):
        (start, _kind) = value.values
        assert isinstance(start, ast.Constant), "a reason of parts must be a prefix and a kind of trouble"
        assert isinstance(start.value, str)
        return {f"{start.value}{kind}" for kind in kinds}
    return {one for found in _assigned(tree, value) for one in _values(tree, found, kinds)}
