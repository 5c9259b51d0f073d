"""Checks of cookies against the address that browsers see, and of the trust in proxies."""

from __future__ import annotations

from urllib.parse import urlsplit

from moonkey_core._doctor.lines import Line, ok, unseen, wrong
from moonkey_core.settings import CookieSettings, Settings
from moonkey_core.settings.cookie_settings import normalize_origin, parse_origin

_LOCAL = ("localhost", "127.0.0.1", "::1")
_INSIDE = "The check inside of the worker sees it (docs/doctor.md)."


def check_cookies(settings: Settings, url: str) -> list[Line]:
    """Check the cookies of each provider against scheme and host.

    Args:
        settings: The settings of the whole client.
        url: The address of the app as a browser sees it, if it was given.
    """
    every = settings.all_cookies
    if not every:
        return [ok("cookies", "No session is kept in cookies: clients send their credential in a header.")]
    return [line for cookies in every for line in _cookies(cookies, url)]


def _cookies(cookies: CookieSettings, url: str) -> list[Line]:
    stated = cookies.origin or ""
    seen = parse_origin(_without_path(url)) if url else None
    if url and seen is None:
        return [wrong("cookies", "--url is no address.", "Write it as https://app.example.com.")]
    lines: list[Line] = []
    if seen and stated and seen != stated:
        lines.append(
            wrong(
                "cookies",
                f"origin in the cookie settings is {stated}, and browsers see {seen}: their POST "
                "requests are refused.",
                f"Set origin to {seen}, or leave it out and set trusted_proxies.",
            )
        )
    address = seen or stated
    if not address:
        return [
            *_by_themselves(cookies),
            unseen(
                "cookies",
                "At which scheme and host browsers see the app is not known.",
                "Name it: --url https://…",
            ),
        ]
    lines += _against(cookies, address)
    names = ", ".join(cookies.all_names)
    return lines or [ok("cookies", f"Browsers keep {names} at {address}, and send them back.")]


def _by_themselves(cookies: CookieSettings) -> list[Line]:
    if not cookies.insecure_development:
        return []
    return [
        ok("cookies", "insecure_development is set: plain names without Secure, for http on this machine only.")
    ]


def _against(cookies: CookieSettings, address: str) -> list[Line]:
    parts = urlsplit(address)
    host = parts.hostname or ""
    lines: list[Line] = []
    if parts.scheme == "http" and not cookies.insecure_development and not cookies.is_read_only:
        where = " (Safari does so at localhost as well)" if host in _LOCAL else ""
        lines.append(
            wrong(
                "cookies",
                f"The cookies are Secure, and {address} is plain http: browsers throw them away{where}.",
                "Serve the app over https; on a developer's machine set insecure_development in the "
                "cookie settings.",
            )
        )
    if cookies.insecure_development and not _is_local(host):
        lines.append(
            wrong(
                "cookies",
                f"insecure_development is set, and {address} is not this machine: sessions travel unprotected.",
                "Leave insecure_development out, and serve the app over https.",
            )
        )
    if cookies.domain is not None and host != cookies.domain and not host.endswith(f".{cookies.domain}"):
        lines.append(
            wrong(
                "cookies",
                f"domain is {cookies.domain}, and {host} is not below it: browsers throw the cookies away.",
                f"Set domain to a parent of {host}, or leave it out.",
            )
        )
    for origin in cookies.trusted_origins:
        if origin == normalize_origin(address):
            lines.append(wrong("cookies", f"trusted_origins names {origin}, the app itself.", "Leave it out."))
        elif origin.startswith("http:") and parts.scheme == "https":
            lines.append(
                wrong(
                    "cookies",
                    f"trusted_origins names {origin}, which is plain http: whoever is on the way can "
                    "use the cookies.",
                    "Serve that page over https, and name it so.",
                )
            )
    return lines


def _is_local(host: str) -> bool:
    return host in _LOCAL or host.endswith(".localhost")


def _without_path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def check_proxies(settings: Settings) -> list[Line]:
    """Check which proxies are trusted."""
    networks = settings.trusted_proxies
    if any(not isinstance(one, str) and one.prefixlen == 0 for one in networks):
        return [
            wrong(
                "proxies",
                "trusted_proxies holds all addresses: what any client writes into X-Forwarded-For is believed.",
                "Name your own proxies, such as 10.0.0.7 or 10.0.0.0/24.",
            )
        ]
    listed = ", ".join(str(one) for one in networks[:8])
    if "none" in networks:
        return [
            unseen(
                "proxies", "By trusted_proxies there is no proxy. Whether that is so shows at a request.", _INSIDE
            )
        ]
    if networks:
        return [
            unseen("proxies", f"Trusted are {listed}. Whether requests come from there shows at one.", _INSIDE)
        ]
    if settings.uses_cookies and any(cookies.origin is None for cookies in settings.all_cookies):
        said = (
            "No proxy is trusted, and no origin is set. Behind a proxy that ends TLS, POST requests are refused."
        )
        return [unseen("proxies", said, f'Set trusted_proxies, or "none" where there is none. {_INSIDE}')]
    return [unseen("proxies", "No proxy is trusted. Whether there is one shows at a request.", _INSIDE)]


def check_server() -> list[Line]:
    """Say what of the server has to be looked at from inside."""
    return [
        unseen(
            "server",
            "Which server runs the app, with how many workers, and on which kind of event loop or threads.",
            _INSIDE,
        )
    ]
