"""What an import says where a package of an extra is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # each case imports a framework anew
ROOT = Path(__file__).parents[2]

PROGRAM = """
import importlib, json, sys

class Hidden:
    package = ""

    def find_spec(self, name, path=None, target=None):
        if name == self.package or name.startswith(self.package + "."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

hidden = Hidden()
sys.meta_path.insert(0, hidden)
for module, name, hidden.package in json.loads(sys.argv[1]):
    for loaded in list(sys.modules):
        if loaded.startswith("moonkey_") or loaded.partition(".")[0] == hidden.package.partition(".")[0]:
            del sys.modules[loaded]
    try:
        getattr(importlib.import_module(module), name)
    except ImportError as error:
        print(json.dumps([type(error).__name__, error.name, str(error), type(error.__cause__).__name__]))
    else:
        print("null")
"""

NAMED = [
    ("moonkey_flask", "require_auth", "flask", "flask"),
    ("moonkey_flask.routes", "session_routes", "flask", "flask"),
    ("moonkey_django", "require_auth", "django", "django"),
    ("moonkey_django.apps", "MoonKeyConfig", "django", "django"),
    ("moonkey_django.rest_framework", "MoonKeyAuthentication", "rest_framework", "drf"),
    ("moonkey_starlette", "require_auth", "starlette", "starlette"),
    ("moonkey_starlette.fastapi", "CurrentUser", "fastapi", "fastapi"),
    ("moonkey_core.emulator", "Emulator", "uvicorn", "emulator"),
    ("moonkey_core.emulator", "Emulator", "starlette", "emulator"),
]

UNNAMED = [
    ("moonkey_flask", "require_auth", "werkzeug"),
    ("moonkey_django", "require_auth", "asgiref"),
    ("moonkey_starlette", "require_auth", "anyio"),
    ("moonkey_starlette.fastapi", "CurrentUser", "fastapi.openapi"),
    ("moonkey_flask", "require_auth", "cachetools"),
]


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, str, str], list[str]]:
    """What each import says, in a process of its own."""
    cases = [*(case[:3] for case in NAMED), *UNNAMED]
    command = [sys.executable, "-c", PROGRAM, json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("module", "name", "package", "extra"), NAMED)
def test_a_missing_package_names_its_extra(
    told: dict[tuple[str, str, str], list[str]], module: str, name: str, package: str, extra: str
) -> None:
    kind, missing, text, cause = told[module, name, package]
    assert (kind, missing, cause) == ("ModuleNotFoundError", package, "ModuleNotFoundError")
    assert f"pip install 'moonkey[{extra}]'" in text


@pytest.mark.parametrize(("module", "name", "package"), UNNAMED)
def test_what_else_is_missing_is_told_as_it_is(
    told: dict[tuple[str, str, str], list[str]], module: str, name: str, package: str
) -> None:
    kind, missing, text, _ = told[module, name, package]
    assert kind == "ModuleNotFoundError"
    assert missing.startswith(package)
    assert "pip install" not in text
