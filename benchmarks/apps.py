"""An app with one protected route, and how it is driven: in-process, without a server or a socket in between."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import contenders_local as local
import ours
import requests
from service import Upstream
from timing import Contender, Kind
from tokens import Flavour

NONE = "no authentication"
NONE_COOKIES = "no authentication, the same cookies"
OURS = "this project, warm"
PAIR = "this project, warm, cookie pair"
FIRST = "this project, first sight"
RECIPE = "PyJWT + PyJWKClient"
PER_CALL = "naive: PyJWKClient made per request"
POST = "naive: requests.post per request (the guide)"


@dataclass
class App:
    """A contender of the framework part. ``extra`` goes into each WSGI environ.

    ``pair``: requests bring cookies in the place of a header. Its other fields are those of a contender.
    """

    name: str
    app: Any
    flavour: Flavour = "moonkey"
    checks: bool = True
    kind: Kind = "peer"
    id: str = ""
    once: bool = False
    pair: bool = False
    hops: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def who(found: Any) -> dict[str, str]:
    """The answer of every route: the ids of user and session, in whatever a library hands back."""
    if isinstance(found, dict):
        return {"user_id": str(found.get("sub") or found.get("id")), "session_id": str(found.get("sid"))}
    session = found.session_id if hasattr(found, "session_id") else getattr(found, "sid", "")
    return {"user_id": str(found.user_id), "session_id": str(session)}


NOBODY = {"user_id": "user_1", "session_id": "sess_1"}  # of the app without any check


def of_ours(auth: Any) -> dict[str, str]:
    """The same answer from an ``Auth``."""
    return {"user_id": auth.user.id, "session_id": auth.session.id}


OWN: dict[str, dict[str, Any]] = {  # this project's three contenders in each framework
    OURS: {"kind": "ours", "id": "added"},
    PAIR: {"kind": "ours", "id": "pair", "pair": True},
    FIRST: {"kind": "ours", "id": "first", "once": True},
}


def own_options(name: str, upstream: Upstream) -> dict[str, Any]:
    """The settings of one of them."""
    return ours.options(upstream.url, **(ours.COOKIES if name == PAIR else {}))


def _contender(one: App, call: Any, wrap: Any, accepted: Any, **more: Any) -> Contender:
    pool = local.PAIRS if one.pair else ""
    known: dict[str, Any] = {"kind": one.kind, "id": one.id, "once": one.once, "hops": one.hops, "pool": pool}
    return Contender(one.name, call, wrap, accepted, one.flavour, **known, **more)


def wsgi(one: App) -> Contender:
    """Drive a WSGI app; accepted is a status of 200."""

    def call(environ: dict[str, Any]) -> str:
        said: list[str] = []

        def start_response(status: str, headers: Any, error: Any = None) -> Callable[[bytes], object]:
            said.append(status)
            return said.append  # type: ignore[return-value]

        body = one.app(environ, start_response)
        text = b"".join(body)
        if hasattr(body, "close"):
            body.close()
        return said[0] if said[0].startswith("200") else f"{said[0]}: {text[:200]!r}"

    def wrap(token: str) -> dict[str, Any]:
        return {
            **(ours.pair_environ(token) if one.pair else ours.environ(token)),
            **one.extra,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }

    return _contender(one, call, wrap, lambda status: status.startswith("200"))


def asgi(one: App) -> Contender:
    """Drive an ASGI app on a loop; accepted is a status of 200."""

    async def call(scope: dict[str, Any]) -> int:
        status, is_read = 0, False

        async def receive() -> dict[str, Any]:
            nonlocal is_read
            if is_read:
                await asyncio.get_running_loop().create_future()  # the client stays; the app gives this up
            is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}

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
            "headers": ours.pair_scope_headers(token) if one.pair else ours.scope_headers(token),
            "client": ("192.0.2.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }

    return _contender(one, call, wrap, lambda status: status == 200, is_async=True)


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
