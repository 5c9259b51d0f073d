"""What a request presents: strict grammar of the credential headers, decided before any other work.

Nothing is ever read from a URL, a form or a body (RFC 9700 section 4.3.2).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from moonkey_core.errors import MalformedCredentials
from moonkey_core.settings import Settings

__all__ = [
    "CookiePair",
    "Credentials",
    "HeaderView",
    "asgi_headers",
    "bare_token",
    "cookie_pair",
    "is_jwt",
    "is_token",
    "mapped_headers",
    "one_cookie",
    "parse_credentials",
    "presents_any",
    "same_token",
    "unread_pair",
    "well_formed",
    "well_formed_pair",
    "wsgi_headers",
]

HeaderView = Callable[[str], Sequence[str]]
"""All values of one request header by its lower-case name, one entry per line, exactly as received."""

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # b64token, RFC 6750 section 2.1
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_SCHEME = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?= |\Z)")  # RFC 9110 section 11.1
# A line that a WSGI server has joined from two: a second scheme after a comma, or any comma in Basic's base64.
_JOINED = re.compile(r",[ \t]*bearer(?:[ \t]|\Z)|\Abasic [^,]*,", re.IGNORECASE)
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_SESSION = "session_"
_SCHEME_ROOM = 64  # "Bearer" and a few spaces, on top of the longest credential


@dataclass(frozen=True, slots=True)
class Credentials:
    """One well-formed credential: its ``kind`` decides how it is verified, ``source`` is where it stood."""

    value: str = field(repr=False)
    kind: Literal["session_token", "session_jwt"]
    source: str


@dataclass(slots=True, eq=False, repr=False)
class CookiePair:
    """The one credential in a browser's cookies: a session token, and perhaps a JWT that was cached beside it."""

    token: str
    jwt: str | None = None

    @property
    def text(self) -> str:
        """Both as one text, to make a digest of; no header can hold the same. The token stands bare."""
        token = bare_token(self.token)
        return token if self.jwt is None else f"{token}\n{self.jwt}"


def wsgi_headers(environ: Mapping[str, Any]) -> HeaderView:
    """The headers in a WSGI environ (PEP 3333). Servers have joined repeated lines there, with a comma."""

    def values(name: str) -> Sequence[str]:
        value = environ.get(_wsgi_name(name))
        return () if value is None else (value,)

    return values


@lru_cache(256)  # names come from settings and from this package, never from a request
def _wsgi_name(name: str) -> str:
    spelled = name.upper().replace("-", "_")
    return spelled if spelled in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{spelled}"


def asgi_headers(lines: Iterable[tuple[bytes, bytes]]) -> HeaderView:
    """The headers of an ASGI scope: each line as it came, by its exact name."""

    def values(name: str) -> Sequence[str]:
        wanted = name.encode("ascii")
        length = len(wanted)  # which rules most lines out, and costs next to nothing
        found: tuple[str, ...] = ()
        for key, value in lines:
            if len(key) == length and key.lower() == wanted:
                found = (*found, value.decode("latin-1"))
        return found

    return values


def mapped_headers(headers: Mapping[str, str]) -> HeaderView:
    """The headers in a mapping; two spellings of one name are two lines."""

    def values(name: str) -> Sequence[str]:
        return [value for key, value in headers.items() if key.lower() == name]

    return values


def presents_any(headers: HeaderView, settings: Settings) -> bool:
    """Whether a request carries anything where a credential may stand, good or bad."""
    if any(headers(name) for name in settings.credential_headers):
        return True
    cookies = settings.cookies
    return cookies is not None and any(cookies.session_name in line for line in headers("cookie"))


def parse_credentials(headers: HeaderView, settings: Settings) -> Credentials | None:
    """The one credential that a request carries, or ``None``.

    Raises :class:`~moonkey_core.errors.MalformedCredentials` for a malformed one, for a repeated line of a
    credential header, and for more than one credential, even if equal (RFC 6750 section 3.1).
    """
    found: Credentials | None = None
    for name in settings.credential_headers:
        lines = headers(name)
        if not lines:
            continue
        if len(lines) > 1:
            raise MalformedCredentials(reason="repeated_header")
        value = _value(name, lines[0], settings.max_credential_length)
        if value is None:
            continue
        if found is not None:
            raise MalformedCredentials(reason="two_credentials")
        found = Credentials(value, "session_jwt" if is_jwt(value) else "session_token", name)
    return found


def cookie_pair(headers: HeaderView, settings: Settings) -> CookiePair | None:
    """The credential in a request's cookies, or ``None``; a JWT counts only beside a session token.

    Raises :class:`~moonkey_core.errors.MalformedCredentials` where a name stands twice with different values, one
    of which may have been planted by another host of the domain (RFC 6265 section 8.6), and where the token has
    not the form of one. A JWT of no good form is left out: the token will do.
    """
    pair = unread_pair(headers, settings)
    return None if pair is None else well_formed_pair(pair, settings)


