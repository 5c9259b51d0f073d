"""Make the benchmark's own virtual environment, unless it is up to date. Standard library only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = ROOT / ".venv-bench"
STAMP = TARGET / ".made-from"
EXTRAS = ("flask", "django", "starlette", "fastapi", "emulator", "fast", "redis")


def fingerprint() -> str:
    """What the environment is made from: the requirements, the package's dependencies, this Python."""
    import tomllib  # not there before Python 3.11

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = (sys.version, project["dependencies"], [project["optional-dependencies"][name] for name in EXTRAS])
    digest = hashlib.sha256(repr(needs).encode())
    for path in (HERE / "requirements.txt", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Build the environment unless its stamp says that it is made from just this."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs on whatever python3 is
        sys.exit(f"Python 3.11 or newer is needed, not {sys.version.split()[0]}.")
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    print(f"Setting up {TARGET.name} with Python {sys.version.split()[0]}; this takes a minute, once.", flush=True)
    venv.create(TARGET, with_pip=True, clear=True)
    command = [str(TARGET / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "-r", str(HERE / "requirements.txt"), "-e", f"{ROOT}[{','.join(EXTRAS)}]"], check=True, cwd=ROOT
    )
    STAMP.write_text(wanted)


if __name__ == "__main__":
    main()
