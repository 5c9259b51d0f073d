"""The headers and cookies added to responses, the responses of refusals, and the progress of each response."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from moonkey_core.auth import from_cookies
from moonkey_core.client import AsyncMoonKey
from moonkey_core.errors import MoonKeyError
from moonkey_core.settings import Settings
from moonkey_core.web.pages import Visit, refuse_visit
from moonkey_core.web.request import asgi_request
from moonkey_core.web.responses import (
    DESCRIBED_HEADERS,
    Refusal,
    ResponseEffects,
    ResponseFacts,
    must_resolve_first,
    refuse,
    response_effects,
    usual_check,
    usual_effects,
    usual_facts,
)
from moonkey_starlette.identity import Identity
from moonkey_starlette.mounted import Mounted
from moonkey_starlette.pages import Pages
from moonkey_starlette.paths import as_link, target_of
from moonkey_starlette.refused import RefusingReply
from moonkey_starlette.static_files import answers_with_a_file

DENIAL = "websocket.http.response"
"""The prefix of the messages of a response in place of a handshake (ASGI, WebSocket denial response)."""


_SERVER_ERROR = 500
_TRY_AGAIN_LATER = 1013  # this and the next: the IANA registry of close codes for RFC 6455
_INTERNAL_ERROR = 1011
_PRIVATE_USE = 4000

_DESCRIBED_HEADERS = frozenset(name.encode() for name in DESCRIBED_HEADERS)
_DESCRIBED_LENGTHS = frozenset(map(len, _DESCRIBED_HEADERS))

_Line = tuple[bytes, bytes]


def refusal_messages(kind: str, refusal: Refusal) -> tuple[Message, Message]:
    """Return the messages of a whole response.

    Args:
        kind: The prefix of the message types: ``http.response`` or ``websocket.http.response``.
        refusal: The response.
    """
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refusal.headers]
    headers.append((b"content-length", str(len(refusal.body)).encode("ascii")))
    start = {"type": f"{kind}.start", "status": refusal.status, "headers": headers}
    return start, {"type": f"{kind}.body", "body": refusal.body}


def close_code(status: int) -> int:
    """Return the close code for an HTTP status: 4400, 4401, 4403, …; 1013 (try again later) for 503; else 1011."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return _TRY_AGAIN_LATER
    return _INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _PRIVATE_USE + status


def apply_response_effects(start: Message, identity: Identity) -> Message:
    """Return the start of a response with the headers and cookies that follow from the identity.

    They are those of :func:`moonkey_core.web.responses.response_effects`.
    """
    client, lines = identity.client, start.get("headers", ())
    effects = response_effects(
        identity.auth,
        _facts(start),
        identity.headers,
        client.settings,
        client.revocations,
        is_asked_for=not identity.is_eager,
    )
    if effects.is_usual:
        return {**start, "headers": [*lines, *_encoded(effects)]}
    if effects.is_secret:
        effects = effects.against(name.decode("latin-1") for name, _ in lines)
    if not effects.headers:
        return start
    new = [_line(name, value) for name, value in effects.headers]
    names = [name for name, _ in new]
    new += [_line("set-cookie", value) for value in effects.cookies]
    return {**start, "headers": [*(line for line in lines if line[0].lower() not in names), *new]}


def must_resolve(start: Message, identity: Identity) -> bool:
    """Return whether the identity must be verified before this response may start.

    The decision is that of :func:`moonkey_core.web.responses.must_resolve_first`.
    """
    if identity.auth is not None:
        return False
    settings = identity.client.settings
    return must_resolve_first(None, _facts(start), identity.headers, identity.info, settings)


def with_cookies(accept: Message, identity: Identity) -> Message:
    """Return the ``websocket.accept`` message with the cookies that follow from the identity."""
    auth = identity.auth
    if auth is None or not from_cookies(auth):
        return accept
    lines = accept.get("headers", ())
    cookies = identity.client.cookies_after(auth, _values(lines, b"set-cookie"))
    return {**accept, "headers": [*lines, *(_line("set-cookie", one) for one in cookies)]} if cookies else accept


def _facts(start: Message) -> ResponseFacts:
    """Return the facts of a response. If its length is known, its body is taken to be complete already.

    Nothing else in the message distinguishes a streamed body, or a file from a stream of the same length.
    """
    lines = start.get("headers", ())
    try:
        usual = _usual_facts(start["status"], tuple(dict(lines)))
    except (TypeError, ValueError):  # an app has sent other types
        usual = _usual_facts(start["status"], tuple(bytes(line[0]) for line in lines))
    if usual is not None:
        return usual
    is_streamed = b"content-length" not in [line[0].lower() for line in lines]
    vary, cache_control = (", ".join(_values(lines, name)) for name in (b"vary", b"cache-control"))
    return ResponseFacts(start["status"], is_streamed, vary, cache_control, _values(lines, b"set-cookie"))


