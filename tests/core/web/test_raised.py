"""An error of the core that is also an exception of a framework."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import errors
from moonkey_core.errors import MoonKeyError, PermissionDenied, RequestRefused, RevocationIncomplete
from moonkey_core.web.raised import FrameworkError, as_framework_error


class Theirs(Exception):
    """As the exceptions of frameworks are: with a constructor, texts and attributes of their own."""

    code = None

    def __init__(self, status: int) -> None:
        self.status_code = status

    def __str__(self) -> str:
        return "theirs"

    __repr__ = __str__


class Both(FrameworkError, Theirs): ...


def classes(kind: type[MoonKeyError] = MoonKeyError) -> Iterator[type[MoonKeyError]]:
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__ and not issubclass(one, FrameworkError):
            yield from classes(one)


def make(kind: type[MoonKeyError]) -> MoonKeyError:
    more: dict[str, Any] = (
        {"revoked": (), "failed": {}} if kind is RevocationIncomplete else {"reason": "some_reason"}
    )
    return kind("What happened.", **more)


def also(error: MoonKeyError, **attributes: Any) -> Any:
    return as_framework_error(error, Both, **attributes)


@pytest.mark.parametrize("kind", list(classes()))
def test_an_error_stays_what_it_is(kind: type[MoonKeyError]) -> None:
    error = make(kind)
    made = also(error, status_code=418)
    assert all(isinstance(made, one) for one in (kind, Theirs, FrameworkError))
    assert made.plain is error
    assert (str(made), repr(made), made.args) == (str(error), repr(error), error.args)
    assert type(made).__name__ == kind.__name__
    assert made.status_code == 418
    for name, value in vars(error).items():
        assert getattr(made, name) == value
    assert (made.status, made.reason) == (error.status, error.reason)
    assert type(also(error)) is type(made)
    assert also(made).plain is error
    assert "What happened." in "".join(traceback.format_exception(made))


@pytest.mark.parametrize("kind", list(classes()))
def test_a_copy_is_the_plain_error(kind: type[MoonKeyError]) -> None:
    error = make(kind)
    for again in (copy.copy(also(error)), pickle.loads(pickle.dumps(also(error)))):
        assert type(again) is kind
        assert (str(again), again.reason) == (str(error), error.reason)


def test_what_the_error_has_is_kept() -> None:
    refused = RequestRefused(code="user_not_found")
    assert also(refused, code=400).code == "user_not_found"
    assert also(RequestRefused(), code=400).code is None
    assert also(PermissionDenied(scope=("write",)), scope=()).scope == ("write",)


def test_the_cause_is_kept() -> None:
    cause = ValueError("why")
    error = MoonKeyError("x")
    error.__cause__ = cause
    assert also(error).__cause__ is cause
    assert not also(MoonKeyError("x")).__suppress_context__
