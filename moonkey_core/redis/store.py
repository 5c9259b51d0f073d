"""Replies about verified credentials, and the key set, shared by the processes of a fleet.

The loss of Redis is never an error: a look-up finds nothing then, and nothing is stored.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from moonkey_core import _clock, _threads
from moonkey_core._crypto import Secrets, sealer_of, secrets_of
from moonkey_core._dataclass import dataclass
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import ClaimState, CountAttempt, Counts, RecordReply, RecordStep, Reply, StorePolicy
from moonkey_core._transport.event_loops import CloseOnLoopShutdown
from moonkey_core.errors import ConfigurationError
from moonkey_core.redis.attempts import AttemptScript
from moonkey_core.redis.client import check_url, response_error, time_limit
from moonkey_core.redis.store_client import AsyncStoreClient, BlockingStoreClient
from moonkey_core.redis.trouble import explain, is_elsewhere
from moonkey_core.settings import Secret, Settings

logger: logging.Logger = logging.getLogger("moonkey")

TIMEOUT = 0.25
"""Seconds that a look-up may take: it comes before a call of the API, which takes longer."""

MAX_RECORD_BYTES = 1024
"""The longest record that is read; ours are a quarter of it."""

_MAX_CONNECTIONS = 8  # a round trip takes a fraction of a millisecond
_RETRY_SECONDS = 1.0  # without a call after a failure
_MAX_BODY_BYTES = 512 * 1024  # the largest are key sets
_OVERHEAD_BYTES = 64  # of the seal and the time
_MAX_CLOCK_AHEAD = 5.0  # seconds that the clock of another machine may be ahead
_ASKED_AT = struct.Struct(">d")

_inherited: list[object] = []
"""Clients of a parent process: freeing them would close the connections that are shared with it."""


@dataclass(frozen=True, slots=True)
class SerializedReply:
    """What is stored: the key in Redis, the sealed reply, and the milliseconds after which Redis drops it."""

    key: str
    sealed: bytes
    ttl_ms: int


class StoreSerializer:
    """The conversion between replies and their stored form in Redis. Makes no network call.

    Args:
        settings: The settings of the client.
        clock: Returns the time (Unix seconds).
        former: The previous secrets, to read what was stored with them; else the current ones are used.
    """

    max_bytes = _MAX_BODY_BYTES + _OVERHEAD_BYTES

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = _clock.wall, former: Secrets | None = None
    ) -> None:
        self._sealer = sealer_of((former or secrets_of(settings)[0]).fleet, settings, "store")
        self._is_former = former is not None
        self._clock = clock

    def key(self, policy: StorePolicy) -> str:
        """Return the key in Redis: a keyed digest, so that equal names differ between two environments."""
        former = policy.former_name if self._is_former else None
        return f"moonkey:store:{self._sealer.digest(former or policy.name)}"

    def claim_key(self, policy: StorePolicy) -> str:
        """Return the key in Redis of the claim to a call: it stands beside that of its reply."""
        return f"{self.key(policy)}:claim"

    def range(self, policy: StorePolicy) -> tuple[str, int, int]:
        """Return the arguments of ``GETRANGE`` for a reply: a value that is too long to be ours is not fetched."""
        return self.key(policy), 0, self.max_bytes

    def serialize(self, policy: StorePolicy, reply: Reply) -> SerializedReply | None:
        """Return what to store for a reply, or ``None`` where it must not be stored."""
        left = policy.max_age - (self._clock() - reply.asked_at)
        if reply.status != 200 or reply.from_store or not 0.001 <= left <= policy.max_age + _MAX_CLOCK_AHEAD:
            return None
        try:
            body = policy.clean(reply.body)
        except ValueError:
            return None
        if len(body) > _MAX_BODY_BYTES:
            return None
        key = self.key(policy)
        sealed = self._sealer.seal(key, _ASKED_AT.pack(reply.asked_at) + body)
        return SerializedReply(key, sealed, int(left * 1000))

    def deserialize(self, policy: StorePolicy, sealed: object) -> Reply | None:
        """Return the reply in what Redis returned; ``None`` for anything else, or a reply that is too old."""
        if not isinstance(sealed, bytes) or len(sealed) > self.max_bytes:
            return None
        try:
            data = self._sealer.open(self.key(policy), sealed)
            (asked_at,) = _ASKED_AT.unpack_from(data)
        except (ValueError, struct.error):
            return None
        if not -_MAX_CLOCK_AHEAD <= self._clock() - asked_at <= policy.max_age:  # also false for NaN
            return None
        return Reply(200, {}, data[_ASKED_AT.size :], asked_at=asked_at, from_store=True)


class Availability:
    """Whether to call Redis. After a failure no call is made for a second; then one caller tries for all."""

    def __init__(self, clock: Callable[[], float] = _clock.monotonic, *, name: str = "store") -> None:
        self._clock = clock
        self._name = name  # for the log
        self._lost = False
        self._retry_at = 0.0
        self.reset_lock()
        reset_after_fork(self.reset_lock)

    def reset_lock(self) -> None:
        """Make a new lock in the child of a fork."""
        self._lock = threading.Lock()

    def allows_call(self) -> bool:
        """Return whether to call Redis now. Then report the outcome by :meth:`succeeded` or :meth:`failed`."""
        if not self._lost:
            return True
        now = self._clock()
        with self._lock:
            if now < self._retry_at:
                return False
            self._retry_at = now + _RETRY_SECONDS
            return True

    def succeeded(self) -> None:
        """Note that Redis has replied."""
        if not self._lost:
            return
        with self._lock:
            was_lost, self._lost = self._lost, False
        if was_lost:
            logger.warning("%s: Redis is back", self._name, extra={"reason": "store_back"})

    def failed(self, error: Exception) -> None:
        """Note a failure. The text of the error is not logged, as it may hold what was sent."""
        with self._lock:
            was_lost, self._lost = self._lost, True
            self._retry_at = self._clock() + _RETRY_SECONDS
        if not was_lost:
            cause = explain(error)
            logger.warning(
                "%s: Redis is lost (%s); going on without%s",
                self._name,
                type(error).__name__,
                f". Cause: {cause}" if cause else "",
                extra={"reason": "store_lost"},
            )


class _StoreBase:
    """What both stores have in common: all but the calls."""

    def __init__(self, settings: Settings) -> None:
        if settings.redis_url is None:
            raise ConfigurationError("MOONKEY_REDIS_URL (redis_url) is missing. A store needs it.")
        check_url(settings.redis_url)
        self._url = settings.redis_url
        self._serializer = StoreSerializer(settings)
        self._former = tuple(StoreSerializer(settings, former=one) for one in secrets_of(settings)[1:])
        self._availability = Availability()
        self._attempts = AttemptScript(settings)
        # Of its own: a server that runs no scripts for us is still a good store.
        self._runs_scripts = Availability(name="counts of sign-in")
        self._takes_claims = Availability(name="claims to fetch the key set")

    def _counts(self, action: CountAttempt, reply: object) -> Counts:
        found = self._attempts.counts(action, reply)
        self._runs_scripts.succeeded()
        return found

    def _claim_command(self, policy: StorePolicy, token: bytes) -> tuple[Any, ...] | None:
        """Return the command that makes a claim, or ``None`` where Redis is not called now."""
        if not (self._availability.allows_call() and self._takes_claims.allows_call()):
            return None
        life = max(int(policy.claim_seconds * 1000), 1)
        return ("SET", self._serializer.claim_key(policy), token, "NX", "PX", life)

    def _claim_state(self, reply: object) -> ClaimState:
        self._availability.succeeded()
        self._takes_claims.succeeded()
        return "taken" if reply is None else "held"

    def _claim_failed(self, error: Exception) -> None:
        """Note a failure: a server that refuses this one command is still a good store."""
        is_refused = isinstance(error, response_error()) and not is_elsewhere(error)
        self._failed(error, self._takes_claims if is_refused else self._availability)

    def _failed(self, error: Exception, availability: Availability | None = None) -> None:
        """Note a failure; ``availability``: of what, if not of the store as a whole."""
        (availability or self._availability).failed(error)
        self._look_again()

    def _look_again(self) -> None:
        """Look for the server again before the next call, where it may be another one."""
        raise NotImplementedError

    def _serialized(self, policy: StorePolicy, reply: Reply) -> SerializedReply | None:
        """Return what to store now, if anything."""
        serialized = self._serializer.serialize(policy, reply)
        return serialized if serialized is not None and self._availability.allows_call() else None

    def _record_commands(self, action: RecordStep) -> list[tuple[Any, ...]]:
        """Return the commands of a step with their arguments, each of one key: a cluster has several nodes."""
        if action.step == "put":
            ttl = max(int(action.ttl * 1000), 1)
            return [("SET", key, one, "PX", ttl) for key, one in zip(action.keys, action.values, strict=True)]
        if action.step == "drop":
            return [("DEL", key) for key in action.keys]
        return [("GETRANGE", key, 0, MAX_RECORD_BYTES) for key in action.keys]

    def _record_reply(self, replies: list[Any]) -> RecordReply:
        self._availability.succeeded()
        return RecordReply(tuple(one if isinstance(one, bytes) and one else None for one in replies))

    @property
    def _serializers(self) -> tuple[StoreSerializer, ...]:
        """The serializers in the order in which a reply is looked for."""
        return (self._serializer, *self._former)

    def _found(self, serializer: StoreSerializer, policy: StorePolicy, sealed: object) -> Reply | None:
        self._availability.succeeded()
        return serializer.deserialize(policy, sealed)


def _set_command(serialized: SerializedReply) -> tuple[Any, ...]:
    return ("SET", serialized.key, serialized.sealed, "PX", serialized.ttl_ms)


class RedisStore(_StoreBase):
    """The store for threads.

    Raises:
        ConfigurationError: redis-py is missing, or ``redis_url`` is missing or wrong.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._lock = _threads.lock()
        self._made: BlockingStoreClient | None = None
        reset_after_fork(self.reset)

    @property
    def _client(self) -> BlockingStoreClient:
        # Made at first use: a server may replace all locks by gevent's after the app was loaded.
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = BlockingStoreClient(self._url, TIMEOUT, _MAX_CONNECTIONS)
        return self._made

    def reset(self) -> None:
        """Use new connections, in the child of a fork."""
        _inherited.append(self._made)
        self._lock, self._made = _threads.lock(), None

    def _look_again(self) -> None:
        if self._made is not None:
            self._made.note_failure()

    def get(self, policy: StorePolicy) -> Reply | None:
        """Return the stored reply, unless it is too old. Makes one round trip, two while a secret is changed."""
        if not self._availability.allows_call():
            return None
        for serializer in self._serializers:
            try:
                sealed = self._client.execute("GETRANGE", *serializer.range(policy))
            except Exception as error:
                self._failed(error)
                return None
            reply = self._found(serializer, policy, sealed)
            if reply is not None:
                return reply
        return None

    def put(self, policy: StorePolicy, reply: Reply) -> None:
        """Store a reply with status 200 for the rest of its time."""
        serialized = self._serialized(policy, reply)
        if serialized is None:
            return
        try:
            self._client.execute(*_set_command(serialized))
        except Exception as error:
            self._failed(error)
        else:
            self._availability.succeeded()

    def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
        """Claim a call for this process. Makes one round trip."""
        command = self._claim_command(policy, token)
        if command is None:
            return "alone"
        try:
            return self._claim_state(self._client.execute(*command))
        except Exception as error:
            self._claim_failed(error)
            return "alone"

    def release(self, policy: StorePolicy, token: bytes) -> None:
        """End a claim, if it is still held; makes two round trips. Otherwise it ends by itself."""
        if not self._availability.allows_call():
            return
        key = self._serializer.claim_key(policy)
        try:
            # If it ends between the two, that of another process ends early: one call more, and no harm.
            if self._client.execute("GETRANGE", key, 0, len(token)) == token:
                self._client.execute("DEL", key)
        except Exception as error:
            self._claim_failed(error)

    def count(self, action: CountAttempt) -> Counts | None:
        """Change or read the counts of attempts; ``None`` where Redis cannot do it. Makes one round trip."""
        if not self._runs_scripts.allows_call():
            return None
        try:
            return self._counts(action, self._client.execute("EVAL", *self._attempts.arguments(action)))
        except Exception as error:
            self._failed(error, self._runs_scripts)
            return None

    def record(self, action: RecordStep) -> RecordReply:
        """Read, write or remove a record. Makes one round trip, two while a secret is changed."""
        if not self._availability.allows_call():
            return RecordReply(is_lost=True)
        try:
            return self._record_reply([self._client.execute(*one) for one in self._record_commands(action)])
        except Exception as error:
            self._failed(error)
            return RecordReply(is_lost=True)

    def close(self) -> None:
        """Close all connections; may be called again."""
        if self._made is not None:
            self._made.close()


