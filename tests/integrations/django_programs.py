"""Django in a fresh interpreter, and what its system checks say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.core.checks import CheckMessage, run_checks

ROOT = Path(__file__).parents[2]


def problems() -> dict[str, CheckMessage]:
    """The messages of our own system checks, by number."""
    found = [message for message in run_checks() if str(message.id).startswith("moonkey.")]
    assert all(message.hint for message in found)
    assert len({message.id for message in found}) == len(found)
    return {str(message.id): message for message in found}


def python(script: str, *, arguments: tuple[str, ...] = (), **environment: str) -> str:
    """What a fresh interpreter prints, with the installed package, no Django settings, and warnings as errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOONKEY_", "DJANGO_"))}
    paths = os.pathsep.join(str(ROOT / part) for part in ("tests", "examples"))
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script, *arguments],
        env={**kept, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
