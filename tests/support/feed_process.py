"""A process of the fleet with nothing but its feed. Lines of JSON tell it what to do, and it answers each by one.

Run as a program it is that process; ``FeedProcess`` starts and tells it.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.patience import PATIENCE

ROOT = Path(__file__).parents[2]


class FeedProcess:
    """One process. The settings are those of the client; what it has logged comes with each answer."""

    def __init__(self, **settings: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.feed_process", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: TracebackType | BaseException | type[BaseException] | None) -> None:
        self.kill()

    def tell(self, what: str, **more: Any) -> dict[str, Any]:
        """Tell it something, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 2 * PATIENCE)
        line = self._process.stdout.readline() if ready else b""
        assert line, "the process has ended, or does not answer"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def state(self) -> dict[str, Any]:
        """Return ``known``, ``live``, ``unsent``, and the reasons of all that was logged."""
        return self.tell("state")

    def pause(self) -> None:
        """Let it hang."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class _Reasons(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.__dict__.get("reason", record.getMessage()))


class _Served:
    """What the process does when it is told."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from moonkey_core import Settings
        from moonkey_core.redis import shared_revocations

        self._reasons = _Reasons()
        logging.getLogger("moonkey").addHandler(self._reasons)
        self._known, feed = shared_revocations(Settings.load(settings, {}))
        assert feed is not None
        self._feed = feed
        self._feed.acquire()
        self._feed.start()

    def state(self) -> dict[str, Any]:
        return {
            "known": len(self._known),
            "live": self._feed.is_live,
            "unsent": self._feed.unsent,
            "reasons": self._reasons.found,
        }

    def add(self, first: int, count: int, name: str = "sess_") -> dict[str, Any]:
        for number in range(first, first + count):
            self._known.add(session_id=f"{name}{number}")
        return {}

    def refuses(self, session_id: str, issued_at: float | None = None) -> dict[str, Any]:
        return {"refuses": self._known.refuses(session_id, "user_innocent", issued_at)}

    def refuses_all(self, first: int, count: int, name: str = "sess_") -> dict[str, Any]:
        numbers = range(first, first + count)
        now = time.time() + 3600  # so that an entry for everybody does not count
        return {"all": all(self._known.refuses(f"{name}{number}", "user_1", now) for number in numbers)}

    def work(self, threads: int, seconds: float) -> dict[str, Any]:
        """Keep the interpreter busy, as with requests."""
        until = time.monotonic() + seconds

        def turn() -> None:
            while time.monotonic() < until:
                sum(range(1000))

        for _ in range(threads):
            threading.Thread(target=turn, daemon=True).start()
        return {}


def main() -> None:
    """Do what each line says."""
    served = _Served(json.loads(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(served, asked.pop("do"))(**asked)), flush=True)


if __name__ == "__main__":
    main()
