"""Run three real apps against a local emulator and show their responses, then one app to sign in to by hand.

Run it with ``make demo``. With ``--once`` it ends after the table, with status 0 only if all cells are right. With
``--provider oidc``, ``stytch``, ``stytch_b2b`` or ``cdp`` the same apps, configured otherwise, accept the tokens
of an OpenID Connect issuer, the sessions of Stytch, or the access tokens of Coinbase CDP.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import demo_visit
import httpx
from demo_services import DEMO_USER, SERVICES, Service, SignIn

from moonkey_core.emulator import Sent

HERE = Path(__file__).parent
START_SECONDS = 20.0

# The server of each app, of the kind that is used in production.
SERVERS = {
    "Flask": ["-m", "gunicorn", "--bind=127.0.0.1:{port}", "--threads=4", "--log-level=error", "flask_app:app"],
    "Django": [
        "-m",
        "uvicorn",
        "--port={port}",
        "--log-level=warning",
        "--lifespan=off",
        "django_app:application",
    ],
    "FastAPI": ["-m", "uvicorn", "--port={port}", "--log-level=error", "fastapi_app:app"],
}
PAGES = ["-m", "gunicorn", "--bind=127.0.0.1:{port}", "--threads=4", "--log-level=error", "pages_flask:app"]
EXPECTED = [401, 200, 200, 401]
"""In each row: no credential, the two credentials of a session, and one of them after its revocation."""

Row = dict[str, int]


@dataclass(frozen=True)
class App:
    """A running example app."""

    name: str
    url: str
    process: subprocess.Popen[bytes]


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(description="Real apps against a local emulator.")
    parser.add_argument("--once", action="store_true", help="end after the table")
    parser.add_argument("--provider", choices=list(SERVICES), default="moonkey", help="the service (moonkey)")
    arguments = parser.parse_args()
    interactive = threading.Event()
    with ExitStack() as stack:
        start = SERVICES[arguments.provider]
        service = stack.enter_context(start(lambda sent: show_code(sent, interactive)))
        environ = {**os.environ, "MOONKEY_TRUSTED_PROXIES": "none", **service.environ}
        apps = [stack.enter_context(running(name, command, environ)) for name, command in SERVERS.items()]
        pages = stack.enter_context(running("Pages", PAGES, environ)) if service.emulator else None
        wait_until_up([*apps, *([pages] if pages else [])])
        print(f"The service: {service.url} (an emulator; nothing leaves this machine)")
        rows = table(apps, service.sign_in())
        show(rows, service)
        good = all(list(row.values()) == EXPECTED for row in rows.values())
        if pages and service.emulator:
            visited = demo_visit.visit(pages.url, service.emulator)
            show_visit(pages, visited)
            good = good and visited == demo_visit.EXPECTED
        if arguments.once:
            return 0 if good else 1
        another = service.sign_in()
        interactive.set()
        show_what_to_do(apps, pages, another)
        wait_for_signal()
    return 0


@contextmanager
def running(name: str, server: list[str], environ: dict[str, str]) -> Iterator[App]:
    """Run one example app in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, *(part.format(port=port) for part in server)]
    process = subprocess.Popen(command, cwd=HERE, env=environ, start_new_session=True)
    try:
        yield App(name, f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_up(apps: list[App]) -> None:
    """Return when every app responds; a refusal of the protected route is a response too."""
    deadline = time.monotonic() + START_SECONDS
    for app in apps:
        while True:
            try:
                httpx.get(f"{app.url}/me", timeout=5)
                break
            except httpx.TransportError:
                if app.process.poll() is not None:
                    raise SystemExit(f"{app.name} ended at once, with status {app.process.returncode}.") from None
                if time.monotonic() > deadline:
                    raise SystemExit(f"{app.name} did not start within {START_SECONDS:.0f} s.") from None
                time.sleep(0.05)


def table(apps: list[App], login: SignIn) -> dict[App, Row]:
    """Return the status codes of each app's protected route."""
    rows: dict[App, Row] = {}
    for app in apps:
        shown = {name: status(app, credential) for name, credential in login.credentials.items()}
        rows[app] = {"no credential": status(app, None), **shown}
    login.revoke()
    first = next(iter(login.credentials.values()))
    for app in apps:
        rows[app]["after revocation"] = status(app, first)
    return rows


def status(app: App, credential: str | None) -> int:
    """Request the protected route with a credential, or without one, and return the status code."""
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    return httpx.get(f"{app.url}/me", headers=headers, timeout=10).status_code


def show(rows: dict[App, Row], service: Service) -> None:
    """Print the table."""
    print(f"Signed in {DEMO_USER} {service.how}. Status codes of GET /me:\n")
    names = list(next(iter(rows.values())))
    print("  ".join(["app    ", f"{'url':<24}", *(f"{name:>16}" for name in names)]))
    for app, row in rows.items():
        print("  ".join([f"{app.name:<7}", f"{app.url:<24}", *(f"{row[name]:>16}" for name in names)]), flush=True)


def show_visit(pages: App, statuses: Row) -> None:
    """Print the status codes that a browser got from the app with pages."""
    told = ", ".join(f"{status} {name}" for name, status in statuses.items())
    print(f"\nA browser on {pages.url}/account got: {told}.", flush=True)


def show_what_to_do(apps: list[App], pages: App | None, login: SignIn) -> None:
    """Print commands to try the apps, and the address to open in a browser."""
    header = f"Authorization: Bearer {next(iter(login.credentials.values()))}"
    for app in apps:
        print(f"\nTry {app.name} by hand:\n  curl -i -H '{header}' {app.url}/me")
    if pages:
        print("\nTo sign in with your browser, enter any e-mail address.", end=" ")
        print("Its code is printed here; no e-mail is sent.")
    print("\nCtrl-C stops everything." if pages is None else "Ctrl-C stops everything.")
    print(f"\n  {pages.url}/\n" if pages else "", flush=True)


def show_code(sent: Sent, interactive: threading.Event) -> None:
    """Print a code that the real service would send by e-mail or text message."""
    if interactive.is_set():
        print(f"The code for {sent.to}: {sent.code}", flush=True)


def wait_for_signal() -> None:
    """Return on Ctrl-C, or on a signal to terminate."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
