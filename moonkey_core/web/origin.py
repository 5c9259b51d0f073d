"""Where a request comes from: may it use its cookies, from which address, under which name of ours.

Fetch Metadata (W3C), the ``Origin`` header (RFC 6454 section 7), ``X-Forwarded-*`` of configured proxies only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from moonkey_core.errors import CrossSiteRequest
from moonkey_core.settings import Settings
from moonkey_core.settings.cookie_settings import origin_of
from moonkey_core.web.credentials import HeaderView

__all__ = [
    "RequestInfo", "asgi_request", "client_address", "cross_site", "may_use_cookies", "own_origin", "own_scheme",
    "wsgi_request",
]  # fmt: skip

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_WEB = {"ws": "http", "wss": "https"}
_MAX_HOPS = 32
_SITES = ("same-origin", "same-site", "cross-site", "none")  # all that browsers say in Sec-Fetch-Site
_LONGEST_SHOWN = 120


class RequestInfo(NamedTuple):
    """What is to be known of a request beside its headers. ``peer`` is the address at its socket's other end."""

    method: str
    scheme: str
    peer: str | None = None
    is_websocket: bool = False


def wsgi_request(environ: Mapping[str, Any]) -> RequestInfo:
    """That of a WSGI environ (PEP 3333)."""
    return RequestInfo(environ["REQUEST_METHOD"], environ["wsgi.url_scheme"], environ.get("REMOTE_ADDR"))


def asgi_request(scope: Mapping[str, Any]) -> RequestInfo:
    """That of an ASGI scope of type ``http`` or ``websocket``."""
    client = scope.get("client")
    peer = client[0] if client else None
    if scope["type"] == "websocket":
        return RequestInfo("GET", scope.get("scheme", "ws"), peer, is_websocket=True)
    return RequestInfo(scope["method"], scope.get("scheme", "http"), peer)


def may_use_cookies(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> bool:
    """Whether a request may be taken for its user's own doing, although the browser adds cookies to any request.

    Safe methods may. Others, where the browser says that a page of this origin (or the user) sent it, or where the
    ``Origin`` is a trusted one or, from browsers that say no more, our own. A WebSocket handshake is a safe method
    by its letter only: it is judged by its ``Origin`` always. ``info`` is ``None`` where nobody knows: as unsafe.
    """
    is_websocket = info is not None and info.is_websocket
    if info is not None and not is_websocket and info.method in _SAFE_METHODS:
        return True
    site = headers("sec-fetch-site")
    if not is_websocket and len(site) == 1 and site[0] in ("same-origin", "none"):
        return True
    lines = headers("origin")
    origin = origin_of(lines[0]) if len(lines) == 1 else None
    if origin is None:
        return False
    if settings.cookies is not None and origin in settings.cookies.trusted_origins:
        return True
    return (is_websocket or not site) and origin == own_origin(info, headers, settings)


def cross_site(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> CrossSiteRequest:
    """The error for a request that may not use its cookies; its evidence is what was compared with what."""
    site, origin = _shown(headers("sec-fetch-site"), _site), _shown(headers("origin"), _origin)
    own = own_origin(info, headers, settings)
    expected = "unknown: no usable Host header" if own is None else own[:_LONGEST_SHOWN]
    if info is None:
        expected = "unknown: nothing was said of the request"
    said = f"Sec-Fetch-Site: {site}, Origin: {origin}; own origin: {expected}."
    return CrossSiteRequest(evidence=said + _advice(headers, own))


def _shown(lines: Sequence[str], known: Callable[[str], str | None]) -> str:
    """What is to be told of a header: only what is known for one of its good values; the rest is a stranger's."""
    if len(lines) != 1:
        return f"{len(lines)} lines" if lines else "none"
    return known(lines[0]) or f"no valid one ({len(lines[0])} characters)"


def _site(value: str) -> str | None:
    return value if value in _SITES else None


def _origin(value: str) -> str | None:
    found = value if value == "null" else origin_of(value)
    return None if found is None else found[:_LONGEST_SHOWN]


def _advice(headers: HeaderView, own: str | None) -> str:
    lines = headers("origin")
    theirs = origin_of(lines[0]) if len(lines) == 1 else None
    if theirs is None or own is None or not theirs.startswith("https:") or not own.startswith("http:"):
        return ""
    return " Behind a proxy that ends TLS, set trusted_proxies, or origin in the cookie settings."


def own_scheme(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """``http`` or ``https``, as the browser knows it: from settings, a trusted proxy, or the request itself."""
    if settings.cookies is not None and settings.cookies.origin is not None:
        return settings.cookies.origin.partition(":")[0]
    if info is None:
        return None
    scheme = info.scheme
    if _is_trusted(info.peer, settings):
        scheme = (_last(headers("x-forwarded-proto")) or scheme).lower()  # the nearest proxy has written the last
    return _WEB.get(scheme, scheme)


def own_origin(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """The origin under which the browser knows this app: from settings, a trusted proxy, or the request itself."""
    if settings.cookies is not None and settings.cookies.origin is not None:
        return settings.cookies.origin
    if info is None:
        return None
    host = _only(headers("host"))
    if _is_trusted(info.peer, settings):
        host = _last(headers("x-forwarded-host")) or host
    if host is None or not _HOST.fullmatch(host):
        return None
    return origin_of(f"{own_scheme(info, headers, settings)}://{host}")


def client_address(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """The browser's address, as a configured proxy tells it; ``None`` where there is none to be believed.

    Proxies append to ``X-Forwarded-For``: read from its end, the first that is no proxy of ours is the browser.
    """
    if info is None or not _is_trusted(info.peer, settings):
        return None
    hops = [hop.strip(" \t") for line in headers("x-forwarded-for") for hop in line[-2048:].split(",")]
    for hop in reversed(hops[-_MAX_HOPS:]):
        address = None if "%" in hop else _address(hop)  # a zone of IPv6 may be any text
        if address is None:
            return None
        if not _is_trusted(str(address), settings):
            return str(address)
    return None


def _is_trusted(peer: str | None, settings: Settings) -> bool:
    networks = settings.trusted_proxies
    if not networks:
        return False
    if not peer:
        return "unix" in networks  # a socket of the file system has no address
    address = _address(peer)
    return address is not None and any(
        address.version == network.version and address in network for network in networks if network != "unix"
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _only(lines: Any) -> str | None:
    return lines[0].strip(" \t") if len(lines) == 1 else None


def _last(lines: Any) -> str | None:
    return lines[-1].rsplit(",", 1)[-1].strip(" \t") if lines else None
