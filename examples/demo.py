"""Run three real apps against a local emulator and show their responses, then one app to sign in to by hand.

Run it with ``make demo``. With ``--once`` it ends after the table, with status 0 only if all cells are right.
"""

from __future__ import annotations

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

from moonkey_core import Login, MoonKey
from moonkey_core.emulator import Emulator, Sent

HERE = Path(__file__).parent
DEMO_USER = "demo@example.com"
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
    "Pages": ["-m", "gunicorn", "--bind=127.0.0.1:{port}", "--threads=4", "--log-level=error", "pages_flask:app"],
}
EXPECTED = {"no credential": 401, "session token": 200, "session JWT": 200, "after revocation": 401}


@dataclass(frozen=True)
class App:
    """A running example app."""

    name: str
    url: str
    process: subprocess.Popen[bytes]


def main() -> int:
    """Run the demo and return its exit status."""
    once = "--once" in sys.argv[1:]
    interactive = threading.Event()
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator(on_sent=lambda sent: show_code(sent, interactive)))
        environ = {
            **os.environ,
            "MOONKEY_BASE_URL": emulator.base_url,
            "MOONKEY_SECRET_KEY": emulator.secret_key,
            "MOONKEY_JWT_ISSUER": emulator.issuer,
        }
        *apps, pages = [stack.enter_context(running(name, environ)) for name in SERVERS]
        client = stack.enter_context(MoonKey(base_url=emulator.base_url, secret_key=emulator.secret_key))
        wait_until_up([*apps, pages])
        print(f"The service: {emulator.base_url} (an emulator; nothing leaves this machine)")
        login = sign_in(client, emulator)
        rows = table(apps, client, login)
        show(rows)
        visited = demo_visit.visit(pages.url, emulator)
        show_visit(pages, visited)
        if once:
            good = all(row.get(name) == status for row in rows.values() for name, status in EXPECTED.items())
            return 0 if good and visited == demo_visit.EXPECTED else 1
        another = sign_in(client, emulator)
        interactive.set()
        show_what_to_do(apps, pages, another)
        wait_for_signal()
    return 0


@contextmanager
def running(name: str, environ: dict[str, str]) -> Iterator[App]:
    """Run one example app in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, *(part.format(port=port) for part in SERVERS[name])]
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


def sign_in(client: MoonKey, emulator: Emulator) -> Login:
    """Sign in the demo user with a one-time passcode, as a real app would; the code is read from the emulator."""
    request = client.otps.login_or_create(email=DEMO_USER)
    code = next(sent.code for sent in emulator.outbox() if sent.method_id == request.method_id)
    return client.otps.verify(code, method_id=request.method_id, session_expires_in=60)


def table(apps: list[App], client: MoonKey, login: Login) -> dict[App, dict[str, int]]:
    """Return the status codes of each app's protected route."""
    assert login.session is not None
    rows: dict[App, dict[str, int]] = {}
    for app in apps:
        rows[app] = {
            "no credential": status(app, None),
            "session token": status(app, login.session_token),
            "session JWT": status(app, login.session_jwt),
        }
    client.sessions.revoke(session_id=login.session.id)
    for app in apps:
        rows[app]["after revocation"] = status(app, login.session_token)
    return rows


def status(app: App, credential: str | None) -> int:
    """Request the protected route with a credential, or without one, and return the status code."""
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    return httpx.get(f"{app.url}/me", headers=headers, timeout=10).status_code


def show(rows: dict[App, dict[str, int]]) -> None:
    """Print the table."""
    print(f"Signed in {DEMO_USER} with a one-time passcode. Status codes of GET /me:\n")
    print("  ".join(["app    ", f"{'url':<24}", *(f"{name:>16}" for name in EXPECTED)]))
    for app, row in rows.items():
        print(
            "  ".join([f"{app.name:<7}", f"{app.url:<24}", *(f"{row[name]:>16}" for name in EXPECTED)]), flush=True
        )


def show_visit(pages: App, statuses: dict[str, int]) -> None:
    """Print the status codes that a browser got from the app with pages."""
    told = ", ".join(f"{status} {name}" for name, status in statuses.items())
    print(f"\nA browser on {pages.url}/account got: {told}.", flush=True)


def show_what_to_do(apps: list[App], pages: App, login: Login) -> None:
    """Print commands to try the apps, and the address to open in a browser."""
    for app in apps:
        header = f"Authorization: Bearer {login.session_token}"
        print(f"\nTry {app.name} by hand:\n  curl -i -H '{header}' {app.url}/me")
    print("\nTo sign in with your browser, enter any e-mail address. Its code is printed here; no e-mail is sent.")
    print("Ctrl-C stops everything.")
    print(f"\n  {pages.url}/\n", flush=True)


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
