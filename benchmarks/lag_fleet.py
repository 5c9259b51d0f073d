"""Two processes of one app behind ports of their own, the API as a process beside them, and a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import aiohttp
from redis_process import RedisProcess

from moonkey_core.emulator import Emulator

HERE = Path(__file__).resolve().parent
PATIENCE = 90.0  # seconds until a server has to answer, or a feed has to be known as live or lost
APP = "lag_app:application"
SERVERS: dict[str, tuple[str, list[str]]] = {  # the app, and its server with one worker: a port is a process
    "gunicorn + Flask": (
        "flask",
        [
            *("gunicorn", "--bind=127.0.0.1:{port}", "--worker-class=gthread", "--threads=48", "--keep-alive=60"),
            *("--graceful-timeout=1", "--log-level=error", "--no-control-socket", APP),
        ],
    ),
    "uvicorn + FastAPI": ("fastapi", ["uvicorn", "--port={port}", "--no-access-log", "--log-level=error", APP]),
    "hypercorn + Starlette": ("starlette", ["hypercorn", "--bind=127.0.0.1:{port}", "--log-level=error", APP]),
}


class Api:
    """The emulator in a process of its own, and its control interface."""

    def __enter__(self) -> Self:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_emulate, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(PATIENCE):
            self.__exit__()
            raise RuntimeError("the emulator does not start")
        self.url, self.secret_key, self.issuer = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    async def order(self, http: aiohttp.ClientSession, name: str, **what: Any) -> Any:
        """One call of the control interface."""
        async with http.post(f"{self.url}/_emulator/{name}", json=what) as response:
            text = await response.text()
            if response.status >= 300:
                raise RuntimeError(f"the emulator refuses {name}: {text}")
            return json.loads(text) if text else None


def _emulate(pipe: Connection) -> None:
    with Emulator() as emulator, suppress(EOFError):
        pipe.send((emulator.base_url, emulator.secret_key, emulator.issuer))
        pipe.recv()


class Server:
    """One process of the app."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        app, command = SERVERS[name]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = {**os.environ, "BENCH_APP": app, "BENCH_OPTIONS": json.dumps(options)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=self.port) for part in command)],
            cwd=HERE,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    async def health(self, http: aiohttp.ClientSession) -> Any:
        """What the process says of itself."""
        async with http.get(f"{self.url}/health") as response:
            return await response.json()

    async def answers(self, http: aiohttp.ClientSession) -> Any:
        """Wait until it answers."""
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            with suppress(aiohttp.ClientError):
                return await self.health(http)
            await asyncio.sleep(0.1)
        raise RuntimeError(f"a server does not answer: {self._said()}")

    async def becomes(self, http: aiohttp.ClientSession, feed: str) -> None:
        """Wait for a state of its feed."""
        end = time.monotonic() + PATIENCE
        while (found := (await self.health(http))["feed"]) != feed:
            if time.monotonic() > end:
                raise RuntimeError(f"the feed of a server is {found}, and does not become {feed}")
            await asyncio.sleep(0.05)

    def end(self) -> None:
        """End the process, and those that it has started."""
        self._process.terminate()
        try:
            self._process.wait(8)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-300:].decode(errors="replace")


class Fleet:
    """Two processes with the same settings, and their Redis if they have one."""

    def __init__(self, server: str, options: dict[str, Any], api: Api, *, has_feed: bool) -> None:
        self._redis = RedisProcess() if has_feed else None
        if self._redis is not None:
            self._redis.__enter__()
            options = {**options, "redis_url": self._redis.url}
        options = {"secret_key": api.secret_key, "base_url": api.url, **options}
        self._api = api
        self.asked, self.other = (Server(server, options) for _ in range(2))
        self.lag: dict[str, dict[str, float]] = {}

    async def start(self, http: aiohttp.ClientSession) -> None:
        """Wait until both answer, and hear the feed if there is one."""
        person = await self._api.order(http, "sign-in")
        for server in (self.asked, self.other):
            self.lag = (await server.answers(http))["lag"]
            headers = {"authorization": f"Bearer {person['session_jwt']}"}
            async with http.get(f"{server.url}/me", headers=headers) as response:
                if response.status != 200:
                    raise RuntimeError(f"a good credential is answered {response.status}")
        if self._redis is not None:
            await asyncio.gather(*(one.becomes(http, "live") for one in (self.asked, self.other)))

    def kill_redis(self) -> None:
        """Cut both off from the feed, and from each other."""
        assert self._redis is not None
        self._redis.__exit__(None, None, None)
        self._redis = None

    async def notices(self, http: aiohttp.ClientSession) -> None:
        """Wait until both know that the feed is lost."""
        await asyncio.gather(*(one.becomes(http, "lost") for one in (self.asked, self.other)))

    def end(self) -> None:
        """End all of it."""
        for server in (self.asked, self.other):
            server.end()
        if self._redis is not None:
            self._redis.__exit__(None, None, None)
