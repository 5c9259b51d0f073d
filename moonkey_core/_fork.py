"""The registry of resets that run in the child of a ``fork()``.

Only the forking thread exists in the child. A lock that another thread held stays locked for good, and connections
are shared with the parent process. So everything that has a lock or a connection registers its reset here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import MethodType
from weakref import ref

Reset = Callable[[], None]

_resets: dict[int, Callable[[], Reset | None]] = {}  # weak references, in the order of registration
_numbers = itertools.count()


def reset_after_fork(reset: Reset) -> None:
    """Call a function or a bound method in each child of ``fork()``, for as long as it, or its object, lives.

    Resets run in the order of their registration, before anything else of this package runs in the child. One that
    raises an exception keeps no other from running.

    Args:
        reset: Makes new locks and forgets connections. It must not wait for a lock or use an inherited connection.
    """
    number = next(_numbers)
    # No global name is looked up when an object dies: at the end of the process there may be none any more.
    forget = partial(_resets.pop, number)
    _resets[number] = weak_method(reset, forget) if isinstance(reset, MethodType) else ref(reset, forget)


def weak_method(method: Reset, on_death: Callable[[object], object] | None = None) -> Callable[[], Reset | None]:
    """Return what ``weakref.WeakMethod`` does, which prints an error at the exit of Python 3.13 now and then.

    Args:
        method: A bound method.
        on_death: Called when the object of the method is gone.
    """
    assert isinstance(method, MethodType)
    return partial(_bound, ref(method.__self__, on_death), method.__func__)


def _bound(owner: ref[object], function: Callable[..., None]) -> Reset | None:
    one = owner()
    return None if one is None else MethodType(function, one)


def _reset_all() -> None:
    with ExitStack() as stack:  # runs all of them, even after an exception, the last one first
        for weak in reversed(list(_resets.values())):
            reset = weak()
            if reset is not None:
                stack.callback(reset)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
