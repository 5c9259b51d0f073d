"""The examples as a newcomer would run them: real servers, settings from the environment, nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from moonkey_core.emulator import Emulator
from support.patience import PATIENCE
from support.ports import quiet_port
from support.scripted import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

_WSGI = ["gunicorn", "--threads=8", "--log-level=error", "--bind=127.0.0.1:{port}"]
_ASGI = ["uvicorn", "--log-level=error", "--no-proxy-headers", "--port={port}"]
_DJANGO_ASGI = [*_ASGI, "--lifespan=off"]
SERVERS = {
    "flask_app:app": _WSGI,
    "django_app:application": _DJANGO_ASGI,
    "starlette_app:app": _ASGI,
    "fastapi_app:app": _ASGI,
}
PAGES = {
    "pages_flask:app": _WSGI,
    "pages_django:wsgi_application": _WSGI,
    "pages_django:application": _DJANGO_ASGI,
    "pages_starlette:app": _ASGI,
    "pages_fastapi:app": _ASGI,
}
"""Those for browsers: they have the session routes, ``/``, ``/account`` and ``/vault``."""
PROVIDERS = {
    "providers_oidc:app": _ASGI,
    "providers_introspection:app": _WSGI,
    "providers_auth0_fastapi:app": _ASGI,
    "providers_keycloak_django:application": _DJANGO_ASGI,
    "providers_entra_flask:app": _WSGI,
    "providers_several:app": _ASGI,
    "providers_clerk_websocket:app": _ASGI,
}
"""Those with other providers."""
STYTCH = {"providers_stytch:app": _ASGI}
"""Those with Stytch."""
STYTCH_PAGES = {"pages_stytch:app": _WSGI}
"""That for browsers on Stytch."""
CDP = {"providers_cdp:app": _ASGI}
"""That with Coinbase CDP."""
_ALL = {**SERVERS, **PAGES, **PROVIDERS, **STYTCH, **STYTCH_PAGES, **CDP}


def all_targets() -> list[str]:
    """The names of all examples that are apps."""
    return [*_ALL]


@contextmanager
def running(target: str, emulator: Emulator, **environ: str) -> Iterator[str]:
    """One example as a process of its own, with further settings in its environment; yields its URL."""
    own = {
        "MOONKEY_BASE_URL": emulator.base_url,
        "MOONKEY_SECRET_KEY": emulator.secret_key,
        "MOONKEY_JWT_ISSUER": emulator.issuer,
    }
    with running_with(target, {**own, **environ}) as url:
        yield url


@contextmanager
def running_with(target: str, environ: Mapping[str, str]) -> Iterator[str]:
    """One example as a process of its own, with these settings in its environment; yields its URL."""
    port = quiet_port()
    command = [part.format(port=port) for part in _ALL[target]]
    process = subprocess.Popen(
        [sys.executable, "-m", *command, target],
        cwd=EXAMPLES,
        env={**os.environ, **environ},
    )
    try:
        assert wait_until(lambda: process.poll() is not None or _listens(port), PATIENCE)
        assert process.poll() is None, f"{target} ended at once"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
