"""No block of code in a document is left out: it is run, or at least read, and its imports are found."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import tomllib
from dataclasses import fields

import pytest

from moonkey_core import Settings, provider
from moonkey_core.cli import COMMANDS
from moonkey_core.settings.provider_choice import PRESETS, argument_names
from support.documents import ROOT, Block, blocks, blocks_in, documents

BLOCKS = [one for document in documents() for one in blocks(document)]
FRAGMENTS: set[tuple[str, str]] = {("docs/long-lived.md", "Anything else")}
"""Blocks that cannot be run alone. They are only compiled, and their imports are looked for."""
LANGUAGES = {"python", "sh", "html", "json", "http", "text"}
CHECKED_HERE = {"sh", "text"}
"""Commands are checked below; text is a drawing."""


def of(*languages: str) -> list[Block]:
    return [one for one in BLOCKS if one.language in languages]


def run_by_tests() -> list[set[str]]:
    """For each test module that runs blocks: all strings in it, documents and names of blocks among them."""
    found = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        if "from support.documents import" in source and path.name != "test_blocks.py":
            nodes = ast.walk(ast.parse(source))
            found.append(
                {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
            )
    return found


def test_each_has_a_name_and_a_language_of_its_own() -> None:
    assert len(BLOCKS) > 30
    keys = [(one.document, one.name) for one in BLOCKS]
    assert [str(one) for one in BLOCKS if keys.count((one.document, one.name)) > 1] == []
    assert [str(one) for one in BLOCKS if one.language not in LANGUAGES] == []


def test_all_fences_are_seen() -> None:
    for document in documents():
        fences = re.findall(r"^[ ]*(?:```|~~~)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks(document)), document


def test_no_merge_has_left_its_marks() -> None:
    marks = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)
    assert marks.search("<<<<<<< HEAD\n")
    assert [one for one in documents() if marks.search((ROOT / one).read_text(encoding="utf-8"))] == []


def test_each_is_run_by_a_test() -> None:
    """Those that nothing runs are listed above; the rest stands in a test module, by document and name."""
    modules = run_by_tests()
    left_out = {
        (one.document, one.name)
        for one in BLOCKS
        if one.language not in CHECKED_HERE and not any({one.document, one.name} <= strings for strings in modules)
    }
    assert left_out == FRAGMENTS, "run each with support.documents, or list it in FRAGMENTS"


@pytest.mark.parametrize("shown", of("python"), ids=str)
def test_python_is_python_and_finds_its_imports(shown: Block) -> None:
    shown.check()


@pytest.mark.parametrize("code", ["def f(:", "from moonkey_core import Nothing", "import moonkey_nothing"])
def test_what_is_no_python_or_finds_nothing_is_seen(code: str) -> None:
    (shown,) = blocks_in("a.md", f"# A\n```python\n{code}\n```\n")
    with pytest.raises((SyntaxError, ImportError)):
        shown.check()


SAMPLE = """# A
```sh
# no heading
```

## `C`
<!-- d -->
```python
x
```
- e
  ```python
  y
  ```
```json
```
"""


def test_how_blocks_are_named() -> None:
    assert [(one.name, one.line, one.language, one.code) for one in blocks_in("a.md", SAMPLE)] == [
        ("A", 2, "sh", "# no heading\n"),
        ("d", 8, "python", "x\n"),
        ("C", 12, "python", "y\n"),
        ("C 2", 15, "json", ""),
    ]


@pytest.mark.parametrize("shown", of("sh"), ids=str)
def test_commands(shown: Block) -> None:
    """They can be read by a shell, and what they call, install and set is there."""
    shell = shutil.which("bash") or shutil.which("sh")
    assert shell is not None
    subprocess.run([shell, "-n"], input=shown.code, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    settings = {f"MOONKEY_{field.name.upper()}" for field in fields(Settings)}
    for word, function in PRESETS.items():
        if hasattr(provider, function):
            settings |= {f"MOONKEY_{name.upper()}" for name in argument_names(word)}
    known = 0
    for line in shown.code.splitlines():
        for target in re.findall(r"^make ([\w-]+)", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
            known += 1
        for extras in re.findall(r"moonkey\[([\w,]+)\]", line):
            assert {*extras.split(",")} <= {*project["optional-dependencies"]}, line
            known += 1
        for module in re.findall(r"python -m ([\w.]+)", line):
            assert importlib.util.find_spec(module), line
            known += 1
        for command in re.findall(r"(?:^|\| |app \w+ )moonkey (\w+)", line):
            assert command in COMMANDS, line
            known += 1
        for name in re.findall(r"\bMOONKEY_\w+", line):
            assert name in settings, line
            known += 1
    assert known, "none of these commands is one that this test knows"
