"""The mock service seen from a measurement: start it, set it, read its counts, end it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = Path(__file__).with_name("upstream.py")


class Upstream:
    """The mock of ``upstream.py``, as a context manager. Delays are seconds."""

    def __init__(self, jwks: dict[str, Any] | None = None, *, delay: float = 0.0, jwks_delay: float = 0.0) -> None:
        self._first = {"delay": delay, "jwks_delay": jwks_delay, **({"jwks": jwks} if jwks else {})}

    def __enter__(self) -> Self:
        command = [sys.executable, str(PROGRAM)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.set(**self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def jwks_url(self) -> str:
        """Where the key set is."""
        return f"{self.url}/v1/auth/jwks/default"

    def set(self, **wish: Any) -> None:
        """Change ``delay``, ``jwks_delay``, ``jwks``; ``reset=True`` forgets the counts."""
        self._ask("/_set", json.dumps(wish).encode())

    def count(self, what: str) -> int:
        """How often ``verify``, ``jwks``, ``delete`` or ``connections`` has happened since the last reset."""
        return int(self._ask("/_counts", None).get(what, 0))

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=body), timeout=10) as reply:
            found: dict[str, Any] = json.load(reply)
        return found
