"""Who hears of changes of the feed."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import ref

from moonkey_core import _threads as _native
from moonkey_core.events import Hooks


class Audience:
    """The hooks of several clients, weakly held. Clients come and go while the feed's thread reads."""

    def __init__(self, hooks: tuple[Hooks, ...] = ()) -> None:
        self._lock = _native.lock()
        self._members = tuple(ref(one) for one in hooks)

    def __iter__(self) -> Iterator[Hooks]:
        for member in self._members:
            hooks = member()
            if hooks is not None:
                yield hooks

    def add(self, hooks: Hooks) -> None:
        """They hear of what happens from now on."""
        self.discard(hooks)
        with self._lock:
            self._members = (*self._members, ref(hooks))

    def discard(self, hooks: Hooks) -> None:
        """They hear nothing any more."""
        with self._lock:
            self._members = tuple(one for one in self._members if one() is not None and one() is not hooks)
