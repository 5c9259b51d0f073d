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
    "cookie_lines",
    "cookie_pair",
    "is_jwt",
    "is_token",
    "mapped_headers",
    "one_cookie",
    "other_scheme",
    "parse_credentials",
    "presents_any",
    "presents_cookies",
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
# Names of schemes that may be told; of others only those that are no credential, misplaced. IANA has the registry.
_SCHEMES = frozenset([
    "apikey", "aws4-hmac-sha256", "basic", "bearer", "concealed", "digest", "dpop", "gnap", "hawk", "hoba", "jwt",
    "mutual", "negotiate", "ntlm", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "session", "token",
    "vapid",
])  # fmt: skip
_PLAIN_NAME = re.compile(r"[A-Za-z\-]{1,16}(?= )")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_SESSION = "session_"
_SCHEME_ROOM = 64  # "Bearer" and a few spaces, on top of the longest credential
_LONGEST_COOKIES = 64 * 1024  # bytes of all Cookie lines together; servers and proxies mostly take 8 to 64 KiB
_BETWEEN_COOKIES = "; "  # as the lines are joined that HTTP/2 has split one into (RFC 9113 section 8.2.3)


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
        found = []
        for key, value in lines:  # in Python 3.11 a comprehension here takes half as long again
            if len(key) == length and key.lower() == wanted:
                found.append(value.decode("latin-1"))
        return found

    return values


def mapped_headers(headers: Mapping[str, str]) -> HeaderView:
    """The headers in a mapping; two spellings of one name are two lines."""

    def values(name: str) -> Sequence[str]:
        return [value for key, value in headers.items() if key.lower() == name]

    return values


def presents_any(headers: HeaderView, settings: Settings) -> bool:
    """Whether a request carries anything where a credential may stand, good or bad."""
    return any(headers(name) for name in settings.credential_headers) or presents_cookies(headers, settings)


def presents_cookies(headers: HeaderView, settings: Settings) -> bool:
    """Whether a request carries anything where the session cookie may stand, good or bad."""
    if settings.cookies is None:
        return False
    name, lines = settings.cookies.session_name, headers("cookie")
    return any(name in line for line in lines) or _are_too_long(lines)


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
            raise MalformedCredentials(
                reason="repeated_header", evidence=f"{name} stands there {len(lines)} times."
            )
        value = _value(name, lines[0], settings.max_credential_length)
        if value is None:
            continue
        if found is not None:
            raise MalformedCredentials(
                reason="two_credentials", evidence=f"{found.source} and {name} both hold one."
            )
        found = Credentials(value, "session_jwt" if is_jwt(value) else "session_token", name)
    return found


def cookie_pair(headers: HeaderView, settings: Settings) -> CookiePair | None:
    """The credential in a request's cookies, or ``None``; a JWT counts only beside a session token.

    Raises :class:`~moonkey_core.errors.MalformedCredentials` where a name stands twice with different values, one
    of which may have been planted by another host of the domain (RFC 6265 section 8.6), where the token has not
    the form of one, and where there are more than 64 KiB of cookies. A JWT of no good form is left out: the token
    will do.
    """
    pair = unread_pair(headers, settings)
    return None if pair is None else well_formed_pair(pair, settings)


def unread_pair(headers: HeaderView, settings: Settings) -> CookiePair | None:
    """The same, with nothing checked but that there is one of each."""
    cookies = settings.cookies
    lines = () if cookies is None else cookie_lines(headers)
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


def cookie_lines(headers: HeaderView) -> Sequence[str]:
    """All ``Cookie`` lines. Raises ``MalformedCredentials`` where they are longer than 64 KiB together."""
    lines = headers("cookie")
    if _are_too_long(lines):
        raise MalformedCredentials(reason="cookies_too_long")
    return lines


def _are_too_long(lines: Sequence[str]) -> bool:
    if len(lines) == 1:
        return len(lines[0]) > _LONGEST_COOKIES
    return sum(map(len, lines)) + len(_BETWEEN_COOKIES) * (len(lines) - 1) > _LONGEST_COOKIES


def one_cookie(lines: Sequence[str], name: str) -> str | None:
    """The value of a cookie in the ``Cookie`` lines. Raises ``MalformedCredentials`` where it has two values."""
    text = lines[0] if len(lines) == 1 else _BETWEEN_COOKIES.join(lines)
    if (usual := _usual_cookie(text, f"{name}=")) is not None:
        return usual
    cookie, joined = _cookie_patterns(name)
    if joined.search(text):
        raise MalformedCredentials(reason="repeated_cookie")
    found: str | None = None
    for match in cookie.finditer(text):
        value: str = match[1].rstrip(" \t")
        if found is not None and not same_token(value, found):
            raise MalformedCredentials(reason="repeated_cookie")
        found = value
    return found


@lru_cache(64)  # names come from settings and from this package, never from a request
def _cookie_patterns(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Where a cookie of that name stands, with its value; and where a WSGI server has joined a line with one to
    another, by a comma. Each looks at every character once."""
    start = rf"[ \t]*{re.escape(name)}="
    return re.compile(rf"(?:\A|;){start}([^;]*)"), re.compile(f",{start}")


def _usual_cookie(line: str, start: str) -> str | None:
    """The value where it is plain to see; ``None`` says nothing."""
    at = line.find(start)
    if at < 0 or "," in line or "\t" in line or line.find(start, at + 1) >= 0:
        return None
    if at and line[at - 2 : at] != "; ":
        return None
    end = line.find(";", at)
    return (line[at + len(start) :] if end < 0 else line[at + len(start) : end]).rstrip(" ")


def other_scheme(headers: HeaderView, settings: Settings) -> str:
    """What an ``Authorization`` line holds that is no credential, for the operator; empty where there is none."""
    lines = headers("authorization") if "authorization" in settings.credential_headers else ()
    return f"Authorization has {_scheme_of(lines[0])}, not 'Bearer'." if lines else ""


def _scheme_of(line: str) -> str:
    """What may be told of the scheme in a line. A word that stands alone may be the credential itself."""
    start = line.lstrip(" \t")[:_SCHEME_ROOM]
    match = _SCHEME.match(start)
    if match is not None and (match[1].lower() in _SCHEMES or _PLAIN_NAME.match(start)):
        return f"the scheme '{match[1]}'"
    return "no scheme that can be named"


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
        raise _too_long(name, len(line), longest)
    line = line.strip(" \t")  # optional white space around a field value, RFC 9110 section 5.5
    if not _PRINTABLE.fullmatch(line):
        raise MalformedCredentials(evidence=f"{name} is empty or holds more than printable ASCII characters.")
    if name == "authorization":
        match = _BEARER.fullmatch(line)
        if match is None:
            scheme = _SCHEME.match(line)
            if scheme is None or scheme[1].lower() == "bearer" or _JOINED.search(line):
                raise MalformedCredentials(
                    evidence=f"{name} has {_scheme_of(line)}, and is not 'Bearer' with one credential after it."
                )
            return None
        value = match[1]
    elif _TOKEN.fullmatch(line):
        value = line
    else:
        raise MalformedCredentials(evidence=f"{name} holds more than one credential, or none.")
    if len(value) > longest:
        raise _too_long(name, len(value), longest)
    return value


def _too_long(name: str, length: int, longest: int) -> MalformedCredentials:
    return MalformedCredentials(
        reason="credential_too_long", evidence=f"{name}: {length} characters; max_credential_length is {longest}."
    )


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
