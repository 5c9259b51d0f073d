"""Addresses that a browser is sent back to."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]+\S*")
_NO_URLS = ("javascript", "data", "vbscript")


def redirect_url(given: Json, name: str) -> str:
    """Return the field with an address to come back to, or "" where it is absent."""
    url = fields.optional_text(given, name, 2_000)
    if url and (not _URL.fullmatch(url) or "#" in url or url.split(":")[0].lower() in _NO_URLS):
        raise invalid(f"{name} must be an absolute URL without a fragment, such as https://app.example/signed-in")
    return url


def with_query(url: str, **parameters: str) -> str:
    """Return an address with parameters added to its query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def redirection(url: str) -> Response:
    """Return the answer that sends a browser to an address. It may not be stored."""
    return RedirectResponse(url, 302, {"cache-control": "no-store"})