class _LoopClient:
    """The client of one event loop, closed as the loop shuts down."""

    def __init__(self, url: Secret) -> None:
        self.client = AsyncStoreClient(url, TIMEOUT, _MAX_CONNECTIONS)
        self._shutdown = CloseOnLoopShutdown(self.close)

    async def ready(self) -> AsyncStoreClient:
        await self._shutdown.arm()
        return self.client

    async def close(self) -> None:
        await self.client.close()


class AsyncRedisStore(_StoreBase):
    """The store for tasks, with a few connections for each event loop.

    Raises:
        ConfigurationError: redis-py is missing, or ``redis_url`` is missing or wrong.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClient] = WeakKeyDictionary()
        reset_after_fork(self.reset)

    def reset(self) -> None:
        """Forget all event loops in the child of a fork: they belong to the parent process."""
        self._lock = threading.Lock()
        _inherited.append(list(self._loops.items()))
        self._loops = WeakKeyDictionary()

    def _look_again(self) -> None:
        self._loop_client().client.note_failure()

    async def get(self, policy: StorePolicy) -> Reply | None:
        """Return the stored reply, unless it is too old. Makes one round trip, two while a secret is changed."""
        if not self._availability.allows_call():
            return None
        for serializer in self._serializers:
            try:
                async with time_limit(TIMEOUT):
                    client = await self._loop_client().ready()
                    sealed = await client.execute("GETRANGE", *serializer.range(policy))
            except Exception as error:
                self._failed(error)
                return None
            reply = self._found(serializer, policy, sealed)
            if reply is not None:
                return reply
        return None

    async def put(self, policy: StorePolicy, reply: Reply) -> None:
        """Store a reply with status 200 for the rest of its time."""
        serialized = self._serialized(policy, reply)
        if serialized is None:
            return
        try:
            async with time_limit(TIMEOUT):
                client = await self._loop_client().ready()
                await client.execute(*_set_command(serialized))
        except Exception as error:
            self._failed(error)
        else:
            self._availability.succeeded()

    async def claim(self, policy: StorePolicy, token: bytes) -> ClaimState:
        """Claim a call for this process. Makes one round trip."""
        command = self._claim_command(policy, token)
        if command is None:
            return "alone"
        try:
            async with time_limit(TIMEOUT):
                client = await self._loop_client().ready()
                return self._claim_state(await client.execute(*command))
        except Exception as error:
            self._claim_failed(error)
            return "alone"

    async def release(self, policy: StorePolicy, token: bytes) -> None:
        """End a claim, if it is still held; makes two round trips. Otherwise it ends by itself."""
        if not self._availability.allows_call():
            return
        key = self._serializer.claim_key(policy)
        try:
            async with time_limit(TIMEOUT):
                client = await self._loop_client().ready()
                # If it ends between the two, that of another process ends early: one call more, and no harm.
                if await client.execute("GETRANGE", key, 0, len(token)) == token:
                    await client.execute("DEL", key)
        except Exception as error:
            self._claim_failed(error)

    async def count(self, action: CountAttempt) -> Counts | None:
        """Change or read the counts of attempts; ``None`` where Redis cannot do it. Makes one round trip."""
        if not self._runs_scripts.allows_call():
            return None
        try:
            async with time_limit(TIMEOUT):
                client = await self._loop_client().ready()
                return self._counts(action, await client.execute("EVAL", *self._attempts.arguments(action)))
        except Exception as error:
            self._failed(error, self._runs_scripts)
            return None

    async def record(self, action: RecordStep) -> RecordReply:
        """Read, write or remove a record. Makes one round trip, two while a secret is changed."""
        if not self._availability.allows_call():
            return RecordReply(is_lost=True)
        try:
            async with time_limit(TIMEOUT):
                client = await self._loop_client().ready()
                return self._record_reply([await client.execute(*one) for one in self._record_commands(action)])
        except Exception as error:
            self._failed(error)
            return RecordReply(is_lost=True)

    async def aclose(self) -> None:
        """Close the connections of every loop that still runs; may be called again."""
        with self._lock:
            loops = dict(self._loops)
            self._loops.clear()
        running = asyncio.get_running_loop()
        for loop, state in loops.items():
            if loop is running:
                await state.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(state.close(), loop)

    def _loop_client(self) -> _LoopClient:
        loop = asyncio.get_running_loop()
        state = self._loops.get(loop)
        if state is None:
            state = _LoopClient(self._url)
            with self._lock:  # loops of several threads share this table
                for other in [other for other in self._loops if other.is_closed()]:
                    del self._loops[other]
                self._loops[loop] = state
        return state
