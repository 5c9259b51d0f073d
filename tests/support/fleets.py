"""Real servers as processes of their own, with their workers, and connections that stay with one worker."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from support.patience import PATIENCE
from support.ports import quiet_port
from support.redis_server import RedisServer
from support.scripted import wait_until

APPS = Path(__file__).parents[1] / "fleet"
WORKER_HEADER = "x-worker"  # each answer of the apps says which process gave it

_START_SECONDS = PATIENCE
_STOP_SECONDS = PATIENCE
_TIMEOUT = PATIENCE  # of one request: longer than any deadline inside a worker


@dataclass(frozen=True)
class Answer:
    """What a worker said. ``sent_at`` and ``came_at`` are monotonic seconds: it was decided in between."""

    status: int
    worker: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(repr=False)
    sent_at: float
    came_at: float
    set_cookies: tuple[str, ...] = field(default=(), repr=False)


class Line:
    """One kept-alive connection, and so one worker, for as long as it lasts. Not for several threads."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
        self._used = False

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._ask("GET", path, None, headers or {})

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def delete(self, path: str) -> Answer:
        return self._ask("DELETE", path, None, {})

    def close(self) -> None:
        self._http.close()
        self._used = False

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        sent_at = time.monotonic()
        try:
            try:
                response = self._response(method, path, body, headers)
            except (ConnectionError, http.client.BadStatusLine):
                if not self._used:
                    raise
                self.close()  # a server may hang up on an idle connection at any time
                response = self._response(method, path, body, headers)
            raw = response.read()
        except BaseException:
            self.close()
            raise
        self._used = not response.will_close
        found = {name.lower(): value for name, value in response.getheaders()}
        worker = int(found.get(WORKER_HEADER, "0"))
        cookies = tuple(response.headers.get_all("set-cookie", ()))
        return Answer(response.status, worker, _json_of(raw), found, sent_at, time.monotonic(), cookies)

    def _response(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        self._http.request(method, path, body, dict(headers))
        return self._http.getresponse()


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def _json_of(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Server:
    """A server on a port of 127.0.0.1, in a process group of its own: it is ended with all its children.

    ``command`` is what follows ``python -m``. Of this process's environment it sees nothing but ``environ``;
    it may import what the tests share.
    """

    def __init__(self, port: int, command: list[str], environ: Mapping[str, str]) -> None:
        self.port = port
        self._command = [sys.executable, "-m", *command]
        self._environ = {
            "PATH": "",
            "PYTHONPATH": str(APPS.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environ,
        }
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed on exit; appended to, so it can be read
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._log.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; returns once it takes connections."""
        assert self._process is None
        self._process = subprocess.Popen(
            self._command, cwd=APPS, env=self._environ, stdout=self._log, stderr=self._log, start_new_session=True
        )
        if not wait_until(lambda: self._listens() or self._has_ended(), _START_SECONDS) or self._has_ended():
            self.kill()
            raise RuntimeError(f"{self._command[2]} did not start:\n{self.log()}")

    def stop(self) -> None:
        """End it in good order, or by force where it takes too long."""
        if self._process is None:
            return
        try:
            os.kill(self.pid, signal.SIGTERM)
            os.kill(self.pid, signal.SIGCONT)
            wait_until(self._has_ended, _STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and all its children at once."""
        if self._process is None:
            return
        process, self._process = self._process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_SECONDS)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self, length: int = 4000) -> str:
        """The end of what it has printed."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(end - length, 0))
        return self._log.read().decode(errors="replace")

    def _has_ended(self) -> bool:
        # It is not waited for here: until then its id, which is that of its group, is given to nobody else.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def gevent_workers(environ: Mapping[str, str], *, workers: int, preload: bool) -> Server:
    """gunicorn with its gevent workers."""
    port = quiet_port()
    command = [
        *("gunicorn", f"--workers={workers}", "--worker-class=gevent", "--keep-alive=60"),
        *("--graceful-timeout=5", f"--bind=127.0.0.1:{port}", "--log-level=error", "--no-control-socket"),
        *(["--preload"] if preload else []),
        "fleet.gevent_app:app()",
    ]
    return Server(port, command, {**environ, "PYTHONPATH": ".."})


def gunicorn(environ: Mapping[str, str], *, workers: int, threads: int = 8) -> Server:
    """The Flask app, loaded before the workers are forked."""
    port = quiet_port()
    command = [
        *("gunicorn", "--preload", f"--workers={workers}", "--worker-class=gthread", f"--threads={threads}"),
        *("--keep-alive=60", "--graceful-timeout=5", f"--bind=127.0.0.1:{port}", "--log-level=error"),
        *("--no-control-socket", "fleet_app:flask_app()"),
    ]
    return Server(port, command, environ)


def uvicorn(environ: Mapping[str, str], *, workers: int) -> Server:
    """The Starlette app."""
    port = quiet_port()
    command = [
        *("uvicorn", "--factory", f"--workers={workers}", "--host=127.0.0.1", f"--port={port}"),
        *("--timeout-keep-alive=60", "--timeout-graceful-shutdown=5", "--log-level=error", "--no-access-log"),
        "fleet_app:starlette_app",
    ]
    return Server(port, command, environ)


class WorkerGone(Exception):
    """The connection led to another worker: the one it was made to has ended."""


class Worker:
    """One worker of a server, by its process id."""

    def __init__(self, pid: int, line: Line) -> None:
        self.pid = pid
        self._line = line

    def get(self, path: str, credential: str | None = None) -> Answer:
        return self._own(self._line.get(path, bearer(credential) if credential else None))

    def post(self, path: str, **body: Any) -> Answer:
        return self._own(self._line.post(path, body))

    def accepts(self, credential: str) -> Answer | None:
        """Its answer to a request with this credential, if it is let in."""
        answer = self.get("/me", credential)
        assert answer.status in (200, 401), answer
        return answer if answer.status == 200 else None

    def _own(self, answer: Answer) -> Answer:
        if answer.worker != self.pid:
            raise WorkerGone(self.pid)
        return answer


def workers_of(server: Server, count: int, stack: ExitStack) -> list[Worker]:
    """A connection to each of so many workers, closed by ``stack``. They take new ones as chance has it."""
    found: dict[int, Worker] = {}
    deadline = time.monotonic() + _START_SECONDS
    while len(found) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(found)} of {count} workers were found:\n{server.log()}")
        line = Line(server.port)
        try:
            pid = line.get("/worker").worker
        except (OSError, http.client.HTTPException):
            line.close()
            time.sleep(0.02)  # not up yet, or about to end
            continue
        if pid in found:
            line.close()
        else:
            found[pid] = Worker(pid, line)
            stack.callback(line.close)
    return list(found.values())


def quiet_redis() -> RedisServer:
    """A redis-server, not started yet, on a port where it can come back after an outage."""
    server = RedisServer()
    server.port = quiet_port()
    server.url = f"redis://127.0.0.1:{server.port}/0"
    return server
