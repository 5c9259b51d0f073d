"""Test suites that use the kit as a user's would: by pytest in a process of its own, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
TESTED = ROOT / "examples" / "tested"
INI = "[pytest]\npythonpath = .\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
_PLUGIN = "moonkey_core.testing.plugin"


def run_suite(folder: Path, *arguments: str) -> str:
    """Run the tests of a folder, all of which have to pass; return what pytest wrote."""
    found = entry_points(group="pytest11", name="moonkey")
    by_hand = () if found else ("-p", _PLUGIN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *by_hand, *arguments],
        cwd=folder,
        env=_environ(),
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def copied(name: str, to: Path) -> Path:
    """Copy one of the apps with a suite of its own."""
    return Path(shutil.copytree(TESTED / name, to / name, ignore=shutil.ignore_patterns("__pycache__")))


def written(folder: Path, ini: str = "", **files: str) -> Path:
    """Write a suite: its ini options beyond the usual ones, and files by their names without ``.py``."""
    (folder / "pytest.ini").write_text(INI + ini)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def _environ() -> dict[str, str]:
    ours = ("MOONKEY_", "PYTEST_", "DJANGO_SETTINGS_MODULE", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
