"""What a request to a route says, read strictly: one value for each name, all of it text, all of it bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
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


# WHATWG HTML, "valid email address": what a browser's own e-mail field takes.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~\-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_LONGEST_EMAIL = 254  # RFC 5321 section 4.5.3.1
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_CODE = re.compile(r"[0-9A-Za-z]{4,12}")
_CODE_FILLERS = str.maketrans("", "", " -")
_PHONE_FILLERS = str.maketrans("", "", " -.()/")
_LONGEST_ADDRESS = 320
_ADDRESS_FIELDS = ("address", "email", "phone_number")


@dataclass(frozen=True, slots=True)
class Address:
    """One address. ``value`` is a person's: never log it."""

    kind: Literal["email", "phone_number"]
    value: str = field(repr=False)


def address_in(fields: Mapping[str, str]) -> Address | None:
    """The address in a form, which names it ``email``, ``phone_number``, or ``address`` for either.

    ``None`` where it is missing or malformed, or where there are two.
    """
    given = [(name, value) for name in _ADDRESS_FIELDS if (value := fields.get(name, "").strip())]
    if len(given) != 1 or len(given[0][1]) > _LONGEST_ADDRESS:
        return None
    name, value = given[0]
    if name != "phone_number" and len(value) <= _LONGEST_EMAIL and _EMAIL.fullmatch(value):
        return Address("email", value.lower())
    number = value.translate(_PHONE_FILLERS)
    if name != "email" and _PHONE.fullmatch(number):
        return Address("phone_number", number)
    return None


def code_in(fields: Mapping[str, str]) -> str | None:
    """The ``code`` in a form, without the spaces and dashes that people add; ``None`` where it cannot be one."""
    code = fields.get("code", "").translate(_CODE_FILLERS)
    return code if _CODE.fullmatch(code) else None
