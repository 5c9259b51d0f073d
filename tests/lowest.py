"""Make an environment with the oldest releases that the package allows, and the newest of the test tools.

Run by ``make test-lowest``: ``python tests/lowest.py FOLDER``. Which releases are the oldest is resolved from
``pyproject.toml``, so the bounds named there are those that are tested.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_TOOLS = frozenset({"test", "dev", "vendors"})  # extras that no user installs


def main() -> None:
    """Make it, in the folder that the command line names."""
    folder = Path(sys.argv[1]).resolve()
    extras = sorted(set(_project()["optional-dependencies"]) - _TOOLS)
    with tempfile.TemporaryDirectory() as work:
        pins = Path(work, "lowest.txt")
        _uv(
            *("pip", "compile", "--quiet", "--resolution=lowest-direct", f"--python={sys.executable}"),
            *(f"--extra={extra}" for extra in extras),
            *("--output-file", str(pins), "pyproject.toml"),
        )
        _uv("venv", "--quiet", "--clear", f"--python={sys.executable}", str(folder))
        _uv("pip", "install", "--quiet", f"--python={folder}", "--constraint", str(pins), "--editable", ".[test]")
    _uv("pip", "list", f"--python={folder}")


def _project() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    return found


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments], cwd=_ROOT, check=True)


if __name__ == "__main__":
    main()
