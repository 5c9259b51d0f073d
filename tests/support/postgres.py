"""A real PostgreSQL of the test's own, on a socket in a directory of its own."""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

SECONDS = 60


def _program(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", ""), *sorted(glob.glob("/usr/lib/postgresql/*/bin"))[::-1]])
    return shutil.which(name, path=places)


def _lacks(what: str) -> NoReturn:
    if os.environ.get("TESTS_SKIP_NOTHING"):
        pytest.fail(f"missing, and TESTS_SKIP_NOTHING is set: {what}")
    pytest.skip(f"not installed: {what}")


@contextmanager
def postgres() -> Iterator[dict[str, Any]]:
    """Django's settings of an empty database. Skips where there is no server, or no driver for it.

    Each test has a server of its own, on a socket in a new directory, which no other program knows.
    """
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        _lacks("PostgreSQL (initdb, pg_ctl)")
    if importlib.util.find_spec("psycopg") is None:
        _lacks("psycopg, the driver for PostgreSQL")
    is_root = os.geteuid() == 0  # as which it does not run
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        if is_root:
            try:
                shutil.chown(directory, "postgres")
            except LookupError:
                _lacks("a user postgres, as PostgreSQL does not run as root")
        data, log = f"{directory}/data", f"{directory}/log"
        quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "timeout": SECONDS, "cwd": directory}
        if is_root:
            quiet["user"] = "postgres"
        subprocess.run([initdb, "-D", data, "-U", "moonkey", "-A", "trust", "--no-sync"], **quiet)
        start = f"-k {directory} -c listen_addresses= -c fsync=off"
        subprocess.run([pg_ctl, "-D", data, "-l", log, "-o", start, "-w", "start"], **quiet)
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "moonkey",
                "HOST": directory,
            }
        finally:
            subprocess.run([pg_ctl, "-D", data, "-m", "immediate", "-w", "stop"], **quiet)
