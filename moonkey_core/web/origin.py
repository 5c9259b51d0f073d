"""The origin of a request: whether its cookies count, the client's address, and our own origin.

Sources: Fetch Metadata (W3C), the ``Origin`` header (RFC 6454 section 7), and ``X-Forwarded-*`` of configured
proxies only.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import CrossSiteRequest
from moonkey_core.settings import Settings
from moonkey_core.settings.cookie_settings import parse_origin
from moonkey_core.web.request import HeaderView, RequestInfo

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_WEB = {"ws": "http", "wss": "https"}
_MAX_HOPS = 32
_SITES = ("same-origin", "same-site", "cross-site", "none")  # all values of Sec-Fetch-Site
_LONGEST_SHOWN = 120


def may_use_cookies(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> bool:
    """Return whether the cookies of a request count: the browser adds them to requests of any site's page.

    They count for safe methods. For others they count where ``Sec-Fetch-Site`` names a page of this origin or the
    user, or where the ``Origin`` is a trusted one or, without ``Sec-Fetch-Site``, our own. A WebSocket handshake
    has a safe method, but is always judged by its ``Origin``.

    Args:
        info: The facts of the request; ``None`` where unknown: it is then judged as an unsafe request.
        headers: The request's headers.
        settings: The settings.
    """
    if info is not None and is_safe(info):
        return True
    is_websocket = info is not None and info.is_websocket
    site = headers("sec-fetch-site")
    if not is_websocket and len(site) == 1 and site[0] in ("same-origin", "none"):
        return True
    lines = headers("origin")
    origin = parse_origin(lines[0]) if len(lines) == 1 else None
    if origin is None:
        return False
    if settings.cookies is not None and origin in settings.cookies.trusted_origins:
        return True
    return (is_websocket or not site) and origin == own_origin(info, headers, settings)


def is_safe(info: RequestInfo) -> bool:
    """Return whether a request has a safe method, and so cannot do what only a page of this origin may do."""
    return info.method in _SAFE_METHODS and not info.is_websocket


def cross_site(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> CrossSiteRequest:
    """Return the error for a request whose cookies do not count, with the compared values as evidence."""
    site, origin = _shown(headers("sec-fetch-site"), _site), _shown(headers("origin"), _origin)
    own = own_origin(info, headers, settings)
    expected = "unknown: no usable Host header" if own is None else own[:_LONGEST_SHOWN]
    if info is None:
        expected = "unknown: nothing was said of the request"
    compared = f"Sec-Fetch-Site: {site}, Origin: {origin}; own origin: {expected}."
    return CrossSiteRequest(evidence=compared + _advice(headers, own))


def _shown(lines: Sequence[str], known: Callable[[str], str | None]) -> str:
    """Return the value of a header for the operator. A value that is not a valid one is never repeated."""
    if len(lines) != 1:
        return f"{len(lines)} lines" if lines else "none"
    return known(lines[0]) or f"no valid one ({len(lines[0])} characters)"


def _site(value: str) -> str | None:
    return value if value in _SITES else None


def _origin(value: str) -> str | None:
    found = value if value == "null" else parse_origin(value)
    return None if found is None else found[:_LONGEST_SHOWN]


def _advice(headers: HeaderView, own: str | None) -> str:
    lines = headers("origin")
    if not lines and not headers("sec-fetch-site"):
        return " Send the Origin header, as browsers do, or the credential in a header in place of cookies."
    theirs = parse_origin(lines[0]) if len(lines) == 1 else None
    if theirs is None or own is None or not theirs.startswith("https:") or not own.startswith("http:"):
        return ""
    return " Behind a proxy that ends TLS, set trusted_proxies, or origin in the cookie settings."


def own_scheme(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """Return ``http`` or ``https``, as the browser sees it: from settings, a trusted proxy, or the request."""
    if settings.cookies is not None and settings.cookies.origin is not None:
        return settings.cookies.origin.partition(":")[0]
    if info is None:
        return None
    scheme = info.scheme
    if _is_trusted(info.peer, settings):
        scheme = (_last(headers("x-forwarded-proto")) or scheme).lower()  # the nearest proxy wrote the last one
    return _WEB.get(scheme, scheme)


def own_origin(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """Return this app's origin, as the browser sees it: from settings, a trusted proxy, or the request."""
    if settings.cookies is not None and settings.cookies.origin is not None:
        return settings.cookies.origin
    if info is None:
        return None
    host = _only(headers("host"))
    if _is_trusted(info.peer, settings):
        host = _last(headers("x-forwarded-host")) or host
    if host is None or not _HOST.fullmatch(host):
        return None
    return parse_origin(f"{own_scheme(info, headers, settings)}://{host}")


def client_address(info: RequestInfo | None, headers: HeaderView, settings: Settings) -> str | None:
    """Return the client's address, or ``None`` where it is not known.

    It comes from the header of a trusted proxy or, where the settings say that there is none, from the connection.
    Proxies append to ``X-Forwarded-For``. Read from its end, the first address that is no trusted proxy is the
    client's.
    """
    if info is None:
        return None
    if "none" in settings.trusted_proxies:
        peer = _address((info.peer or "").partition("%")[0])
        return None if peer is None else str(peer)
    if not _is_trusted(info.peer, settings):
        return None
    hops = [hop.strip(" \t") for line in headers("x-forwarded-for") for hop in line[-2048:].split(",")]
    for hop in reversed(hops[-_MAX_HOPS:]):
        address = None if "%" in hop else _address(hop)  # a zone of IPv6 may be any text
        if address is None:
            return None
        if not _is_trusted(str(address), settings):
            return str(address)
    return None


def client_network(address: str) -> str:
    """Return what stands for a client where attempts are counted: an IPv4 address, or the /64 of an IPv6 address.

    One client has a whole /64 of IPv6 addresses at its disposal (RFC 6177, RFC 8981).
    """
    parsed = ipaddress.ip_address(address)
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))


def warn_if_clients_unknown(settings: Settings) -> None:
    """Log, when an app starts, that its clients' addresses are not known, so that no limit counts by them."""
    sign_in, networks = settings.sign_in, settings.trusted_proxies
    is_limited = sign_in.max_sends_per_client is not None or sign_in.max_tries_per_client is not None
    is_known = any(isinstance(network, str) or network.prefixlen for network in networks)
    if is_limited and not is_known:
        log_repeated(
            logging.WARNING,
            "the addresses of clients are not known: sign-in has no limit per client, and sessions have no "
            'address. Set trusted_proxies to your proxies, or to "none" where there is none',
            extra={"reason": "clients_unknown"},
        )


def trusts_peer(info: RequestInfo | None, settings: Settings) -> bool:
    """Return whether a request comes from one of the app's own proxies."""
    return info is not None and _is_trusted(info.peer, settings)


def _is_trusted(peer: str | None, settings: Settings) -> bool:
    networks = settings.trusted_proxies
    if not networks:
        return False
    if not peer:
        return "unix" in networks  # a socket of the file system has no address
    address = _address(peer)
    return address is not None and any(
        address.version == network.version and address in network
        for network in networks
        if not isinstance(network, str)
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
