"""A network that answers on the spot, so that what is measured is this project's own cost and no socket's.

Where a blocking client sends its calls, they are answered with what the mock service would say. All else is the
code of every day: plan, deadline, limiter, breaker, reading and judging the reply, remembering.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import ours
from upstream import SESSION

from moonkey_core import MoonKey

HEADERS = [("content-type", "application/json")]


def said(asked: bytes) -> bytes | None:
    """The body of the reply to a verification; ``None`` is a refusal."""
    at = asked.find(b"tok_")
    if at < 0:
        return None
    number, now = asked[at + 4 : asked.index(b"_", at + 4)].decode(), int(time.time())
    return (SESSION % {"n": number, "start": now - 60, "end": now + 86_400}).encode()


class _Stream(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content


class ScriptedClient(httpx.Client):
    """For the public ``http_client`` argument. Building httpx's request costs more than all of ours."""

    def __init__(self) -> None:
        super().__init__(trust_env=False, transport=httpx.MockTransport(lambda _: httpx.Response(500)))

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """The reply, without a connection."""
        body = said(request.content)
        if body is None:
            return httpx.Response(404, stream=_Stream(b'{"error":{"code":"invalid_session"}}'), request=request)
        return httpx.Response(200, headers=HEADERS, stream=_Stream(body), request=request)


class ScriptedSender:
    """In the place of the part that speaks HTTP: no httpx at all, for a million calls in a minute."""

    def send(self, fetch: Any, seconds: float) -> Any:
        """The outcome of one call."""
        from moonkey_core._transport.messages import Body, request_content

        reply = said(request_content(fetch) or b"")
        body = Body(None, fetch.max_bytes)
        body.add(reply or b'{"error":{"code":"invalid_session"}}')
        return body.reply(200 if reply else 404, HEADERS)

    def close(self) -> None:
        """Nothing is open."""


def client(**options: Any) -> tuple[MoonKey, str]:
    """A client over the scripted network, and how that is done."""
    nowhere = "http://127.0.0.1:9"
    made = ours.blocking(nowhere, **options)
    exchange: Any = made._exchange
    if hasattr(exchange, "_sender") and _works():
        exchange._sender = ScriptedSender()
        return made, "a scripted sender in the place of httpx"
    return ours.blocking(nowhere, http_client=ScriptedClient(), **options), "a scripted `http_client`"


def _works() -> bool:
    """Whether the parts that the scripted sender is made of are where they were."""
    try:
        from moonkey_core._transport.messages import Body, request_content  # noqa: F401
    except ImportError:
        return False
    return True
