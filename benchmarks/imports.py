"""The import part: CPU of importing what an app needs of this project, over its dependencies alone."""

from __future__ import annotations

import os
import subprocess
import sys

from results import Figure, Section, Table, number
from timing import QUICK_ROUNDS, ROUNDS, Series

TIMED = """
import sys, time
start = time.process_time_ns()
{}
print((time.process_time_ns() - start) / 1e3, "httpx" in sys.modules)
"""
RAW = """
import sys; sys.path.insert(0, {folder!r})
import contenders_local, time
from tokens import mint
one = contenders_local.raw_rsa()
argument, found = one.wrap(mint(1)), []
for _ in range(40):
    start = time.process_time_ns()
    for _ in range(100): one.call(argument)
    found.append((time.process_time_ns() - start) / 1e5)
print(min(found), False)
"""
HTTPX = "import httpx"
PACKAGE = "import moonkey_core"
CLIENTS = "import httpx\nfrom moonkey_core import AsyncMoonKey, MoonKey"
MADE = "from moonkey_core import MoonKey\nMoonKey(secret_key='sk_test_x', jwt_issuer='https://idp.example')"
CODES = {
    "httpx alone": HTTPX,
    "`import moonkey_core`, which loads its parts when they are used": PACKAGE,
    "httpx, and both clients of moonkey_core": CLIENTS,
    "a client made, no call": MADE,
    "flask and httpx": "import flask, httpx",
    "the same and moonkey_flask": "import flask, httpx\nfrom moonkey_flask import FlaskMoonKey, require_auth",
    "starlette and httpx": "import starlette.applications, httpx",
    "the same and moonkey_starlette": (
        "import starlette.applications, httpx\nfrom moonkey_starlette import MoonKeyMiddleware, require_auth"
    ),
}


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Import: CPU of a new process, its own start not counted")
    found: dict[str, Series] = {name: Series([]) for name in CODES}
    loaded: dict[str, bool] = {}
    for code in CODES.values():
        _run(code)  # writes the bytecode, and is not timed
    for turn in range(QUICK_ROUNDS if quick else ROUNDS):
        shift = turn % len(CODES)
        for name in [*list(CODES)[shift:], *list(CODES)[:shift]]:
            micros, loaded[name] = _run(CODES[name])
            found[name].rounds.append(micros)
    raw, _ = _run(RAW.format(folder=sys.path[0]))
    table = Table("What is imported", ["what", "CPU ms, best", "median", "slices", "httpx is loaded"])
    for name, one in found.items():
        row = [name, number(one.best / 1e3), number(one.median / 1e3), str(len(one.rounds))]
        table.rows.append([*row, "yes" if loaded[name] else "no"])
    table.notes.append(f"a raw RSA-2048 verification in such a process: {number(raw)} µs")
    section.tables.append(table)
    alone, clients = found["httpx alone"], found["httpx, and both clients of moonkey_core"]
    more, median = (clients.best - alone.best) / 1e3, (clients.median - alone.median) / 1e3
    section.figures.append(Figure("import", more, median, len(alone.rounds)))
    return section


def _run(code: str) -> tuple[float, bool]:
    program = code if "print(min" in code else TIMED.format(code)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    micros, httpx = done.stdout.split()
    return float(micros), httpx == "True"
