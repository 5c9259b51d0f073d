"""The code in docs/long-lived.md can be read by Python, and imports what is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parent.parent / "docs" / "long-lived.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_example_compiles_and_finds_its_imports(block: str) -> None:
    compile(block, "docs/long-lived.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                assert hasattr(module, name.name), name.name


def test_there_is_one_for_each_framework() -> None:
    assert len(BLOCKS) >= 5
    for package in ("moonkey_starlette", "moonkey_django", "moonkey_flask"):
        assert any(f"from {package} import" in block for block in BLOCKS)


def test_what_is_called_is_there() -> None:
    from moonkey_core import AsyncMoonKey, MoonKey, streams

    for owner, name in ((AsyncMoonKey, "session_end"), (MoonKey, "is_over"), (streams, "bound_items")):
        assert f"{name}(" in DOCUMENT
        assert callable(getattr(owner, name))
