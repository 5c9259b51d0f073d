"""What the core says about a response, written as ASGI messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType

from starlette.types import Message

from moonkey_core.auth import Auth
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import presents_any
from moonkey_core.web.responses import Refusal, success_headers, vary_on
from moonkey_starlette.identity import Identity

__all__ = ["close_code", "has_to_know", "marked", "refusal_messages", "with_cookies"]

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_TRY_AGAIN_LATER = 1013  # this one and the next as registered for RFC 6455
_INTERNAL_ERROR = 1011
_PRIVATE_USE = 4000

_Line = tuple[bytes, bytes]


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
    """The start of a response as a new message: with the cookies that follow from the request's identity, and, if
    it depends on that, with word of it for caches."""
    auth, settings = identity.auth, identity.client.settings
    cookies = _cookies(start, identity, auth) if auth is not None and auth.from_cookies else ()
    if not cookies and not _depends_on_identity(start, identity, settings):
        return start
    lines = start.get("headers", ())
    names = [line[0].lower() for line in lines]
    if b"vary" not in names and b"cache-control" not in names and not _says_more(auth, settings):
        return {**start, "headers": [*lines, *_usual(settings.identity_headers)]}
    found = success_headers(
        Auth() if auth is None else auth,
        settings,
        vary=_joined(lines, b"vary") if b"vary" in names else None,
        cache_control=_joined(lines, b"cache-control") if b"cache-control" in names else None,
    )
    new = dict(_encoded(found.pop("vary"), found.pop("cache-control", None)))
    new.update((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in found.items())
    if not new.keys().isdisjoint(names):
        lines = [line for line in lines if line[0].lower() not in new]
    return {**start, "headers": [*lines, *new.items(), *cookies]}


def with_cookies(message: Message, identity: Identity) -> Message:
    """The acceptance of a WebSocket, with the cookies that follow from its identity."""
    auth = identity.auth
    cookies = _cookies(message, identity, auth) if auth is not None and auth.from_cookies else ()
    return {**message, "headers": [*message.get("headers", ()), *cookies]} if cookies else message


def has_to_know(start: Message, identity: Identity) -> bool:
    """Whether an identity has to be worked out before this response begins, although nobody has looked so far.

    Somebody may while the body is made, and a cookie that is renewed then could not be sent any more.
    """
    return identity.auth is None and identity.presents_cookies and _may_look_later(start)


def _cookies(message: Message, identity: Identity, auth: Auth) -> Sequence[_Line]:
    if not _is_news(auth):
        return ()
    lines = message.get("headers", ())
    already = [value.decode("latin-1") for name, value in lines if name.lower() == b"set-cookie"]
    return [(b"set-cookie", value.encode("latin-1")) for value in identity.client.cookies_after(auth, already)]


def _says_more(auth: Auth | None, settings: Settings) -> bool:
    """Whether the core may have more to say than the usual."""
    if settings.fresh_jwt_header is not None or settings.expires_in_header:
        return True
    return auth is not None and auth.from_cookies and _is_news(auth)


def _is_news(auth: Auth) -> bool:
    """Whether something has become of a credential, else its cookies stay as they are."""
    return auth.fresh is not None or auth.refusal is not None


@lru_cache(64)
def _usual(identity_headers: tuple[str, ...]) -> tuple[_Line, ...]:
    """What is added to a response that says nothing of caching itself."""
    return tuple(_encoded(vary_on(identity_headers), "private").items())


@lru_cache(256)  # an app has a handful of them; no credential ever passes here
def _encoded(vary: str, cache_control: str | None) -> Mapping[bytes, bytes]:
    new = {b"vary": vary.encode("latin-1")}
    if cache_control is not None:
        new[b"cache-control"] = cache_control.encode("latin-1")
    return MappingProxyType(new)


def _depends_on_identity(start: Message, identity: Identity, settings: Settings) -> bool:
    auth = identity.auth
    if auth is not None and (auth.looked_at or (settings.fresh_jwt_header is not None and auth.fresh is not None)):
        return True
    # A body that is still to be made may look when its headers have long been sent.
    return _may_look_later(start) and presents_any(identity.headers, settings)


def _may_look_later(start: Message) -> bool:
    return start["status"] not in _WITHOUT_BODY and not _joined(start.get("headers", ()), b"content-length")


def _joined(lines: Iterable[_Line], name: bytes) -> str:
    """All lines of one response header as one value (RFC 9110 section 5.3)."""
    return b", ".join(value for key, value in lines if key.lower() == name).decode("latin-1")
