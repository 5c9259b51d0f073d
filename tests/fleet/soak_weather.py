"""What goes wrong around the fleet, at random: the API and Redis, killed, hanging, or talking nonsense."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from fleet.soak_figures import Figures
from fleet.soak_model import Outages
from fleet.soak_people import NO_ANSWER

from support.fleets import Line, Server
from support.redis_server import RedisServer

_CALM = (2.0, 8.0)  # seconds between two troubles
_API_TROUBLE, _REDIS_TROUBLE = (0.3, 5.0), (0.3, 8.0)
_SAMPLE = 0.5
_UNTIL_LOST = 1.0  # so long Redis is away before anybody minds

_FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503, "headers": {"Retry-After": "1"}},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "reset": {"reset": True},
    "a proxy's 404": {"status": 404, "headers": {"Content-Type": "text/html"}, "body": "<html>not here</html>"},
    "a proxy's 401": {"status": 401, "headers": {"Content-Type": "text/html"}, "body": "<html>sign in</html>"},
    # Not for revocations: who says that one is done, in so many words, has to be believed.
    "an empty 200": {"status": 200, "body": "{}", "path": "/v1/auth/sessions/verify"},
    "half a 200": {"status": 200, "body": '{"session": {"id": "sess_'},
    "a slow answer": {"delay": 0.3},
}


class Weather:
    """Each of the two ``…_until`` runs in a thread of its own, and leaves everything well."""

    def __init__(
        self,
        seed: int,
        emulator: Server,
        server: RedisServer,
        figures: Figures,
        upstream: Outages,
        redis: Outages,
    ) -> None:
        self.upstream, self.redis = upstream, redis
        self._api_rng, self._redis_rng = random.Random(seed), random.Random(seed + 1)
        self._emulator = emulator
        self._server = server
        self._figures = figures

    def upset_api_until(self, stopped: threading.Event) -> None:
        """Trouble with the API."""
        rng = self._api_rng
        troubles: list[Callable[[threading.Event], None]] = [
            self._api_killed,
            self._api_killed,
            self._api_hanging,
            lambda stopped: self._api_faulty(stopped, rng.choice(list(_FAULTS))),
            lambda stopped: self._api_faulty(stopped, rng.choice(list(_FAULTS))),
        ]
        while not stopped.wait(rng.uniform(*_CALM)):
            self.upstream.begin()
            rng.choice(troubles)(stopped)
            self.upstream.end()

    def upset_redis_until(self, stopped: threading.Event) -> None:
        """Trouble with Redis."""
        rng = self._redis_rng
        usual = [self._redis_killed, self._redis_hanging]
        troubles = [*usual * 2, self._redis_without_streams, self._redis_emptied]
        while not stopped.wait(rng.uniform(*_CALM)):
            self.redis.begin()
            rng.choice(troubles)(stopped)
            self.redis.end()

    def count_calls_until(self, stopped: threading.Event) -> None:
        """Count the calls that the API gets, in pieces of time in which nothing has changed."""
        line = Line(self._emulator.port)
        before: tuple[float, int] | None = None
        while not stopped.wait(_SAMPLE):
            now = time.monotonic()
            found = self._calls(line)
            if before is not None and found is not None and found >= before[1]:
                self._count(before[0], now, found - before[1])
            before = None if found is None else (now, found)
        line.close()

    def _count(self, begun: float, ended: float, calls: int) -> None:
        away = self.redis.last_throughout(begun - _UNTIL_LOST, ended)
        if not self.upstream.touch(begun, ended, recovery=1.0) and (away or not self.redis.touch(begun, ended)):
            self._figures.note_calls(away, calls, ended - begun)

    @staticmethod
    def _calls(line: Line) -> int | None:
        try:
            answer = line.get("/_emulator/requests")
        except NO_ANSWER:
            return None
        calls: dict[str, int] = answer.body
        return sum(count for name, count in calls.items() if name != "in_flight_max")

    def _api_killed(self, stopped: threading.Event) -> None:
        self._figures.note_action("API killed")
        self._emulator.kill()
        stopped.wait(self._api_rng.uniform(*_API_TROUBLE))
        self._emulator.start()

    def _api_hanging(self, stopped: threading.Event) -> None:
        self._figures.note_action("API hanging")
        self._emulator.pause()
        stopped.wait(self._api_rng.uniform(*_API_TROUBLE))
        self._emulator.resume()

    def _api_faulty(self, stopped: threading.Event, what: str) -> None:
        self._figures.note_action(f"API with {what}")
        line = Line(self._emulator.port)
        line.post("/_emulator/faults", {"path": "/v1", **_FAULTS[what]})
        stopped.wait(self._api_rng.uniform(*_API_TROUBLE))
        # Nothing else sets any: a restart takes them all down.
        line.delete("/_emulator/faults")
        line.close()

    def _redis_killed(self, stopped: threading.Event) -> None:
        self._figures.note_action("Redis killed")
        self._server.kill()
        stopped.wait(self._redis_rng.uniform(*_REDIS_TROUBLE))
        self._server.start()

    def _redis_hanging(self, stopped: threading.Event) -> None:
        self._figures.note_action("Redis hanging")
        self._server.pause()
        stopped.wait(self._redis_rng.uniform(*_REDIS_TROUBLE))
        self._server.resume()

    def _redis_without_streams(self, stopped: threading.Event) -> None:
        """It answers, but not the feed: what it stores goes on being read."""
        self._figures.note_action("Redis without streams")
        self._server.client.execute_command("ACL", "SETUSER", "default", "-@stream")
        stopped.wait(self._redis_rng.uniform(*_REDIS_TROUBLE))
        self._server.client.execute_command("ACL", "SETUSER", "default", "+@all")

    def _redis_emptied(self, _: threading.Event) -> None:
        self._figures.note_action("Redis emptied")
        self._server.client.flushall()
