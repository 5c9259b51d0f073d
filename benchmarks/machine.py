"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = """
    moonkey cryptography PyJWT httpx httpcore aiohttp redis cachetools flask django starlette fastapi stytch
    clerk-backend-api joserfc authlib flask-jwt-extended propelauth-py propelauth-flask propelauth-fastapi
    auth0-fastapi-api auth0-api-python requests pydantic uvicorn gunicorn
""".split()  # noqa: SIM905 - one per line would be longer to read


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def redis_server() -> str:
    """The version of the local redis-server."""
    path = shutil.which("redis-server")
    if path is None:
        return "not installed"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    return next((word[2:] for word in said.split() if word.startswith("v=")), "unknown")


def openssl() -> str:
    """The OpenSSL that `cryptography` is linked with."""
    from cryptography.hazmat.backends.openssl.backend import backend

    return backend.openssl_version_text()


def commit() -> str:
    """The commit that is measured, and whether there are changes to the packages on top of it."""
    try:
        short = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", ":(top,glob)moonkey_*/**")
    except (OSError, subprocess.SubprocessError):
        return "unknown commit"
    return f"{short}, with changes" if changed else short


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def build() -> str:
    """This build of Python: its release, its compiler, and whether it was optimised with a profile."""
    return f"Python {platform.python_version()} ({platform.python_compiler()}; {optimised()})"


def optimised() -> str:
    """How it was built. A distribution builds its own with a profile, and does not leave that in the arguments."""
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return "optimised with a profile"
    return "built by the distribution" if sys.base_prefix == "/usr" else "built without optimisations by a profile"


def load() -> str:
    """The load averages of 1, 5 and 15 minutes."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def describe(load_at_start: str, seconds: float) -> dict[str, str]:
    """Where, when and of what this was measured."""
    return {
        "commit": commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "build": build(),
        "machine": f"{processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}",
        "load": f"{load_at_start} at the start; {load()} at the end",
        "seconds": f"{seconds:.0f}",
        "libraries": f"{openssl()}; redis-server {redis_server()}; {'; '.join(versions())}",
    }


def lines(about: dict[str, str]) -> list[str]:
    """The same as lines of text."""
    return [
        f"- commit {about['commit']}; {about['date']}; the run took {about['seconds']} s",
        f"- {about['build']}: this build decides",
        f"- {about['machine']}; load averages {about['load']}",
        f"- {about['libraries']}",
    ]


def versions() -> list[str]:
    """Installed versions of everything that is timed."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return found
