"""The one effect, and how a plan that yields it is run.

A plan is a generator: it yields :class:`Fetch` (one HTTP call, described), is sent the outcome of that call, and
returns its result. Deciding stays pure; whoever runs the plan does the waiting. Plans are private to this package:
a generator that nobody runs is truthy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
Yielded = TypeVar("Yielded")


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """One HTTP call to the API.

    ``repeatable`` says that sending it twice does no harm. Calls with the same ``share`` key that overlap are one
    call; its answer is handed out for ``linger`` seconds more: a good one that ``reader`` understands (it raises
    ``ValueError`` otherwise), a refusal if ``linger_refusals``, trouble only if ``linger_trouble``. With
    ``until_revoked`` none of that outlives a call with ``revokes``, of whichever client of the process.
    ``operation`` is its name in events. ``known`` says that the credential was good before: it goes first where
    calls have to wait. ``trips`` says that its failures count for the circuit breaker, which may refuse it.
    ``stored`` names the place in the fleet's store, if there is one, where its answer is looked up first and kept.
    ``timeout`` (seconds) may shorten the plan's deadline; with ``own_deadline`` it replaces it, for plans that
    make many calls. ``pause`` (seconds) comes before the first try, for plans that nobody waits for.
    """

    method: Literal["GET", "POST", "DELETE"]
    url: str = field(repr=False)  # it may name a user, or hold a secret in its query
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    send_key: bool = True
    repeatable: bool = True
    share: str | None = None
    linger: float = 0.0
    linger_refusals: bool = True
    linger_trouble: bool = False
    reader: Callable[[Mapping[str, Any]], object] | None = field(default=None, repr=False)
    until_revoked: bool = False
    revokes: bool = False
    timeout: float | None = None
    own_deadline: bool = False
    pause: float = 0.0
    max_bytes: int = 1024 * 1024
    operation: str = "call"
    known: bool = False
    trips: bool = True
    stored: Stored | None = None

    @property
    def ends_connection(self) -> bool:
        """Whether the connection is of no use afterwards.

        The body of a ``DELETE`` has no defined meaning (RFC 9110 section 9.3.5): something in between that expects
        none reads ours as the next request, and what it answers to that would be the reply to ours.
        """
        return self.method == "DELETE" and self.json is not None

    @property
    def address(self) -> str:
        """Where the call goes, for logs and errors: scheme, host and port, without path and query."""
        scheme, _, rest = self.url.partition("://")  # of settings, and checked there; each call asks for this
        host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
        has_port = ":" in host.rpartition("]")[2]
        return f"{scheme}://{host}" if has_port else f"{scheme}://{host}:{443 if scheme == 'https' else 80}"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A place in the fleet's store. ``name`` is a digest; ``seconds`` is how old an answer from there may be.

    Only a good answer (status 200) is kept, as ``clean`` leaves it: without any credential. With ``look`` false
    the place is written but not read.
    """

    name: str
    seconds: float
    clean: Callable[[bytes], bytes] = field(repr=False)
    look: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever the status. Header names are lower-case.

    ``asked_at`` (Unix seconds) is when the API was asked; ``stored`` says that the fleet's store gave the answer.
    ``address`` is whom we called, for logs and errors.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    asked_at: float = 0.0
    stored: bool = False
    address: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TransportError:
    """No reply. ``unsent`` is true where the request certainly had no effect.

    ``busy``: too many calls wait already. ``circuit_open``: the API has been failing, and is not asked for a
    while. ``address`` and ``cause`` are for logs and errors: whom we called, and what went wrong in plain words.
    """

    kind: Literal["connect", "timeout", "broken", "too_large", "busy", "circuit_open"]
    unsent: bool = False
    cause: str = field(default="", compare=False)
    address: str = field(default="", compare=False)


Outcome = Reply | TransportError
Plan = Generator[Fetch, Outcome, T]


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A generator's return value."""

    value: T


def step(generator: Generator[Yielded, Any, T], value: object) -> Yielded | Done[T]:
    """Send ``value`` in and return what comes next.

    ``StopIteration`` is read here and nowhere else, with no foreign code in between: one that leaks out of a
    transport must never be taken for a verified result.
    """
    try:
        return next(generator) if value is None else generator.send(value)
    except StopIteration as stop:
        return Done(stop.value)


def run(plan: Plan[T], exchange: Callable[[Fetch], Outcome]) -> T:
    """Run a plan to its result, each call by ``exchange``."""
    current = step(plan, None)
    while not isinstance(current, Done):
        current = step(plan, exchange(current))
    return current.value


async def arun(plan: Plan[T], exchange: Callable[[Fetch], Awaitable[Outcome]]) -> T:
    """Run a plan to its result, each call awaited. A plan that needs no call does not suspend."""
    current = step(plan, None)
    while not isinstance(current, Done):
        current = step(plan, await exchange(current))
    return current.value
