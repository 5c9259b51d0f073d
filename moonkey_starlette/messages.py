"""What the core says about a response, written as ASGI messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType

from starlette.types import Message

from moonkey_core.auth import Auth
from moonkey_core.credentials import presents_any
from moonkey_core.responses import Refusal, success_headers, vary_on
from moonkey_starlette.identity import Identity

__all__ = ["close_code", "marked", "refusal_messages"]

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_TRY_AGAIN_LATER = 1013  # this one and the next as registered for RFC 6455
_INTERNAL_ERROR = 1011
_PRIVATE_USE = 4000


def refusal_messages(kind: str, refusal: Refusal) -> tuple[Message, Message]:
    """The whole response; ``kind`` is ``http.response`` or ``websocket.http.response``."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refusal.headers]
    headers.append((b"content-length", str(len(refusal.body)).encode("ascii")))
    start = {"type": f"{kind}.start", "status": refusal.status, "headers": headers}
    return start, {"type": f"{kind}.body", "body": refusal.body}


def close_code(status: int) -> int:
    """The close code for an HTTP status: 4400, 4401, 4403, …; 1013 (try again later) for 503; else 1011."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _TRY_AGAIN_LATER
    return _INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _PRIVATE_USE + status


def marked(start: Message, identity: Identity) -> Message:
    """The start of a response, as a new message that tells caches so if it depends on identity."""
    if not _depends_on_identity(start, identity):
        return start
    settings = identity.client.settings
    lines = start.get("headers", ())
    names = [line[0].lower() for line in lines]
    if settings.fresh_jwt_header is None and b"vary" not in names and b"cache-control" not in names:
        return {**start, "headers": [*lines, *_usual(settings.credential_headers)]}
    found = success_headers(
        Auth() if identity.auth is None else identity.auth,
        settings,
        vary=_joined(lines, b"vary") if b"vary" in names else None,
        cache_control=_joined(lines, b"cache-control") if b"cache-control" in names else None,
    )
    new = _encoded(found["vary"], found.get("cache-control"))
    fresh = settings.fresh_jwt_header
    if fresh is not None and fresh in found:
        new = {**new, fresh.lower().encode("latin-1"): found[fresh].encode("latin-1")}
    if not new.keys().isdisjoint(names):
        lines = [line for line in lines if line[0].lower() not in new]
    return {**start, "headers": [*lines, *new.items()]}


@lru_cache(64)
def _usual(credential_headers: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """What is added to a response that says nothing of caching itself."""
    return tuple(_encoded(vary_on(credential_headers), "private").items())


@lru_cache(256)  # an app has a handful of them; no credential ever passes here
def _encoded(vary: str, cache_control: str | None) -> Mapping[bytes, bytes]:
    new = {b"vary": vary.encode("latin-1")}
    if cache_control is not None:
        new[b"cache-control"] = cache_control.encode("latin-1")
    return MappingProxyType(new)


def _depends_on_identity(start: Message, identity: Identity) -> bool:
    auth, settings = identity.auth, identity.client.settings
    if auth is not None and (auth.looked_at or (settings.fresh_jwt_header is not None and auth.fresh is not None)):
        return True
    if start["status"] in _WITHOUT_BODY or _joined(start.get("headers", ()), b"content-length"):
        return False
    # A body that is still to be made may look when its headers have long been sent.
    return presents_any(identity.headers, settings)


def _joined(lines: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """All lines of one response header as one value (RFC 9110 section 5.3)."""
    return b", ".join(value for key, value in lines if key.lower() == name).decode("latin-1")
