"""Plans: decisions without I/O, and how they are run.

A plan is a generator. It yields :class:`Fetch`, the description of one HTTP call, receives the outcome of that
call, and returns its result. The exchange that runs the plan makes the calls. Plans are private to this package: a
plan that is never run is truthy, and must not be taken for a result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any, Generic, Literal, Protocol, TypeVar

from moonkey_core._dataclass import dataclass
from moonkey_core._publication import RevocationHandle

T = TypeVar("T")
Yielded = TypeVar("Yielded")

ReplyClass = Literal["success", "refusal", "trouble"]
"""What a reply is: the service has done what was called, has refused it for good, or nothing is known."""


class CallAuthorization(Protocol):
    """How one call is authorized. It is asked at each attempt, as some proofs may be sent once only."""

    def header(self) -> str | None:
        """Return the value of the ``Authorization`` header, if there is to be one."""
        ...

    def members(self) -> Mapping[str, str]:
        """Return what is added to the form in the body of the call."""
        ...


@dataclass(slots=True, eq=False)
class Fetch:
    """One HTTP call to the API. It is not changed once an exchange has it.

    It is not frozen either: that takes thrice the time to make.

    Attributes:
        method: The HTTP method.
        url: The whole address, with its query.
        json: The body, to be sent as JSON.
        form: The body, to be sent as a form (``application/x-www-form-urlencoded``), instead of ``json``.
        headers: Further headers by their lower-case names, such as the ``authorization`` of this call.
        authorization: What authorizes this call: the key of its provider, or a proof that is made anew for each
            attempt.
        judge: Says what a reply is; ``None``: the neutral judge of :mod:`moonkey_core._transport.replies`, for
            which a JSON object is a reply of the service.
        idempotent: Whether sending it twice does no harm (RFC 9110 section 9.2.2).
        coalesce_key: Calls with the same key that overlap become one call.
        ttl: For how many seconds the outcome of that call is handed out again, if it is a success by ``judge``.
        reuse_refusals: Whether it also holds for a refusal.
        reuse_failures: Whether it also holds for a failure of the API or of the connection.
        until_revoked: Whether no outcome is shared or reused any more after a call with ``revokes``, of whichever
            client of this process.
        revokes: Whether the call ends sessions.
        timeout: Seconds for the whole call; it can shorten the deadline of the plan.
        own_deadline: Whether ``timeout`` replaces the deadline of the plan, for plans that make many calls.
        pause: Seconds to wait before the first attempt, for plans that no request waits for.
        max_bytes: The largest reply that is read.
        operation: The name of the call in events.
        priority: Whether the call goes before others where calls have to wait, as its credential was accepted
            before.
        verifies: Whether the call verifies a credential, and so takes from the budget of calls, if there is one.
        uses_breaker: Whether its failures count for the circuit breaker, which may then refuse it.
        store_policy: How the reply is loaded from and kept in the shared store, if there is one.
        trace_headers: What the trace of one attempt adds, such as ``traceparent``. It replaces no other header.
    """

    method: Literal["GET", "POST", "DELETE"]
    url: str = field(repr=False)  # it can name a user, or hold a secret in its query
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    authorization: CallAuthorization | None = field(default=None, repr=False)
    judge: ReplyJudge | None = field(default=None, repr=False)
    idempotent: bool = True
    coalesce_key: str | None = None
    ttl: float = 0.0
    reuse_refusals: bool = True
    reuse_failures: bool = False
    until_revoked: bool = False
    revokes: bool = False
    timeout: float | None = None
    own_deadline: bool = False
    pause: float = 0.0
    max_bytes: int = 1024 * 1024
    operation: str = "call"
    priority: bool = False
    verifies: bool = False
    uses_breaker: bool = True
    store_policy: StorePolicy | None = None
    trace_headers: Mapping[str, str] | None = None

    @property
    def closes_connection(self) -> bool:
        """Whether the connection is closed after the call.

        The body of a ``DELETE`` has no defined meaning (RFC 9110 section 9.3.5). A proxy that expects none reads
        the body as the next request, and its reply to that would be taken for the reply to our next call.
        """
        return self.method == "DELETE" and self.json is not None

    @property
    def address(self) -> str:
        """The server that is called, for logs and errors: scheme, host and port, without path and query."""
        end = self.url.find("/", len("https://"))  # the scheme comes from the settings, which check it
        return _address((self.url if end < 0 else self.url[:end]).partition("?")[0])


@lru_cache(16)
def _address(origin: str) -> str:
    scheme, _, rest = origin.partition("://")
    host = rest.rpartition("@")[2]
    has_port = ":" in host.rpartition("]")[2]
    return f"{scheme}://{host}" if has_port else f"{scheme}://{host}:{443 if scheme == 'https' else 80}"


@dataclass(frozen=True, slots=True, eq=False)
class StorePolicy:
    """How a reply is kept in the store that the processes of an app share.

    Only a reply with status 200 is kept.

    Attributes:
        name: A digest that stands for the request.
        max_age: How old a reply from the store may be, in seconds.
        clean: Takes all credentials out of a body. Raises ``ValueError`` where it must not be kept.
        read: Whether the store is read before the call. Otherwise it is only written.
        former_name: The digest that stood for the request with the previous secrets, if there are any.
        accepts: Says whether a reply from the store is of use; ``None``: any is.
        claim_seconds: For how long one process has the call to itself, while the others wait for its reply in the
            store. It is as long as the call may take; zero: each process makes the call.
    """

    name: str
    max_age: float
    clean: Callable[[bytes], bytes] = field(repr=False)
    read: bool = True
    former_name: str | None = None
    accepts: Callable[[Reply], bool] | None = field(default=None, repr=False)
    claim_seconds: float = 0.0


@dataclass(slots=True)
class Reply:
    """A reply, whatever its status. Not frozen, as is :class:`Fetch`.

    Attributes:
        status: The status.
        headers: The headers by their lower-case names.
        body: The body, decoded from its content coding.
        asked_at: When the API was called (Unix seconds).
        from_store: Whether it comes from the shared store.
        address: The server that was called, for logs and errors.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    asked_at: float = 0.0
    from_store: bool = False
    address: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TransportError:
    """A call without a reply.

    Attributes:
        kind: What happened. ``busy``: too many calls wait already. ``circuit_open``: the API has been failing,
            and is not called for a while. ``over_budget``: the settings allow no more calls now.
        unsent: Whether the request certainly had no effect.
        cause: What went wrong in plain words, for logs and errors.
        address: The server that was called, for logs and errors.
        retry_after: In how many seconds another attempt makes sense; ``None`` where that is not known.
    """

    kind: Literal["connect", "timeout", "broken", "too_large", "busy", "circuit_open", "over_budget"]
    unsent: bool = False
    cause: str = field(default="", compare=False)
    address: str = field(default="", compare=False)
    retry_after: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class AwaitPublished:
    """A step of a plan: wait until Redis has what this plan has revoked. Its outcome is the state.

    Attributes:
        revocation: What was revoked.
        seconds: The longest wait.
    """

    revocation: RevocationHandle
    seconds: float


