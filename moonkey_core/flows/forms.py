"""The input of a route, read strictly: one value for each name, all of it text, all of it bounded."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any, Literal
from urllib.parse import parse_qsl

from moonkey_core._dataclass import dataclass
from moonkey_core._strict_json import load_object
from moonkey_core.errors import BodyTooLong, RequestRefused, UnsupportedMediaType
from moonkey_core.flows.routes import MAX_BODY_BYTES, FlowRequest
from moonkey_core.models import Device
from moonkey_core.settings import Settings
from moonkey_core.web.origin import client_address

_MAX_FIELDS = 20
_MAX_VALUE = 4096  # characters
_MAX_USER_AGENT = 512  # characters
_CHECKED = ("on", "true", "1", "yes")

# WHATWG HTML, "valid email address": what a browser's own e-mail field takes.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~\-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_MAX_EMAIL = 254  # characters, RFC 5321 section 4.5.3.1
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_PHONE_SEPARATORS = str.maketrans("", "", " -./\u00a0\u202f\u2010\u2011\u2013")
_TRUNK_ZERO = re.compile(r"(\+[1-9][0-9]{0,2})\(0\)")
"""A zero that is dialled within a country only, where it is written as in "+49 (0) 151"."""
_ZERO_BELONGS = ("+39", "+378")  # Italy and San Marino: there it is a part of the number
_PARENTHESES = str.maketrans("", "", "()")
_MAX_ADDRESS = 320  # characters
_ADDRESS_NAMES = ("address", "email", "phone_number")

_CODE = re.compile(r"[0-9A-Za-z]{4,12}")
_SEPARATOR_CATEGORIES = ("Zs", "Pd", "Cf")  # Unicode: spaces, dashes, invisible characters


def unreadable_body(cause: BaseException | str) -> RequestRefused:
    """Make the error for a request whose body ends early or is malformed.

    Nothing is done for such a request (RFC 9112 section 8).

    Args:
        cause: The exception that ended the reading, or its description.
    """
    description = cause if isinstance(cause, str) else type(cause).__name__
    return RequestRefused(
        "The body cannot be read to its end.", reason="body_unreadable", evidence=f"It was: {description}."
    )


def chunked_input(environ: Mapping[str, Any]) -> Any:
    """Return the ``wsgi.input`` of a chunked body, to be read to its end; ``None`` for any other body.

    PEP 3333 does not define chunked bodies: they look empty to code that reads ``CONTENT_LENGTH`` only.

    Args:
        environ: The WSGI environment, or a mapping like it of a request that did not come by WSGI.

    Raises:
        RequestRefused: The server does not guarantee that its input ends with the body.
    """
    is_chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    if not is_chunked or environ.get("CONTENT_LENGTH") or "wsgi.input" not in environ:
        return None
    if not environ.get("wsgi.input_terminated"):
        raise unreadable_body("it comes in chunks, and this server does not say where it ends")
    return environ["wsgi.input"]


def query_fields(request: FlowRequest) -> dict[str, str]:
    """Parse the query string.

    Raises:
        RequestRefused: It is malformed.
    """
    return _parse_form(request.query)


def body_fields(request: FlowRequest) -> dict[str, str]:
    """Parse the body: a form, or a JSON object of strings and booleans.

    Raises:
        UnsupportedMediaType: It is neither, by its content type or coding.
        RequestRefused: It is malformed, or too long.
    """
    if request.body is None or len(request.body) > MAX_BODY_BYTES:
        raise BodyTooLong
    if not request.body:
        return {}
    lines = request.headers("content-type")
    content_type = lines[0].partition(";")[0].strip(" \t").lower() if len(lines) == 1 else ""
    if any(coding.strip(" \t").lower() not in ("", "identity") for coding in request.headers("content-encoding")):
        raise UnsupportedMediaType(evidence="The body is compressed.")
    try:
        if content_type == "application/json":
            return _as_texts(load_object(request.body))
        if content_type == "application/x-www-form-urlencoded":
            return _parse_form(request.body.decode("ascii"))
    except ValueError:
        raise RequestRefused(reason="body_malformed") from None
    raise UnsupportedMediaType


def is_checked(value: str | None) -> bool:
    """Return whether the value of a check box means that it was checked."""
    return value is not None and value.lower() in _CHECKED


def request_device(request: FlowRequest, settings: Settings) -> Device:
    """Describe the device that a request comes from; its address only where a trusted proxy gives it."""
    lines = request.headers("user-agent")
    agent = lines[0][:_MAX_USER_AGENT] if len(lines) == 1 and lines[0].isprintable() else None
    return Device(user_agent=agent or None, ip=client_address(request.info, request.headers, settings))


@dataclass(frozen=True, slots=True)
class Address:
    """An e-mail address or a phone number to send a code to. ``value`` is personal data: never log it."""

    kind: Literal["email", "phone_number"]
    value: str = field(repr=False)


def parse_address(
    fields: Mapping[str, str], methods: Collection[str] = ("email", "phone_number")
) -> Address | None:
    """Parse the address in a form: ``email``, ``phone_number``, or ``address`` for either.

    Args:
        fields: The fields of the form.
        methods: The kinds of address that are accepted.

    Returns:
        ``None`` for a missing or malformed address, for one of another kind, or for more than one.
    """
    given = [(name, value) for name in _ADDRESS_NAMES if (value := fields.get(name, "").strip())]
    if len(given) != 1 or len(given[0][1]) > _MAX_ADDRESS:
        return None
    name, value = given[0]
    if name != "phone_number" and "email" in methods and len(value) <= _MAX_EMAIL and _EMAIL.fullmatch(value):
        return Address("email", value.lower())
    number = _phone_number(in_ascii(value))
    if name != "email" and "phone_number" in methods and _PHONE.fullmatch(number):
        return Address("phone_number", number)
    return None


def parse_code(fields: Mapping[str, str]) -> str | None:
    """Parse the ``code`` in a form, without the spaces and dashes that users add; ``None`` if it is malformed."""
    text = in_ascii(fields.get("code", ""))
    code = "".join(one for one in text if unicodedata.category(one) not in _SEPARATOR_CATEGORIES)
    return code if _CODE.fullmatch(code) else None


def _phone_number(value: str) -> str:
    """Return a phone number without what users write to make it readable."""
    number = value.translate(_PHONE_SEPARATORS)
    if not number.startswith(_ZERO_BELONGS):
        number = _TRUNK_ZERO.sub(r"\1", number, count=1)
    return number.translate(_PARENTHESES)


def in_ascii(text: str) -> str:
    """Return a text with full-width letters, signs and the digits of all scripts as those of ASCII.

    Keyboards of some languages write them so (Unicode Standard Annex 15, form NFKC). Other characters stay.
    """
    found = unicodedata.normalize("NFKC", text)
    return "".join(one if one.isascii() else str(unicodedata.decimal(one, one)) for one in found)


def _parse_form(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise RequestRefused(reason="fields_malformed") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestRefused(reason="fields_repeated")
    return _as_texts(fields)


def _as_texts(fields: Mapping[str, object]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            value = "on" if value else ""
        if not isinstance(value, str) or len(value) > _MAX_VALUE or "\0" in value:
            raise RequestRefused(reason="fields_malformed")
        texts[name] = value
    return texts
