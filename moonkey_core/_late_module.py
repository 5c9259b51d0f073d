"""Modules that only annotations need: ``typing.get_type_hints`` finds them, and nothing else loads them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LateModule:
    """A module that is imported when one of its names is read.

    Args:
        name: Its whole name.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
