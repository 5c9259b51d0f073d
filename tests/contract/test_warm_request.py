"""What a warm request costs in each stack, without a clock: functions called, bytes allocated, garbage left.

A ceiling is what was counted when it was set, plus a little for another release of Python or of a framework. Where
a change lowers a figure, lower its ceiling too. Where a test fails here, the message names what is called.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType, ModuleType
from typing import Any

import pytest
from contract import warm_apps
from contract.stacks import usual_options
from contract.warm_apps import Visit, environ, scope, view

from moonkey_core import AsyncMoonKey, Machine, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.web.request import asgi_headers, wsgi_headers, wsgi_request
from support.bindings import JWT, SESSION, bound_line
from support.work import alone

Open = Callable[[warm_apps.Options | None], AbstractContextManager[Visit]]

WARM_UP, TIMES, MANY = 5, 3, 20
_PACKAGES = ("moonkey_core", "moonkey_django", "moonkey_flask", "moonkey_starlette")
_FILES = [  # the emulator is no part of an app, and works in a thread of its own
    *(tracemalloc.Filter(True, f"*/{name}/*") for name in _PACKAGES),
    tracemalloc.Filter(False, "*/moonkey_core/emulator/*"),
]
_INLINED = {"<listcomp>", "<setcomp>", "<dictcomp>"}  # no functions since Python 3.12 (PEP 709)

STACKS: dict[str, tuple[Open, int, int]] = {  # name: how it is opened, most functions, most bytes at the view
    "flask-wsgi": (warm_apps.flask, 28, 450),
    "django-wsgi": (warm_apps.django_wsgi, 35, 950),
    "django-asgi": (warm_apps.django_asgi, 34, 2000),
    "starlette": (warm_apps.starlette, 28, 1950),
    "fastapi": (warm_apps.fastapi, 31, 1700),
}
CORE: dict[str, tuple[int, int]] = {  # headers of: most functions, most bytes at once
    "wsgi": (12, 3500),
    "asgi": (12, 3900),
    "mapping": (12, 3500),
    "cookie pair": (18, 4600),
}


def calls_of(act: Callable[[], object]) -> Counter[str]:
    """Return how often each function of this project is called in this thread.

    A coroutine counts each time that it goes on.
    """
    found: Counter[str] = Counter()

    def on_event(frame: FrameType, event: str, arg: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.partition(".")[0] in _PACKAGES:
            name = frame.f_code.co_name
            if name not in _INLINED:
                found[f"{module}:{name}"] += 1

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        act()
    finally:
        sys.setprofile(before)
    return found


def fewest_calls(act: Callable[[], object]) -> Counter[str]:
    """Return the calls of the cheapest of several times: what is done once in a while is no cost of each."""
    return min((calls_of(act) for _ in range(TIMES)), key=lambda one: one.total())


def snapshot() -> tracemalloc.Snapshot:
    """Return what this project's own lines have allocated and that is in use now."""
    return tracemalloc.take_snapshot().filter_traces(_FILES)


def bytes_at_view(act: Callable[[], object]) -> int:
    """Return how many bytes more each line of this project holds when the view runs than before the request."""
    found = []
    for _ in range(TIMES):
        at_view: list[tracemalloc.Snapshot] = []
        before = snapshot()
        view.at_view = lambda at_view=at_view: at_view.append(snapshot())  # type: ignore[misc]
        act()
        lines = at_view[0].compare_to(before, "lineno")
        found.append(sum(line.size_diff for line in lines if line.size_diff > 0))
    return min(found)


@dataclass
class Garbage:
    """The types of objects in reference cycles, or held by one, that many times have left behind.

    ``cycles``: those of this project that are in a cycle themselves.
    """

    left: Counter[str]
    cycles: list[str]

    @property
    def holds_the_request(self) -> bool:
        """Whether a request object is in it, and with it all that hangs on a request."""
        return any(name.endswith("Request") for name in self.left)


def garbage_of(act: Callable[[], object]) -> Garbage:
    """Return the least of several times: what is left behind once in a while is not there each time."""
    act()
    gc.disable()
    found = [_left_by(act) for _ in range(TIMES)]
    gc.enable()
    return min(found, key=lambda one: (len(one.cycles), one.left.total()))


def _left_by(act: Callable[[], object]) -> Garbage:
    gc.collect()
    flags, kept = gc.get_debug(), len(gc.garbage)
    for _ in range(MANY):
        act()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = gc.garbage[kept:]
        own = [one for one in found if type(one).__module__.startswith(_PACKAGES)]
        return Garbage(Counter(map(_type_of, found)), [_type_of(one) for one in own if _holds_itself(one)])
    finally:
        gc.set_debug(flags)
        del gc.garbage[kept:]


def _type_of(one: object) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"


def _holds_itself(one: object) -> bool:
    """Return whether references lead from an object back to it, other than by a module or a class."""
    seen, left = set[int](), [one]
    while left:
        for other in gc.get_referents(left.pop()):
            if other is one:
                return True
            if id(other) not in seen and gc.is_tracked(other) and not isinstance(other, (type, ModuleType)):
                seen.add(id(other))
                left.append(other)
    return False


