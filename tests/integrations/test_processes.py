"""Servers with several processes: a client made before the fork is used on both sides of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from moonkey_core.emulator import Emulator
from support import quick
from support.patience import PATIENCE
from support.ports import quiet_port

_APP = """
import os, threading, time
from flask import Flask
from moonkey_flask import FlaskMoonKey, current_user, require_auth

app = Flask(__name__)
FlaskMoonKey(app)
client = app.extensions["moonkey"]
# Preloaded: connections are open, the keys are fetched and other threads are busy when the workers are forked.
assert client.users.get("{user_id}").id
assert client.authenticate(lambda name: ["Bearer {jwt}"] if name == "authorization" else [])

def busy():
    while True:
        client.users.get("{user_id}")
        time.sleep(0.002)

for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()

@app.get("/me")
@require_auth
def me():
    return {{"user": current_user.id, "process": os.getpid()}}
"""


@contextmanager
def gunicorn(folder: Path, environ: dict[str, str]) -> Iterator[str]:
    port = quiet_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "--preload", "--workers=2", "--worker-class=gthread", "--threads=4"),
        *(f"--bind=127.0.0.1:{port}", "--log-level=error", "preloaded:app"),
    ]
    process = subprocess.Popen(command, cwd=folder, env=environ)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.mark.long
def test_gunicorn_with_preload(tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [emulator.sign_in(email=f"person{number}@example.com") for number in range(4)]
    (tmp_path / "preloaded.py").write_text(_APP.format(user_id=people[0].user_id, jwt=people[0].session_jwt))
    environ = {
        "PATH": "",
        "PYTHONPATH": "",
        "MOONKEY_SECRET_KEY": emulator.secret_key,
        "MOONKEY_BASE_URL": emulator.base_url,
        "MOONKEY_JWT_ISSUER": emulator.issuer,
    }
    processes: Counter[int] = Counter()
    # A connection of its own for each request, so that both workers get some.
    single_use = httpx.Limits(max_keepalive_connections=0)
    with gunicorn(tmp_path, environ) as url, quick.Client(limits=single_use) as browser:
        _wait_until_up(url)
        for number in range(60):
            person = people[number % len(people)]
            for credential in (person.session_token, person.session_jwt):
                response = browser.get(f"{url}/me", headers={"Authorization": f"Bearer {credential}"})
                assert response.status_code == 200
                assert response.json()["user"] == person.user_id
                processes[response.json()["process"]] += 1
    assert len(processes) == 2


def _wait_until_up(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            quick.get(f"{url}/me")
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
