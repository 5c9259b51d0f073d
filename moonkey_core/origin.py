"""Where a request comes from: may it use its cookies, from which address, under which name of ours.

Fetch Metadata (W3C), the ``Origin`` header (RFC 6454 section 7), ``X-Forwarded-*`` of configured proxies only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from moonkey_core._cookie_settings import origin_of
from moonkey_core.credentials import HeaderView
from moonkey_core.settings import Settings

__all__ = ["RequestInfo", "asgi_request", "client_address", "may_use_cookies", "own_origin", "wsgi_request"]

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_WEB = {"ws": "http", "wss": "https"}
_MAX_HOPS = 32


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


def own_origin(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """The origin under which the browser knows this app: from settings, a trusted proxy, or the request itself."""
    if settings.cookies is not None and settings.cookies.origin is not None:
        return settings.cookies.origin
    if info is None:
        return None
    scheme, host = _WEB.get(info.scheme, info.scheme), _only(headers("host"))
    if _is_trusted(info.peer, settings):
        # The nearest proxy has written the last one.
        scheme = _last(headers("x-forwarded-proto")) or scheme
        scheme = _WEB.get(scheme.lower(), scheme.lower())
        host = _last(headers("x-forwarded-host")) or host
    if host is None or not _HOST.fullmatch(host):
        return None
    return origin_of(f"{scheme}://{host}")


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
