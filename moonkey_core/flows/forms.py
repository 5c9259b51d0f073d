"""What a request to a route says, read strictly: one value for each name, all of it text, all of it bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from moonkey_core._strict_json import load_object
from moonkey_core.errors import RequestRefused
from moonkey_core.flows.routes import MAX_BODY_BYTES, FlowRequest
from moonkey_core.models import Device
from moonkey_core.settings import Settings
from moonkey_core.web.origin import client_address

_MAX_FIELDS = 20
_MAX_VALUE = 4096
_MAX_USER_AGENT = 512
_ON = ("on", "true", "1", "yes")


def unreadable_body(cause: BaseException | str) -> RequestRefused:
    """The error where a request's body does not come to its end, or not in good form; ``cause`` is what broke.

    Nothing is done for such a request (RFC 9112 section 8).
    """
    named = cause if isinstance(cause, str) else type(cause).__name__
    return RequestRefused(
        "The body cannot be read to its end.", reason="body_unreadable", evidence=f"It was: {named}."
    )


def chunked_input(environ: Mapping[str, Any]) -> Any:
    """Return the ``wsgi.input`` of a body that comes in chunks, to be read to its end; ``None`` if it does not.

    PEP 3333 knows no such body: to whoever goes by its ``CONTENT_LENGTH`` alone, it is empty. Raises
    ``RequestRefused`` where the server does not say that its input ends with the body. ``environ`` may be of a
    request that did not come by WSGI.
    """
    is_chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    if not is_chunked or environ.get("CONTENT_LENGTH") or "wsgi.input" not in environ:
        return None
    if not environ.get("wsgi.input_terminated"):
        raise unreadable_body("it comes in chunks, and this server does not say where it ends")
    return environ["wsgi.input"]


def query_of(request: FlowRequest) -> dict[str, str]:
    """The fields of the query string. Raises ``RequestRefused``."""
    return _fields_of(request.query)


def body_of(request: FlowRequest) -> dict[str, str]:
    """The fields of the body, a form or a JSON object of texts and booleans. Raises ``RequestRefused``."""
    if len(request.body) > MAX_BODY_BYTES:
        raise RequestRefused(reason="body_too_long")
    if not request.body:
        return {}
    kinds = request.headers("content-type")
    kind = kinds[0].partition(";")[0].strip(" \t").lower() if len(kinds) == 1 else ""
    try:
        if kind == "application/json":
            return _texts(load_object(request.body))
        if kind == "application/x-www-form-urlencoded":
            return _fields_of(request.body.decode("ascii"))
    except ValueError:
        raise RequestRefused(reason="body_malformed") from None
    raise RequestRefused(reason="body_type")


def is_on(value: str | None) -> bool:
    """Whether a box was ticked."""
    return value is not None and value.lower() in _ON


def device_of(request: FlowRequest, settings: Settings) -> Device:
    """The device that a session is begun from; the address only where a trusted proxy tells it."""
    lines = request.headers("user-agent")
    agent = lines[0][:_MAX_USER_AGENT] if len(lines) == 1 and lines[0].isprintable() else None
    return Device(user_agent=agent or None, ip=client_address(request.info, request.headers, settings))


def _fields_of(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise RequestRefused(reason="fields_malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestRefused(reason="fields_repeated")
    return _texts(found)


def _texts(fields: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            value = "on" if value else ""
        if not isinstance(value, str) or len(value) > _MAX_VALUE or "\0" in value:
            raise RequestRefused(reason="fields_malformed")
        found[name] = value
    return found
