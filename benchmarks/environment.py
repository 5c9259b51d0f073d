"""Make the benchmark's own virtual environments, unless they are up to date. Standard library only.

One build of Python decides: ``PYTHON``, else the first of the usual ones that was optimised with a profile. Where
the ``python3`` of the PATH is another build (or ``OTHER`` names one; ``OTHER=none`` for none), it is measured too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET, OTHER_TARGET = ROOT / ".venv-bench", ROOT / ".venv-bench-other"
STAMP = ".made-from"
EXTRAS = ("flask", "django", "starlette", "fastapi", "emulator", "fast", "redis")
USUAL = ("/usr/bin/python3", "python3", "python3.13", "python3.12", "python3.11")
PROBE = """
import ensurepip, json, sys, sysconfig, venv
arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
fast = "--enable-optimizations" in arguments or sys.base_prefix == "/usr"
print(json.dumps([sys.version_info[:2] >= (3, 11), fast, sys.version, sys.base_prefix]))
"""


def probe(python: str) -> tuple[bool, str] | None:
    """Whether a Python was optimised, and its build as text; ``None`` where it cannot be used."""
    path = shutil.which(python)
    if path is None:
        return None
    found = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    if found.returncode:
        return None
    is_new, is_fast, version, prefix = json.loads(found.stdout)
    return (is_fast, f"{version} in {prefix}") if is_new else None


def chosen() -> tuple[str, str | None]:
    """The Python that decides, and the other one, if there is one."""
    named, other = os.environ.get("PYTHON", ""), os.environ.get("OTHER", "")
    builds = {name: build for name in ([named] if named else USUAL) if (build := probe(name))}
    if not builds:
        sys.exit("Python 3.11 or newer with its venv module is needed; PYTHON=/path/to/python names one.")
    deciding = next((name for name, build in builds.items() if build[0]), next(iter(builds)))
    if other == "none":
        return deciding, None
    wanted = probe(other or "python3")
    if wanted is None:
        return deciding, None
    return deciding, (other or "python3") if wanted != builds[deciding] else None


def fingerprint(build: str) -> str:
    """What an environment is made from: the requirements, the package's dependencies, the Python."""
    digest = hashlib.sha256(build.encode())
    project = (ROOT / "pyproject.toml").read_text()  # without a parser, which old releases do not have
    for name in ("dependencies = [", "[project.optional-dependencies]"):
        digest.update(project.partition(f"\n{name}")[2].partition("\n[")[0].encode())
    for path in (HERE / "requirements.txt", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make(target: Path, python: str) -> None:
    """Build an environment unless its stamp says that it is made from just this."""
    build = probe(python)
    assert build is not None
    wanted, stamp = fingerprint(build[1]), target / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Setting up {target.name} with {build[1]}; this takes a minute, once.", flush=True)
    subprocess.run([shutil.which(python) or python, "-m", "venv", "--clear", str(target)], check=True)
    command = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    needs = ["-r", str(HERE / "requirements.txt"), "-e", f"{ROOT}[{','.join(EXTRAS)}]"]
    subprocess.run([*command, *needs], check=True, cwd=ROOT)
    stamp.write_text(wanted)


def main() -> None:
    """Make what is needed."""
    deciding, other = chosen()
    make(TARGET, deciding)
    if other is not None:
        make(OTHER_TARGET, other)
    elif OTHER_TARGET.exists():
        shutil.rmtree(OTHER_TARGET)


if __name__ == "__main__":
    main()
