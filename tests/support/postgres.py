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
from typing import Any

import pytest

SECONDS = 60


def _program(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", ""), *sorted(glob.glob("/usr/lib/postgresql/*/bin"))[::-1]])
    return shutil.which(name, path=places)


@contextmanager
def postgres() -> Iterator[dict[str, Any]]:
    """Django's settings of an empty database. Skips where there is no server, or no driver for it."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL (initdb, pg_ctl) is not installed")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg, the driver for PostgreSQL, is not installed")
    is_root = os.geteuid() == 0  # as which it does not run
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        if is_root:
            try:
                shutil.chown(directory, "postgres")
            except LookupError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
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
