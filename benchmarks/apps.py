"""An app with one protected route, and how it is driven: in-process, without a server or a socket in between."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import contenders_local as local
import ours
import requests
from service import Upstream
from timing import Contender
from tokens import Flavour

NONE = "no authentication"
OURS = "this project, warm"
RECIPE = "PyJWT + PyJWKClient"
PER_CALL = "naive: PyJWKClient made per request"
POST = "naive: requests.post per request (the guide)"


@dataclass
class App:
    """A contender of the framework part. ``extra`` goes into each WSGI environ."""

    name: str
    app: Any
    flavour: Flavour = "moonkey"
    checks: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


def user_of(found: Any) -> str:
    """The user's id in whatever a library hands back."""
    if isinstance(found, dict):
        return str(found.get("sub") or found.get("id"))
    return str(found.user_id)


def wsgi(one: App) -> Contender:
    """Drive a WSGI app; accepted is a status of 200."""

    def call(environ: dict[str, Any]) -> str:
        said: list[str] = []

        def start_response(status: str, headers: Any, error: Any = None) -> Callable[[bytes], object]:
            said.append(status)
            return said.append  # type: ignore[return-value]

        body = one.app(environ, start_response)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()
        return said[0]

    def wrap(token: str) -> dict[str, Any]:
        return {
            **ours.environ(token),
            **one.extra,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }

    return Contender(one.name, call, wrap, lambda status: status.startswith("200"), one.flavour)


def asgi(one: App) -> Contender:
    """Drive an ASGI app on a loop; accepted is a status of 200."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def call(scope: dict[str, Any]) -> int:
        status = 0

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        await one.app(scope, receive, send)
        return status

    def wrap(token: str) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/me",
            "raw_path": b"/me",
            "root_path": "",
            "query_string": b"",
            "headers": ours.scope_headers(token),
            "client": ("192.0.2.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }

    return Contender(one.name, call, wrap, lambda status: status == 200, one.flavour, is_async=True)


def guide_post(upstream: Upstream) -> Callable[[str], Any]:
    """The provider's own guide: ``requests.post`` for each request."""
    url, headers = f"{upstream.url}/v1/auth/sessions/verify", {"Authorization": f"Bearer {ours.SECRET}"}

    def verify(token: str) -> Any:
        reply = requests.post(url, headers=headers, json={"session_token": token})
        return reply.json()["user"] if reply.status_code == 200 else None

    return verify


def client_per_call(upstream: Upstream) -> Callable[[str], Any]:
    """A PyJWKClient made in the function, as snippets have it: a fetch for each request."""
    return lambda token: local.pyjwt_client(upstream).call(token)
