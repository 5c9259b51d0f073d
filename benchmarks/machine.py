"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

PACKAGES = """
    moonkey cryptography PyJWT httpx httpcore aiohttp redis cachetools flask django starlette fastapi stytch
    clerk-backend-api joserfc authlib flask-jwt-extended propelauth-py propelauth-flask propelauth-fastapi
    auth0-fastapi-api auth0-api-python requests pydantic
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


def describe() -> list[str]:
    """Lines about where and when this was measured."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return [
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load averages at the end: {load}",
        f"- {processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}",
        f"- Python {platform.python_version()}; {openssl()}; redis-server {redis_server()}",
        f"- {'; '.join(versions())}",
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