@lru_cache(256)  # the header names of the app's responses, of which it has few combinations
def _usual_facts(status: int, names: tuple[bytes, ...]) -> ResponseFacts | None:
    """Return the facts of a response with headers of these names; ``None`` where their values count."""
    lower = {name.lower() for name in names}
    return usual_facts(status, b"content-length" not in lower) if _DESCRIBED_HEADERS.isdisjoint(lower) else None


def _values(lines: Iterable[_Line], name: bytes) -> list[str]:
    """Return the values of all lines of one response header (RFC 9110 section 5.3)."""
    return [value.decode("latin-1") for key, value in lines if key.lower() == name]


def _line(name: str, value: str) -> _Line:
    return name.lower().encode("latin-1"), value.encode("latin-1")


@lru_cache(64)  # an app has few of them; none holds a credential
def _encoded(effects: ResponseEffects) -> tuple[_Line, ...]:
    return tuple(_line(name, value) for name, value in effects.headers)


class Reply(RefusingReply, Protocol):
    """The ``receive`` and ``send`` of the app. Every message is passed on at once, with one exception.

    For the exception see :class:`HttpReply`.
    """

    @property
    def receive(self) -> Receive:
        """The function that returns the next message to the app."""
        ...

    @property
    def held(self) -> Sequence[Message]:
        """The messages held back so far."""
        ...

    @property
    def is_bound(self) -> bool:
        """Whether the connection ends with the session. :meth:`finish` must then always be called."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended with the session."""
        ...

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the app."""
        ...

    async def finish(self) -> None:
        """Send the messages held back. To be called when the app has returned."""
        ...


def offers_denial(scope: Scope) -> bool:
    """Return whether the server can answer a WebSocket handshake with an HTTP response."""
    return DENIAL in (scope.get("extensions") or {})


class ResponseRules:
    """What the responses to all requests to one app have in common.

    Args:
        client: The client of the middleware.
        mounted: Where the session routes of the app are.
        pages: The renderer of pages for the app.
    """

    def __init__(self, client: AsyncMoonKey, mounted: Mounted, pages: Pages) -> None:
        self.settings: Settings = client.settings
        self.mounted = mounted
        self.pages = pages
        self._usual = _encoded(usual_effects(client.settings.identity_headers))
        # Each response asks it: whether its identity has no effects but these, by whether the app asks for it.
        self._is_usual_if_read = usual_check(client.settings, is_asked_for=False)
        self._is_usual_if_asked_for = usual_check(client.settings, is_asked_for=True)

    def applied(self, start: Message, identity: Identity) -> Message:
        """Return the same as :func:`apply_response_effects`, in less time where the effects are the usual ones."""
        auth = identity.auth
        is_usual = self._is_usual_if_read if identity.is_eager else self._is_usual_if_asked_for
        if auth is not None and is_usual(auth):
            lines = start.get("headers", ())
            try:
                for name, _ in lines:
                    if len(name) in _DESCRIBED_LENGTHS and name.lower() in _DESCRIBED_HEADERS:
                        break
                else:
                    return {**start, "headers": [*lines, *self._usual]}
            except (AttributeError, TypeError, ValueError):
                pass  # an app has sent other types
        return apply_response_effects(start, identity)


class HttpReply:
    """The response to a request.

    An inner app, mounted or wrapped, has an outermost layer that answers any error with 500 and then raises the
    error again. Such a response is held back until it is clear whether the error is a ``MoonKeyError``.
    """

    is_bound = is_over = _is_started = False
    held: Sequence[Message] = ()

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, identity: Identity, rules: ResponseRules
    ) -> None:
        self.receive = receive
        self.scope = scope
        self._app = scope.get("app")  # these two change on the way inwards
        self._root_path = scope.get("root_path", "")
        self._send = send
        self._identity = identity
        self._rules = rules

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the app, after the verification or the waiting that a response may need."""
        # Not a coroutine function: most messages need no coroutine besides the server's.
        if message["type"] != "http.response.start":
            return self._send_or_hold(message) if self.held else self._send(message)
        identity = self._identity
        if (
            self.held
            or message["status"] == _SERVER_ERROR
            or (identity.auth is None and self._must_resolve(message))
        ):
            return self._send_or_hold(message)
        self._is_started = True
        return self._send(self._rules.applied(message, identity))

    def _must_resolve(self, start: Message) -> bool:
        identity = self._identity
        return identity.auth is None and must_resolve(start, identity) and not answers_with_a_file(self.scope)

    async def _send_or_hold(self, message: Message) -> None:
        if self._may_report_error(message):
            self.held = (*self.held, message)
        else:
            await self.finish()
            await self._pass_on(message)

    async def reject(self, error: MoonKeyError) -> bool:
        """Answer with an error in place of a response held back; ``False`` where the response has started."""
        if self._is_started:
            return False
        self.held = ()
        for message in refusal_messages("http.response", self.refusal(error)):
            await self._pass_on(message)
        return True

    @property
    def settings(self) -> Settings:
        """The settings of the client."""
        return self._rules.settings

    @property
    def can_refuse(self) -> bool:
        """Whether the response has not started yet."""
        return not self._is_started

    def refusal(self, error: MoonKeyError) -> Refusal:
        """Return the response for an error, a page for a browser where the app has cookies, and log the error."""
        identity, scope, root_path, settings = self._identity, self.scope, self._root_path, self.settings
        if settings.cookies is None:
            return refuse(error, settings, identity.headers)
        prefix = self._rules.mounted.prefix
        visit = Visit(
            method=scope["method"],
            target=target_of(scope, root_path),
            routes=None if prefix is None else as_link(root_path + prefix),
            info=identity.info or asgi_request(scope),
        )
        refusal = refuse_visit(error, settings, identity.headers, visit)
        return self._rules.pages.rendered(refusal, Request(scope))

    async def finish(self) -> None:
        """Send the messages held back."""
        held, self.held = self.held, ()
        for message in held:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._must_resolve(message):
            await self._identity.resolve()
        await self._send(self._with_effects(message))

    def _may_report_error(self, message: Message) -> bool:
        if message["type"] == "http.response.start":
            is_of_an_inner_app = self.scope.get("app") is not self._app
            return is_of_an_inner_app and message["status"] == _SERVER_ERROR
        is_whole_body = message["type"] == "http.response.body" and not message.get("more_body", False)
        return is_whole_body and bool(self.held)

    def _with_effects(self, message: Message) -> Message:
        if message["type"] != "http.response.start":
            return message
        self._is_started = True
        return self._rules.applied(message, self._identity)


