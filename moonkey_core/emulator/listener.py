"""An emulator as a running server."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from email.utils import formatdate
from functools import partial
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from moonkey_core.emulator.gateway import Gateway, is_loopback
from moonkey_core.emulator.playback import TRANSPORT
from moonkey_core.emulator.prompt import PromptServer

START_SECONDS = 60.0
IN_PROCESS_PORT = 9  # "discard" (RFC 863): in an address that is never called


# In a tuple and a partial, where freezegun does not find it.
_MONOTONIC = (
    (partial(time.clock_gettime, time.CLOCK_MONOTONIC),) if hasattr(time, "clock_gettime") else (time.monotonic,)
)


class _Protocol(H11Protocol):
    """A protocol that passes the raw connection to the app, for faults that no HTTP server would produce."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Uvicorn's own loggers belong to the process, which may serve other apps with it.
        self.logger = logging.getLogger("moonkey_core.emulator")
        self.access_log = False
        # Otherwise each answer waits some 40 ms for the caller's delayed acknowledgement of its headers.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class _Server(PromptServer):
    """A server that closes all connections when it stops, which ends the calls in progress."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # A test that freezes the clock of the process must not hold up the timers of this thread, nor, as it thaws
        # the clock, leave them where they are never reached.
        asyncio.get_running_loop().time = _MONOTONIC[0]  # type: ignore[method-assign]
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


def _dated(app: ASGIApp) -> ASGIApp:
    """Return an app whose answers have the date of their moment (RFC 9110 section 6.6.1).

    Uvicorn writes one that is up to a second old: of another year, where a test has moved the clock meanwhile.
    """

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name == b"date" for name, _ in headers):  # a fault may have one of its own
                    headers.insert(0, (b"date", formatdate(time.time(), usegmt=True).encode()))
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, sending)

    return dated


class Listener(ABC):
    """An emulator on a socket of this machine. A subclass says what it serves."""

    def __init__(self, host: str, port: int, allow_remote: bool) -> None:
        if not allow_remote and not is_loopback(host):
            raise ValueError(f"{host} can be reached by other machines; allow_remote must be set for that")
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._is_in_process = False
        self._answers_in_process = False

    @abstractmethod
    def _app(self, any_host: bool) -> Gateway:
        """Return the app to serve. ``any_host``: whether its control interface accepts any ``Host``."""

    def _reached(self) -> None:  # noqa: B027 most emulators do not write their own address
        """Take in ``base_url``, which is known from now on."""

    def _closed(self) -> None:  # noqa: B027 most emulators hold nothing else
        """Release what is left when the server has stopped for good."""

    @property
    def port(self) -> int:
        """The port; known once started."""
        return self._port

    @property
    def base_url(self) -> str:
        """The root of the API, before ``/v1``; known once started."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 read, not bound
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether it listens now, or answers in the process."""
        return self._answers_in_process or (self._thread is not None and self._thread.is_alive())

    def start(self) -> Self:
        """Listen, in a daemon thread. Returns when requests are served.

        Raises:
            OSError: The port is taken.
        """
        self._answers_in_process = self._is_in_process
        if self.running:
            return self
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family, backlog=512)
        except OSError as error:
            text = f"{error.strerror}. Stop what listens there, or leave the port out: a free one is taken then"
            raise OSError(error.errno, text) from error
        self._port = listener.getsockname()[1]
        self._reached()
        config = uvicorn.Config(
            _dated(self._app(any_host=not is_loopback(self._host))),
            http=_Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="moonkey-emulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(START_SECONDS):
            raise RuntimeError("The emulator did not start")
        return self

    def in_process(self) -> Gateway:
        """Return the ASGI app, for tests that open no socket. From then on nothing listens at ``base_url``.

        ``stop`` and ``start`` change what ``running`` says, and the caller of the app has to ask that.

        Raises:
            RuntimeError: It listens already.
        """
        if self._thread is not None:
            raise RuntimeError("The emulator listens already")
        self._is_in_process = self._answers_in_process = True
        self._port = self._port or IN_PROCESS_PORT
        self._reached()
        return self._app(any_host=False)

    def stop(self) -> None:
        """Stop answering and drop all connections. ``start`` listens again, on the same port."""
        self._answers_in_process = False
        if self._server and self._thread:
            self._server.end()
            self._thread.join(START_SECONDS)
        self._server = self._thread = None

    def close(self) -> None:
        """Stop for good, and close the state file, if there is one. Further calls have no effect."""
        self.stop()
        self._closed()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
