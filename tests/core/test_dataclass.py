"""A dataclass whose methods come late behaves, from its first use on, as one of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import FrozenInstanceError, field
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from moonkey_core import _dataclass

T = TypeVar("T")
Decorator = Callable[..., Any]
LATE: Decorator = _dataclass.dataclass
EAGER: Decorator = dataclasses.dataclass


def classes(dataclass: Decorator) -> dict[str, Any]:
    """The same classes, by either decorator."""

    @dataclass(frozen=True, slots=True)
    class Plain:
        """Immutable."""

        kind: ClassVar[str] = "plain"

        name: str
        secret: str = field(repr=False)
        count: int = 3
        extra: Mapping[str, int] = field(default_factory=dict, hash=False, compare=False)

        def shout(self) -> str:
            return self.name.upper()

    @dataclass(frozen=True, slots=True)
    class Derived(Plain):
        """It adds a field to those of its base."""

        last: int | None = None

    @dataclass(slots=True, kw_only=True)
    class Mutable:
        """It can be changed, so it has no hash."""

        one: int
        two: list[int] = field(default_factory=list)

    @dataclass(slots=True, eq=False, repr=False, weakref_slot=True)
    class Bare:
        """Equal to itself only; weakly referenced."""

        one: int = 1

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Checked:
        """With methods of its own in the place of the generated ones."""

        one: int
        two: int = field(init=False, default=2)

        def __post_init__(self) -> None:
            if self.one < 0:
                raise ValueError("negative")

        def __repr__(self) -> str:
            return "a Checked"

        def __hash__(self) -> int:
            return 7

    @dataclass(frozen=True, slots=True)
    class Of(Generic[T]):
        """Generic."""

        value: T

    made = [Plain, Derived, Mutable, Bare, Checked, Of]
    return {one.__name__: one for one in made}


MAKE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Plain": lambda of: of["Plain"]("ada", "s3cret", extra={"a": 1}),
    "Derived": lambda of: of["Derived"]("ada", secret="s3cret", last=4),
    "Mutable": lambda of: of["Mutable"](one=1),
    "Bare": lambda of: of["Bare"](),
    "Checked": lambda of: of["Checked"](one=1),
    "Of": lambda of: of["Of"]("x"),
}


def failure(act: Callable[[], object]) -> str:
    try:
        return repr(act())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


QUESTIONS: dict[str, Callable[[Any, Callable[[], Any]], object]] = {
    "signature": lambda cls, make: str(inspect.signature(cls)),
    "fields": lambda cls, make: repr(dataclasses.fields(cls)),
    "parameters": lambda cls, make: repr(cls.__dataclass_params__),
    "match_args": lambda cls, make: cls.__match_args__,
    "slots": lambda cls, make: cls.__slots__,
    "is_dataclass": lambda cls, make: dataclasses.is_dataclass(cls),
    "hashable": lambda cls, make: issubclass(cls, Hashable),
    "has_hash": lambda cls, make: cls.__hash__ is None,
    "qualname": lambda cls, make: cls.__init__.__qualname__.replace(str(id(cls)), ""),
    "repr": lambda cls, make: repr(make()).split(" object at ")[0],
    "equal": lambda cls, make: make() == make(),
    "not_equal_to_another": lambda cls, make: make() == 3,
    "hash": lambda cls, make: failure(lambda: len({make(), make()})),
    "asdict": lambda cls, make: dataclasses.asdict(make()),
    "replace": lambda cls, make: failure(lambda: type(dataclasses.replace(make(), name="bob")).__name__),
    "copy": lambda cls, make: dataclasses.asdict(copy.copy(make())),
    "deepcopy": lambda cls, make: dataclasses.asdict(copy.deepcopy(make())),
    "set": lambda cls, make: failure(lambda: setattr(make(), cls.__slots__[0], 5)),
    "delete": lambda cls, make: failure(lambda: delattr(make(), cls.__slots__[0])),
    "weakly": lambda cls, make: failure(lambda: weakref.ref(make()) is None),
    "missing": lambda cls, make: failure(lambda: cls(1, 2, 3, 4, 5, 6, 7)),
    "state": lambda cls, make: failure(lambda: make().__getstate__()),
    "members": lambda cls, make: sorted(name for name, _ in inspect.getmembers(cls)),
    "unbound": lambda cls, make: failure(lambda: cls.__repr__(make()).split(" object at ")[0]),
    "post_init": lambda cls, make: failure(lambda: cls(one=-1)).split(" object at ")[0].split(".")[-1],
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", MAKE)
def test_the_answer_is_that_of_the_standard_library(name: str, question: str) -> None:
    """Each question is the first one that the class is asked."""
    answers = []
    for decorator in (LATE, EAGER):
        of = classes(decorator)
        answers.append(QUESTIONS[question](of[name], partial(MAKE[name], of)))
    assert answers[0] == answers[1]


def test_an_immutable_one_is_never_changed() -> None:
    plain = classes(LATE)["Plain"]
    made = object.__new__(plain)  # so that nothing is completed yet
    with pytest.raises(FrozenInstanceError):
        made.name = "eve"
    with pytest.raises(FrozenInstanceError):
        del made.name


def test_a_method_is_called_through_a_derived_class() -> None:
    plain = classes(LATE)["Plain"]

    class Sub(plain):  # type: ignore[misc,valid-type]
        def __init__(self, name: str) -> None:
            super().__init__(name, "s3cret", 1)

        def __repr__(self) -> str:
            return f"<{super().__repr__()}>"

    assert repr(Sub("ada")) == f"<{Sub.__qualname__}(name='ada', count=1, extra={{}})>"
    assert Sub("ada") == Sub("ada")
    assert Sub("ada").shout() == "ADA"


def test_it_can_be_matched() -> None:
    plain = classes(LATE)["Plain"]
    match plain("ada", "s3cret"):
        case plain(name, secret):
            assert (name, secret) == ("ada", "s3cret")
        case _:
            pytest.fail("not matched")


@_dataclass.dataclass(frozen=True, slots=True)
class Kept:
    """At the top of a module, as what is pickled has to be."""

    one: int
    two: tuple[int, ...] = ()


def test_it_is_pickled() -> None:
    blank: Any = object.__new__(Kept)
    with pytest.raises(AttributeError):
        pickle.dumps(blank)  # the state of an object without values, which is that of the standard library
    assert pickle.loads(pickle.dumps(Kept(1, (2,)))) == Kept(1, (2,))
    assert pickle.loads(pickle.dumps(Kept)) is Kept


def test_threads_that_meet_at_the_first_use_get_the_same() -> None:
    for _ in range(20):
        plain = classes(LATE)["Plain"]
        start = threading.Barrier(4)
        found: list[Any] = []

        def use(plain: Any = plain, start: threading.Barrier = start, found: list[Any] = found) -> None:
            start.wait(60)
            found.append(plain("ada", "s3cret"))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert len(found) == 4
        assert len(set(found)) == 1
        assert plain.__init__ is plain.__init__


COMPLETED = """
import pkgutil, importlib, moonkey_core
from moonkey_core._dataclass import _Late
found = 0
for one in pkgutil.walk_packages(moonkey_core.__path__, "moonkey_core."):
    if one.name.endswith("__main__") or ".emulator" in one.name or ".testing" in one.name:
        continue
    try:
        module = importlib.import_module(one.name)
    except ImportError:
        continue  # of an extra that is not installed
    for cls in list(vars(module).values()):
        if isinstance(cls, type) and any(isinstance(value, _Late) for value in vars(cls).values()):
            cls.__init__
            assert not any(isinstance(value, _Late) for value in vars(cls).values()), cls
            found += 1
print(found)
"""


@pytest.mark.long
def test_every_class_of_the_package_can_be_completed() -> None:
    command = [sys.executable, "-c", COMPLETED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) > 60
