"""Errors that are also exceptions of a framework: what gates raise, so that its other layers know the response."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from moonkey_core.errors import MoonKeyError


class FrameworkError(Exception):
    """A base of the exceptions that a framework package derives from those of its framework.

    The text of an error stays its own. A copy, or what is unpickled, is the plain error: it belongs to no request.

    Attributes:
        plain: The error of the core.
    """

    plain: MoonKeyError

    def __str__(self) -> str:
        return str(self.plain)

    def __repr__(self) -> str:
        return repr(self.plain)

    def __reduce__(self) -> tuple[Callable[[MoonKeyError], MoonKeyError], tuple[MoonKeyError]]:
        """Return how to make a copy: the plain error."""
        return _itself, (self.plain,)


def as_framework_error(error: MoonKeyError, *kinds: type[Exception], **attributes: Any) -> MoonKeyError:
    """Return an error of the same class and content that is also an instance of a framework's exceptions.

    Args:
        error: The error of the core.
        *kinds: The other classes; the first derives from :class:`FrameworkError`.
        **attributes: Attributes for the other classes. An attribute that the error has itself is kept.
    """
    plain = error.plain if isinstance(error, FrameworkError) else error
    kind = _class_of(cast(Any, type(plain)), kinds)
    # No constructor runs: that of MoonKeyError would hand its message on to the framework's class.
    made = kind.__new__(kind, *plain.args)
    vars(made).update({**attributes, **vars(plain), "plain": plain})
    made.__cause__, made.__suppress_context__ = plain.__cause__, plain.__suppress_context__
    return made


@lru_cache(128)  # the classes of errors are few
def _class_of(kind: type[MoonKeyError], kinds: tuple[type[Exception], ...]) -> type[MoonKeyError]:
    names = {name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")}
    return cast("type[MoonKeyError]", type(kind.__name__, (kind, *kinds), names))


def _itself(error: MoonKeyError) -> MoonKeyError:
    return error
