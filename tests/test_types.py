"""What type checkers say of code that uses the packages, and of the packages themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import moonkey_core

ROOT = Path(__file__).parent.parent
PACKAGES = ["moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette"]


def checked_by(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a type checker, which finds the packages that this test imports."""
    site = [path for path in sys.path if path.endswith("site-packages")]
    places = [str(Path(moonkey_core.__file__).parent.parent), *site]
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.long
def test_mypy_understands_code_of_users() -> None:
    done = checked_by("mypy", "--strict", "tests/type_checks", "examples")
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_mypy_understands_the_tested_apps(tmp_path: Path) -> None:
    """Each by itself, in its own folder: all have a conftest.py."""
    for app in sorted(ROOT.glob("examples/tested/*/")):
        if any(app.glob("*.py")):
            done = checked_by("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", ".", folder=app)
            assert done.returncode == 0, f"{app.name}: {done.stdout}"


@pytest.mark.long
def test_pyright_understands_code_of_users() -> None:
    """In strict mode; each `pyright: ignore` has to hide an error."""
    done = checked_by("basedpyright", "--pythonpath", sys.executable, "-p", "tests/type_checks", "--outputjson")
    found = json.loads(done.stdout)
    assert found["generalDiagnostics"] == []
    assert found["summary"]["filesAnalyzed"] >= 9


@pytest.mark.long
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_known_type(package: str) -> None:
    asked = ("--verifytypes", package, "--ignoreexternal", "--outputjson")
    done = checked_by("basedpyright", "--pythonpath", sys.executable, *asked)
    found = json.loads(done.stdout)["typeCompleteness"]
    unknown = [told(one) for one in found["symbols"] if not one["isTypeKnown"] or one["isTypeAmbiguous"]]
    assert unknown == []
    assert found["completenessScore"] == 1
    assert found["exportedSymbolCounts"]["withKnownType"] > 40


def told(symbol: dict[str, Any]) -> str:
    return f"{symbol['name']}: {' '.join(one['message'] for one in symbol['diagnostics'])}"