@contextmanager
def traced() -> Iterator[None]:
    """Trace allocations from here on: an object that is made of memory from before has no trace."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@pytest.fixture
def jwt(emulator: Emulator) -> str:
    return emulator.sign_in("ada@example.com").session_jwt


def warm(visit: Visit, jwt: str) -> Callable[[], None]:
    """Return a request that has been made before."""

    def act() -> None:
        assert visit("/protected", jwt) == 200

    for _ in range(WARM_UP):
        act()
    return act


@pytest.mark.parametrize("stack", STACKS)
def test_a_warm_request_calls_few_functions(stack: str, emulator: Emulator, jwt: str) -> None:
    opened, most, _ = STACKS[stack]
    with opened(usual_options(emulator)) as visit:
        found = fewest_calls(warm(visit, jwt))
    assert 0 < found.total() <= most, found.most_common()


@pytest.mark.parametrize("stack", STACKS)
def test_a_warm_request_holds_few_bytes(stack: str, emulator: Emulator, jwt: str) -> None:
    opened, _, most = STACKS[stack]

    def count() -> int:
        with traced(), opened(usual_options(emulator)) as visit:
            return bytes_at_view(warm(visit, jwt))

    assert 0 < alone(count) <= most


@pytest.mark.parametrize("stack", STACKS)
def test_a_warm_request_leaves_no_cyclic_garbage(stack: str, emulator: Emulator, jwt: str) -> None:
    """Not more than the open route of an app without this project: a framework's own is not counted.

    Where a framework leaves the request itself behind, what hangs on it stays too, and only cycles are counted.
    """
    opened, *_ = STACKS[stack]

    def with_this() -> Garbage:
        with opened(usual_options(emulator)) as visit:
            return garbage_of(warm(visit, jwt))

    def without() -> Garbage:
        with opened(None) as visit:
            return garbage_of(lambda: visit("/open", jwt))

    own, others = alone(with_this), alone(without)
    assert own.cycles == []
    if not others.holds_the_request:
        assert not [name for name in own.left if name.startswith(_PACKAGES)]
        assert own.left.total() - others.left.total() < MANY, own.left - others.left


@pytest.fixture
def read_by(emulator: Emulator, jwt: str) -> Iterator[dict[str, Callable[[], object]]]:
    """From the headers of a request that was made before to its user and session, without a framework."""
    line, lines = environ("/", jwt), scope("/", jwt)["headers"]
    mapping = {"authorization": line["HTTP_AUTHORIZATION"]}
    with (
        asyncio.Runner() as runner,
        MoonKey(**usual_options(emulator)) as client,
        MoonKey(**usual_options(emulator), cookies=True, load_user=False) as browsers,
    ):
        cookies = bound_line(f"theme=dark; {SESSION}=token_{'t' * 40}; {JWT}={jwt}", browsers.settings)
        pair = {**line, "HTTP_COOKIE": cookies}
        del pair["HTTP_AUTHORIZATION"]
        other = AsyncMoonKey(**usual_options(emulator))
        runner.run(other.authenticate(asgi_headers(lines)))
        yield {
            "wsgi": lambda: read(client.authenticate(wsgi_headers(line))),
            "asgi": lambda: read(other.begin(asgi_headers(lines))),
            "mapping": lambda: read(client.authenticate(mapping)),
            "cookie pair": lambda: read(browsers.authenticate(wsgi_headers(pair), None, wsgi_request(pair))),
        }
        runner.run(other.aclose())


def read(auth: Any) -> None:
    """Read what an app reads. What is not verified yet has no user."""
    assert auth.user.id
    assert auth.session.id


@pytest.mark.parametrize("kind", CORE)
def test_headers_to_the_session_call_few_functions(kind: str, read_by: dict[str, Callable[[], object]]) -> None:
    act = read_by[kind]
    for _ in range(WARM_UP):
        act()
    found = fewest_calls(act)
    most, _ = CORE[kind]
    assert 0 < found.total() <= most, found.most_common()


@pytest.mark.parametrize("kind", CORE)
def test_headers_to_the_session_allocate_few_bytes(kind: str, read_by: dict[str, Callable[[], object]]) -> None:
    """The most that is allocated at one moment, also by what this project calls."""
    _, most = CORE[kind]
    assert 0 < alone(lambda: peak_of(read_by[kind])) <= most


def peak_of(act: Callable[[], object]) -> int:
    """Return the most bytes that are allocated at one moment; the least of several times."""
    found = []
    with traced():
        for _ in range(WARM_UP):
            act()
        for _ in range(TIMES):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            act()
            found.append(tracemalloc.get_traced_memory()[1] - before)
    return min(found)


def test_the_count_sees_a_function_more(read_by: dict[str, Callable[[], object]]) -> None:
    act = read_by["mapping"]
    act()
    once = fewest_calls(act)
    assert fewest_calls(lambda: (act(), act())).total() == 2 * once.total()


def test_a_cycle_is_seen() -> None:
    def act() -> None:
        cycle: list[object] = []
        cycle.append(cycle)

    assert alone(lambda: garbage_of(act)).left.total() >= MANY


def test_a_cycle_of_this_project_is_seen() -> None:
    def act() -> None:
        extra: dict[str, Any] = {}
        extra["again"] = Machine("machine", datetime.now(UTC), extra)

    assert len(alone(lambda: garbage_of(act)).cycles) == MANY