ClaimState = Literal["held", "taken", "alone"]
"""Who makes a call that the fleet makes once: this process, another one, or each (as the store cannot tell)."""

ReplyJudge = Callable[[Reply], ReplyClass]
Outcome = Reply | TransportError
Plan = Generator[Fetch, Outcome, T]
RevokingPlan = Generator[Fetch | AwaitPublished, Any, T]
"""A plan that also waits until what it has revoked is published."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How many attempts are allowed within a time.

    Attributes:
        kind: The kind of attempt: a short constant.
        value: The subject whose attempts are counted together, such as an address. Only a keyed digest is kept.
        most: The number of attempts that are allowed.
        seconds: The length of the window.
        is_of_app: Whether it is one count of the whole app, which no other count may push out.
    """

    kind: str
    value: str = field(repr=False)
    most: int
    seconds: float
    is_of_app: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CountAttempt:
    """A step of the plans of the ready-made routes: change or read the counts of attempts.

    Attributes:
        step: ``count`` counts the attempt for all limits, or for none where one of them is reached; ``undo`` takes
            that back; ``read`` changes nothing; ``forget`` sets the counts to zero.
        limits: What is counted.
        id: Stands for the attempt.
    """

    step: Literal["count", "undo", "read", "forget"]
    limits: tuple[Limit, ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """The outcome of a :class:`CountAttempt`.

    Attributes:
        used: For each of its limits, the number of attempts in its window.
        reached: The limit because of which the attempt was not counted, if there is one.
        wait: In how many seconds that limit allows another attempt.
    """

    used: tuple[int, ...] = ()
    reached: Limit | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RecordStep:
    """A step of a plan: read, write or remove a record in the shared store.

    Attributes:
        step: ``get`` reads all keys, ``put`` writes them, ``drop`` removes them.
        keys: The keys: keyed digests, one for each secret.
        values: What is written, sealed, under each of the keys.
        ttl: The seconds after which the store drops it.
    """

    step: Literal["get", "put", "drop"]
    keys: tuple[str, ...]
    values: tuple[bytes, ...] = field(default=(), repr=False)
    ttl: float = 0.0


@dataclass(frozen=True, slots=True)
class RecordReply:
    """The outcome of a :class:`RecordStep`: what was found for each of the keys, and whether the store is lost."""

    found: tuple[bytes | None, ...] = field(default=(), repr=False)
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A step of the plans of the ready-made routes: wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The return value of a generator."""

    value: T


def step(generator: Generator[Yielded, Any, T], value: object) -> Yielded | Done[T]:
    """Send ``value`` into a generator, and return what it yields next, or its result.

    ``StopIteration`` is read here and nowhere else, with no foreign code in between: one that leaks out of a
    transport must never be taken for a verified result.
    """
    try:
        return next(generator) if value is None else generator.send(value)
    except StopIteration as stop:
        return Done(stop.value)


def run(plan: Generator[Yielded, Any, T], exchange: Callable[[Yielded], object]) -> T:
    """Run a plan to its result. ``exchange`` makes each call."""
    current = step(plan, None)
    try:
        while not isinstance(current, Done):
            current = step(plan, exchange(current))
    finally:
        plan.close()  # where a call raises, the plan cleans up now, and not when its memory is freed
    return current.value


async def arun(plan: Generator[Yielded, Any, T], exchange: Callable[[Yielded], Awaitable[object]]) -> T:
    """Run a plan to its result. Each call is awaited; a plan without a call does not suspend."""
    current = step(plan, None)
    try:
        while not isinstance(current, Done):
            current = step(plan, await exchange(current))
    finally:
        plan.close()  # also where the task is cancelled
    return current.value
