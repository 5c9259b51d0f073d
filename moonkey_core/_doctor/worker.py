"""The check inside of a worker: what a shell cannot see, by a request that really came.

It is a function that the app calls, in a view of its own that it protects, or a log line at the first request.
There
is no route for it.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass

from moonkey_core._doctor.lines import Line, Report, for_provider, ok, unseen, wrong
from moonkey_core._doctor.masking import Mask, secrets_in, secrets_of
from moonkey_core.health import Health
from moonkey_core.settings import Settings
from moonkey_core.web.origin import client_address, own_origin, trusts_peer
from moonkey_core.web.request import HeaderView, RequestInfo

_FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Server:
    """What an app knows of the server that runs it.

    Attributes:
        interface: ``"WSGI"`` or ``"ASGI"``.
        software: What the server calls itself, if it does.
        multithread: Whether requests of one process run in several threads; ``None`` where it is not known.
        multiprocess: Whether there are several processes; ``None`` where it is not known.
    """

    interface: str
    software: str = ""
    multithread: bool | None = None
    multiprocess: bool | None = None


def worker_report(
    settings: Settings, health: Health, headers: HeaderView, info: RequestInfo | None, server: Server
) -> Report:
    """Report on this worker by one of its requests. Makes no network call.

    Args:
        settings: The settings of the app.
        health: The health of its client.
        headers: The headers of the request. Of credentials, none is read.
        info: The other facts of the request.
        server: What is known of the server.
    """
    lines = [
        *_server(settings, server),
        *_proxies(settings, headers, info),
        *_cookies(settings, headers, info),
        *_health(health),
    ]
    return Report(tuple(lines)).masked(Mask([*secrets_of(os.environ), *secrets_in(settings)]))


def _server(settings: Settings, server: Server) -> list[Line]:
    kind = _concurrency(server)
    workers = _workers(server)
    software = f" ({server.software})" if server.software else ""
    lines: list[Line] = []
    if kind == "trio":
        lines.append(
            wrong(
                "server",
                "It runs on trio; MoonKey runs on asyncio.",
                "Start it without trio (--worker-class asyncio).",
            )
        )
    if kind == "gevent" and not _is_patched():
        lines.append(
            wrong(
                "server",
                "gevent runs, and the standard library is not patched: a call to the provider stops all requests.",
                "Let gunicorn patch it (worker class gevent), or call gevent.monkey.patch_all() "
                "before any import.",
            )
        )
    if server.multiprocess and settings.mfa_single_process:
        lines.append(
            wrong(
                "server",
                "mfa_single_process is set, and several processes serve the app: records are missing "
                "in the others.",
                "Set MOONKEY_REDIS_URL, and leave mfa_single_process out.",
            )
        )
    if _lacks_threads():
        lines.append(
            wrong(
                "server",
                "uWSGI runs without threads: the feed of revocations never runs.",
                "Start uWSGI with --enable-threads, or --threads.",
            )
        )
    if lines:
        return lines
    threads = (
        "" if server.multithread is None else f", {'several threads' if server.multithread else 'one thread'}"
    )
    return [ok("server", f"{server.interface}{software}, {kind}, {workers}{threads}, process {os.getpid()}.")]


def _concurrency(server: Server) -> str:
    if "trio" in sys.modules and _is_in_trio():
        return "trio"
    if "gevent" in sys.modules and _is_in_gevent():
        return "gevent"
    loop = sys.modules.get("asyncio")
    running = None if loop is None else loop._get_running_loop()
    if running is not None:
        return f"asyncio ({type(running).__module__.partition('.')[0]})"
    if server.interface == "ASGI":
        return "an event loop, with this view in a thread beside it"
    return f"threads ({threading.current_thread().name[:40]})"


def _is_in_trio() -> bool:
    lowlevel = getattr(sys.modules["trio"], "lowlevel", None)
    try:
        return lowlevel is not None and lowlevel.current_task() is not None
    except RuntimeError:
        return False


def _is_in_gevent() -> bool:
    gevent = sys.modules["gevent"]
    hub = gevent.getcurrent() if hasattr(gevent, "getcurrent") else None
    return isinstance(hub, getattr(gevent, "Greenlet", ())) or _is_patched()


def _is_patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def _lacks_threads() -> bool:
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    if not isinstance(options, dict):
        return False
    names = {one.decode() if isinstance(one, bytes) else str(one) for one in options}
    return not names & {"enable-threads", "threads"}


def _workers(server: Server) -> str:
    stated = os.environ.get("WEB_CONCURRENCY", "")
    if stated.isdecimal():
        return f"{int(stated)} worker(s) by WEB_CONCURRENCY"
    if server.multiprocess is None:
        return "an unknown number of workers"
    return "several workers" if server.multiprocess else "one worker"


def _proxies(settings: Settings, headers: HeaderView, info: RequestInfo | None) -> list[Line]:
    came = [name for name in _FORWARDED if headers(name)]
    peer = (info.peer if info is not None else None) or "a socket without an address"
    trusted = trusts_peer(info, settings)
    listed = ", ".join(came)
    hops = [hop.strip() for line in headers("x-forwarded-for") for hop in line[-2048:].split(",")]
    if peer in hops and not trusted:  # a layer of the server or of the app was there first
        if settings.trusted_proxies == ("none",):
            return [ok("proxies", f"The client's address {peer} was put in the place of the proxy's.")]
        return [
            wrong(
                "proxies",
                f"Something has put the client's address {peer} in the place of the proxy's: ProxyFix, or "
                "--proxy-headers of the server. trusted_proxies is compared with the client's then.",
                'Turn that off (--no-proxy-headers), or set trusted_proxies to "none" and trust it.',
            )
        ]
    if came and not trusted:
        return [
            wrong(
                "proxies",
                f"The request came from {peer} with {listed}, and trusted_proxies does not name "
                f"{peer}: these headers "
                "are not believed.",
                f"If {peer} is your proxy, add it to MOONKEY_TRUSTED_PROXIES. If it is not, a client "
                "has made them up.",
            )
        ]
    if trusted and not headers("x-forwarded-for"):
        return [
            wrong(
                "proxies",
                f"The proxy {peer} is trusted, and has sent no X-Forwarded-For: clients have no address.",
                "Have it set X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.",
            )
        ]
    if trusted:
        known = "is known" if client_address(info, headers, settings) else "is not known"
        return [
            ok("proxies", f"The proxy {peer} is trusted, and has sent {listed}. The client's address {known}.")
        ]
    return [ok("proxies", f"The request came from {peer}, without any header of a proxy.")]


def _cookies(settings: Settings, headers: HeaderView, info: RequestInfo | None) -> list[Line]:
    if not settings.uses_cookies:
        return []
    origin = own_origin(info, headers, settings)
    if origin is None:
        return [unseen("cookies", "The origin of the app: the request has no usable Host.")]
    insecure = all(cookies.insecure_development for cookies in settings.all_cookies)
    if origin.startswith("http:") and not insecure:
        return [
            wrong(
                "cookies",
                f"By this request the app is at {origin}: its cookies are Secure, and POST requests "
                "from https pages are "
                "refused.",
                "Behind a proxy that ends TLS, set trusted_proxies, or origin in the cookie settings.",
            )
        ]
    return [ok("cookies", f"By this request the app is at {origin}.")]


def _health(health: Health) -> list[Line]:
    lines: list[Line] = []
    for name, one in (health.providers or {"": health}).items():
        found: list[Line] = []
        if one.circuit == "open":
            found.append(
                wrong(
                    "api",
                    "Calls to the provider keep failing.",
                    "See the log for the cause, or run moonkey doctor.",
                )
            )
        age = one.key_set_age
        found.append(ok("key set", "None was fetched yet." if age is None else f"It was fetched {age:.0f} s ago."))
        if one.feed == "lost":
            found.append(
                wrong(
                    "feed",
                    "This worker has lost the feed of revocations.",
                    "Check Redis: run moonkey doctor here.",
                )
            )
        elif one.feed == "live":
            found.append(ok("feed", f"This worker follows it, {one.feed_lag or 0.0:.2f} s behind."))
        lines += for_provider(found, name)
    return lines
