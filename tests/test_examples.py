"""Each example, as a newcomer would run it: a real server, settings from the environment, nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from moonkey_core.emulator import Emulator

EXAMPLES = Path(__file__).parent.parent / "examples"
WSGI = ["gunicorn", "--threads=4", "--log-level=error", "--bind=127.0.0.1:{port}"]
ASGI = ["uvicorn", "--log-level=error", "--port={port}"]
SERVERS = {
    "flask_app:app": WSGI,
    "django_app:application": [*ASGI, "--lifespan=off"],
    "starlette_app:app": ASGI,
    "fastapi_app:app": ASGI,
}


@contextmanager
def running(target: str, emulator: Emulator) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "MOONKEY_BASE_URL": emulator.base_url,
        "MOONKEY_SECRET_KEY": emulator.secret_key,
        "MOONKEY_JWT_ISSUER": emulator.issuer,
    }
    server = [part.format(port=port) for part in SERVERS[target]]
    process = subprocess.Popen([sys.executable, "-m", *server, target], cwd=EXAMPLES, env=environ)
    try:
        yield f"http://127.0.0.1:{port}/me"
    finally:
        process.terminate()
        process.wait(20)


def first_answer(url: str) -> httpx.Response:
    deadline = time.monotonic() + 20
    while True:
        try:
            return httpx.get(url, timeout=10)
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("target", SERVERS)
def test_example(target: str) -> None:
    with Emulator() as emulator, running(target, emulator) as url:
        assert first_answer(url).status_code == 401
        ada = emulator.sign_in(email="ada@example.com")
        for credential in (ada.session_token, ada.session_jwt):
            for headers in ({"Authorization": f"Bearer {credential}"}, {"session-token": credential}):
                response = httpx.get(url, headers=headers, timeout=10)
                assert (response.status_code, response.json()) == (200, {"user_id": ada.user_id})
        emulator.revoke(ada.session_id)
        assert httpx.get(url, headers={"session-token": ada.session_token}, timeout=10).status_code == 401


def test_the_demo() -> None:
    """It ends by itself, with status 0 only if all its cells are as expected, and leaves no process behind."""
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("Flask", "Django", "FastAPI"))]
    assert [(row[0], *row[2:]) for row in rows] == [
        (name, "401", "200", "200", "401") for name in ("Flask", "Django", "FastAPI")
    ]
    for row in rows:
        with pytest.raises(httpx.ConnectError):
            httpx.get(row[1], timeout=5)
