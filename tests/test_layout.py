"""The tests are laid out as the packages are, and share what they need by ``support/`` and other plain modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CORE = TESTS.parent / "moonkey_core"
_IMPORT = re.compile(r"^[ \t]*(?:from [.\w]+ import|import)\b[^(\n]*(?:\([^)]*\))?", re.MULTILINE)


def imported(source: str) -> Iterator[str]:
    """All modules of tests that a source may import, ``from package import name`` as ``package.name`` too."""
    statements = [one.strip() for one in _IMPORT.findall(source) if "test_" in one or "conftest" in one]
    for node in ast.walk(ast.parse("\n".join(statements))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            yield package
            yield from (f"{package}.{name.name}" for name in node.names)


def belongs_to_pytest(module: str) -> bool:
    """Whether a module is one that pytest alone may import: of a test, or of fixtures."""
    return any(part.startswith("test_") or part == "conftest" for part in module.split("."))


def test_no_test_module_is_imported() -> None:
    modules = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    assert len(modules) > 200
    found = {
        (path.relative_to(TESTS).as_posix(), name) for path, text in modules.items() for name in imported(text)
    }
    assert {one for one in found if belongs_to_pytest(one[1])} == set()


@pytest.mark.parametrize(
    "source",
    [
        "from core.test_x import y",
        "from contract import test_x",
        "import core.test_x",
        "from core.conftest import y",
        "from .conftest import y",
        "def late():\n    from . import test_x",
        "from contract import (\n    stacks,\n    test_x,\n)",
    ],
)
def test_an_import_of_one_is_seen(source: str) -> None:
    assert any(belongs_to_pytest(name) for name in imported(source))


def test_the_folders_of_the_core_are_its_packages() -> None:
    folders = {path.parent for path in (TESTS / "core").rglob("test_*.py")} - {TESTS / "core"}
    packages = {
        "/".join(part.lstrip("_") for part in path.parent.relative_to(CORE).parts)
        for path in CORE.rglob("__init__.py")
    }
    assert folders
    assert {path.relative_to(TESTS / "core").as_posix() for path in folders} <= packages


MOONKEY_FACTS = re.compile(
    r"(user|session)_|sk_(test|live)_|pk_(test|live)_|invalid_session|user_not_found|session_expires_in"
    r"|(sessions|users|otps|oauth|totps)/\S*|session_(id|token|jwt)=\S*"
)
"""Prefixes, error codes, paths and members of MoonKey's API, each as a whole text in the source."""

OTHERS_FACTS = {
    "moonkey_core/providers/oidc/presets.py": {"user_"},  # ids of WorkOS
    "moonkey_core/testing/environment.py": {"sk_test_"},  # a made-up key
    "moonkey_core/providers/stytch/replies.py": {"user_not_found"},  # an error type of Stytch
}


def texts_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_no_fact_of_moonkeys_api_stands_outside_of_its_provider() -> None:
    found = {
        path.relative_to(TESTS.parent).as_posix(): named
        for package in ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")
        for path in (TESTS.parent / package).rglob("*.py")
        if not {"emulator"} & set(path.parts) and "providers/moonkey/" not in path.as_posix()
        if (named := {text for text in texts_of(path) if MOONKEY_FACTS.fullmatch(text)})
    }
    assert found == OTHERS_FACTS