class WebSocketReply:
    """The reply to a WebSocket. A refusal is an HTTP response or a close before it is accepted, then a close."""

    held: Sequence[Message] = ()
    is_bound = False

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, identity: Identity, *, offers_denial: bool
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._identity = identity
        self._offers_denial = offers_denial
        self._is_connected = False
        self._is_accepted = False
        self._is_answered = False
        self._is_gone = False

    @property
    def is_over(self) -> bool:
        """Always ``False``: the WebSocket is not bound to its session."""
        return False

    async def receive(self) -> Message:
        """Return the next message from the server, and note when the client connects and disconnects."""
        message = await self._receive()
        if message["type"] == "websocket.connect":
            self._is_connected = True
        elif message["type"] == "websocket.disconnect":
            self._is_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the app, with the headers and cookies that follow from the identity."""
        if message["type"] == "websocket.accept":
            self._is_accepted = True
            message = with_cookies(message, self._identity)
        elif message["type"] == "websocket.close":
            self._is_answered = True
        elif message["type"] == f"{DENIAL}.start":
            self._is_answered = True
            message = apply_response_effects(message, self._identity)
        await self._send(message)

    @property
    def settings(self) -> Settings:
        """The settings of the client."""
        return self._identity.client.settings

    @property
    def can_refuse(self) -> bool:
        """Whether the app has neither answered nor closed the WebSocket yet."""
        return not self._is_answered

    def refusal(self, error: MoonKeyError) -> Refusal:
        """Return the response for an error, and log the error."""
        return refuse(error, self.settings, self._identity.headers)

    async def reject(self, error: MoonKeyError) -> bool:
        """Refuse or close the WebSocket with an error; ``False`` where the app has answered or closed already."""
        if self._is_answered:
            return False
        refusal = self.refusal(error)
        if not self._is_connected and not self._is_gone:
            await self.receive()  # nothing may be sent before websocket.connect
        if self._is_gone:
            return True
        if self._offers_denial and not self._is_accepted:
            for message in refusal_messages(DENIAL, refusal):
                await self.send(message)
        else:
            reason = HTTPStatus(refusal.status).phrase
            await self.send({"type": "websocket.close", "code": close_code(refusal.status), "reason": reason})
        return True

    async def finish(self) -> None:
        """Do nothing: no message is held back."""
