"""A mock of the service, as a process of its own: small, fast, and honest about what it was asked.

``python upstream.py`` listens on a free port of 127.0.0.1, prints it, and ends when its standard input does.
It is raw asyncio without a framework, so that it is not what limits a measurement.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

REFUSAL = b'{"error":{"code":"invalid_session","message":"Session not found or has expired"}}'
NOBODY = b'{"error":{"code":"user_not_found","message":"No such user"}}'
CLAIM = "https://streambird.io/jwt/session"
SESSION = (
    '{"session":{"id":"sess_%(n)s","user_id":"user_%(n)s","started_at":%(start)d,"expires_at":%(end)d,'
    '"last_active_at":%(start)d,"factors":[{"type":"otp","delivery_channel":"email","last_verified_at":%(start)d}],'
    '"device_info":{"user_agent":"Mozilla/5.0","ip_address":"192.0.2.1"},"created_at":%(start)d},'
    '"user":{"id":"user_%(n)s","email":"user%(n)s@example.com","first_name":"Ada","last_name":"Example"}}'
)
PEER_SESSION = (  # what the SDK of another service expects; about as long
    '{"status_code":200,"request_id":"r","session_token":"%(n)s","session_jwt":"","session":{"session_id":"sess_%(n)s",'
    '"user_id":"user_%(n)s","authentication_factors":[],"roles":[],"started_at":"2030-01-01T00:00:00Z",'
    '"last_accessed_at":"2030-01-01T00:00:00Z","expires_at":"2035-01-01T00:00:00Z"},"user":{"user_id":"user_%(n)s",'
    '"emails":[],"status":"active","phone_numbers":[],"webauthn_registrations":[],"providers":[],"totps":[],'
    '"crypto_wallets":[],"biometric_registrations":[],"is_locked":false,"roles":[]}}'
)
PEER_REFUSAL = (
    b'{"status_code":404,"request_id":"r","error_type":"session_not_found","error_message":"no","error_url":"u"}'
)


@dataclass
class State:
    """What the mock answers with, set from outside, and what it has been asked."""

    delay: float = 0.0
    jwks_delay: float = 0.0
    jwks: bytes = b'{"keys":[]}'
    counts: Counter[str] = field(default_factory=Counter)


def whole(status: int, body: bytes) -> bytes:
    """A complete reply."""
    head = f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def number_of(token: str) -> str | None:
    """The number in an opaque token ``tok_<number>_<padding>``; ``None`` for any other, which is refused."""
    kind, _, rest = token.partition("_")
    return rest.partition("_")[0] if kind == "tok" else None


def number_in_jwt(jwt: str) -> str | None:
    """The number in a JWT's session id; ``None`` past its time. The mock is no judge of signatures."""
    body = jwt.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return str(claims[CLAIM]["id"]).removeprefix("sess_") if claims["exp"] > time.time() else None


def verified(body: bytes, template: str, refusal: bytes) -> bytes:
    """The answer to a verification."""
    asked: dict[str, Any] = json.loads(body)
    jwt = asked.get("session_jwt")
    number = number_in_jwt(jwt) if jwt else number_of(asked.get("session_token") or "")
    if number is None:
        return whole(404, refusal)
    now = int(time.time())
    return whole(200, (template % {"n": number, "start": now - 60, "end": now + 86_400}).encode())


def answer(state: State, method: str, path: str, body: bytes) -> tuple[float, bytes]:
    """The seconds to wait and what to say then."""
    if path.endswith("/sessions/verify"):
        state.counts["verify"] += 1
        return state.delay, verified(body, SESSION, REFUSAL)
    if path.endswith("/sessions/authenticate"):
        state.counts["verify"] += 1
        return state.delay, verified(body, PEER_SESSION, PEER_REFUSAL)
    if "jwks" in path:
        state.counts["jwks"] += 1
        return state.jwks_delay, whole(200, state.jwks)
    if path.endswith("/sessions/delete"):
        state.counts["delete"] += 1
        return state.delay, whole(200, b"{}")
    if path == "/_set":
        return 0.0, whole(200, changed(state, json.loads(body)))
    if path == "/_counts":
        return 0.0, whole(200, json.dumps(state.counts).encode())
    state.counts["other"] += 1
    return state.delay, whole(404, NOBODY)


def changed(state: State, wish: dict[str, Any]) -> bytes:
    """Apply settings from outside."""
    state.delay = wish.get("delay", state.delay)
    state.jwks_delay = wish.get("jwks_delay", state.jwks_delay)
    if "jwks" in wish:
        state.jwks = json.dumps(wish["jwks"]).encode()
    if wish.get("reset"):
        state.counts.clear()
    return b"{}"


class Connection(asyncio.Protocol):
    """One client connection; requests come one after another."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._state.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (request := self._next()) is not None:
            seconds, reply = answer(self._state, *request)
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._write, reply)
            else:
                self._write(reply)

    def _next(self) -> tuple[str, str, bytes] | None:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._data[:end]
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._data) < end + 4 + length:
            return None
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
        return method, target.partition("?")[0], body

    def _write(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply)


async def serve() -> None:
    """Listen until standard input ends: whoever started this has gone then."""
    state, loop, over = State(), asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=4096)

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()


if __name__ == "__main__":
    asyncio.run(serve())
