"""The lists of a CORS middleware (Fetch standard, section 3.3): the headers that pages of other origins need.

A browser asks before a page of another origin may send a credential in a header, and shows that page no response
header that the server does not list. No framework's middleware lists these headers by default.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from moonkey_core.settings import Settings

__all__ = ["UnlistedHeaders", "headers_to_expose", "unlisted_headers"]

_ANY = "*"


class UnlistedHeaders(NamedTuple):
    """The headers that the lists of a CORS middleware lack.

    Attributes:
        allow: Request headers, for ``Access-Control-Allow-Headers``.
        expose: Response headers, for ``Access-Control-Expose-Headers``.
    """

    allow: tuple[str, ...]
    expose: tuple[str, ...]


def headers_to_expose(settings: Settings) -> tuple[str, ...]:
    """Return the response headers that a front end may have to read, by the settings."""
    found = ["Retry-After"]
    if settings.expires_in_header:
        found.append("Session-Expires-In")
    if settings.fresh_jwt_header is not None:
        found.append(settings.fresh_jwt_header)
    found += ["-".join(word.capitalize() for word in name.split("-")) for name in settings.handle_headers]
    return tuple(found)


def unlisted_headers(
    settings: Settings, allowed: Iterable[str], exposed: Iterable[str], *, with_cookies: bool
) -> UnlistedHeaders:
    """Return the headers that are missing in the lists of a CORS middleware.

    ``*`` in a list stands for all headers, except for ``Authorization``, and for none at all where requests with
    cookies are allowed.

    Args:
        settings: The settings.
        allowed: The list of request headers.
        exposed: The list of response headers.
        with_cookies: Whether the middleware allows requests with cookies (``Access-Control-Allow-Credentials``).
    """
    named, readable = _names(allowed), _names(exposed)
    allows_any, exposes_any = (_ANY in names and not with_cookies for names in (named, readable))
    return UnlistedHeaders(
        tuple(
            name
            for name in (*settings.credential_headers, *settings.handle_headers)
            if name not in named and not (allows_any and name != "authorization")
        ),
        tuple(name for name in headers_to_expose(settings) if name.lower() not in readable and not exposes_any),
    )


def _names(listed: Iterable[str]) -> set[str]:
    return {name.strip().lower() for name in listed}
