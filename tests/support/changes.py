"""Attempts to change a value, and each value inside of it, as code of an app might do by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

CLAIMS = {"plan": "pro", "teams": [{"id": 1, "roles": ["a", "b"]}], "scopes": ["read"]}
CHANGES: list[Callable[[Any], object]] = [
    lambda one: one.update(plan="free"),
    lambda one: one.clear(),
    lambda one: one.pop("plan", None),
    lambda one: one.popitem(),
    lambda one: one.setdefault("new", 1),
    lambda one: one.__setitem__("plan", "free"),
    lambda one: one.__delitem__("plan"),
    lambda one: one.__ior__({"plan": "free"}),
    lambda one: one.append(1),
    lambda one: one.sort(),
    lambda one: setattr(one, "plan", "free"),
    lambda one: setattr(one, "id", "sess_other"),
    lambda one: setattr(one, "extra", {}),
    lambda one: delattr(one, "id"),
]


def all_in(value: Any) -> Iterator[Any]:
    """Yield a value and all values inside of it that code could try to change."""
    yield value
    if isinstance(value, Mapping):
        inside: Any = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    else:
        inside = [getattr(value, name) for name in getattr(value, "_fields", ())]
    for one in inside:
        yield from all_in(one)


def refused_changes(value: Any) -> int:
    """Try all changes on a value and on what is inside of it; return how many were refused."""
    refused = 0
    for one in [*all_in(value)]:
        for change in CHANGES:
            try:
                change(one)
            except (TypeError, AttributeError, KeyError):
                refused += 1
    return refused