def unread_pair(headers: HeaderView, settings: Settings) -> CookiePair | None:
    """The same, with nothing checked but that there is one of each."""
    cookies = settings.cookies
    lines = () if cookies is None else headers("cookie")
    if cookies is None or not lines:
        return None
    token = one_cookie(lines, cookies.session_name)
    return CookiePair(token, one_cookie(lines, cookies.jwt_name) or None) if token else None


def well_formed_pair(pair: CookiePair, settings: Settings) -> CookiePair:
    """The pair, if its token has the form of one; without its JWT, if that has not."""
    longest = settings.max_credential_length
    if len(pair.token) > longest or not _TOKEN.fullmatch(pair.token) or is_jwt(pair.token):
        raise MalformedCredentials(reason="malformed_cookie")
    if pair.jwt is not None and (len(pair.jwt) > longest or not _TOKEN.fullmatch(pair.jwt)):
        return CookiePair(pair.token)
    return pair


def one_cookie(lines: Sequence[str], name: str) -> str | None:
    """The value of a cookie in the ``Cookie`` lines. Raises ``MalformedCredentials`` where it has two values."""
    if len(lines) == 1 and (usual := _usual_cookie(lines[0], f"{name}=")) is not None:
        return usual
    found: str | None = None
    for line in lines:
        if "," in line and _is_joined(line, name):  # WSGI servers join two lines by a comma
            raise MalformedCredentials(reason="repeated_cookie")
        for part in line.split(";"):
            key, equals, value = part.strip(" \t").partition("=")
            if key != name or not equals:
                continue
            if found is not None and not same_token(value, found):
                raise MalformedCredentials(reason="repeated_cookie")
            found = value
    return found


def _usual_cookie(line: str, start: str) -> str | None:
    """The value where it is plain to see; ``None`` says nothing."""
    at = line.find(start)
    if at < 0 or "," in line or "\t" in line or line.find(start, at + 1) >= 0:
        return None
    if at and line[at - 2 : at] != "; ":
        return None
    end = line.find(";", at)
    return (line[at + len(start) :] if end < 0 else line[at + len(start) : end]).rstrip(" ")


def _is_joined(line: str, name: str) -> bool:
    return any(part.lstrip(" \t").startswith(f"{name}=") for part in line.split(",")[1:])


def well_formed(value: object, settings: Settings) -> str:
    """A credential given to a method of the client. Raises ``MalformedCredentials``."""
    if not isinstance(value, str) or not value or len(value) > settings.max_credential_length:
        raise MalformedCredentials
    if not _TOKEN.fullmatch(value):
        raise MalformedCredentials
    return value


def _value(name: str, line: str, longest: int) -> str | None:
    """The credential in one header line; ``None`` where the line uses another authentication scheme."""
    if len(line) > longest + _SCHEME_ROOM:
        raise MalformedCredentials(reason="credential_too_long")
    line = line.strip(" \t")  # optional white space around a field value, RFC 9110 section 5.5
    if not _PRINTABLE.fullmatch(line):
        raise MalformedCredentials
    if name == "authorization":
        match = _BEARER.fullmatch(line)
        if match is None:
            scheme = _SCHEME.match(line)
            if scheme is None or scheme[1].lower() == "bearer" or _JOINED.search(line):
                raise MalformedCredentials
            return None
        value = match[1]
    elif _TOKEN.fullmatch(line):
        value = line
    else:
        raise MalformedCredentials
    if len(value) > longest:
        raise MalformedCredentials(reason="credential_too_long")
    return value


def bare_token(value: str) -> str:
    """What both spellings of one session token have in common.

    MoonKey's guides write it with and without ``session_``. Exactly one is taken away, and neither all there is
    nor what stands in front of a JWT: that would be another kind of credential.
    """
    if not value.startswith(_SESSION):
        return value
    rest = value[len(_SESSION) :]
    return value if not rest or is_jwt(rest) else rest


def same_token(one: str, other: str) -> bool:
    """Whether two spellings are one session token."""
    return bare_token(one) == bare_token(other)


def is_token(value: str) -> bool:
    """Whether a text has the grammar of a credential (RFC 6750 section 2.1)."""
    return _TOKEN.fullmatch(value) is not None


def is_jwt(value: str) -> bool:
    """Whether a credential has the form of a JWT: dots, and a first part that encodes a JSON object.

    Deliberately lenient (padding, alphabet, encoding): what tries to be a JWT is judged as one, and never sent
    to the API as if it were an opaque token.
    """
    head, dot, _ = value.partition(".")
    if not dot:
        return False
    head = head.rstrip("=").replace("+", "-").replace("/", "_")
    head = head[: len(head) - (len(head) % 4 == 1)]
    try:
        start = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False
    return start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"{")
