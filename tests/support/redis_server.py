"""A real redis-server of the test's own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from support.patience import PATIENCE
from support.ports import quiet_port

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


def need_redis() -> None:
    """Skip the test where there is no server to run; fail where there must be one."""
    if PROGRAM is None:
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail("redis-server is missing, and TESTS_SKIP_NOTHING is set: install it")
        pytest.skip("redis-server (or valkey-server) is not installed")


class RedisServer:
    """Keeps nothing on disk. Stopped, killed, paused and started again by process id; the port stays the same."""

    def __init__(self, port: int | None = None) -> None:
        self.port: int = port or quiet_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None
        self._directory = tempfile.TemporaryDirectory(prefix="redis-")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()

    @property
    def client(self) -> Any:
        """A plain client, to look into the server."""
        if self._client is None:
            self._client = redis.Redis(port=self.port, socket_timeout=5, protocol=2)
        return self._client

    def start(self, *options: str) -> None:
        """Start it with an empty memory; returns once it answers."""
        assert PROGRAM is not None
        assert self._process is None
        with Path(self._directory.name, "log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, *self.arguments(), *options], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.005)

    def arguments(self) -> list[str]:
        """Return the arguments that it is started with, beside those of a test."""
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory.name]
        return [*place, "--save", "", "--appendonly", "no"]

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None

    def stop(self) -> None:
        """End it in good order."""
        self._signalled(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signalled(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.RedisError:
            return False

    def _signalled(self, number: int) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None
