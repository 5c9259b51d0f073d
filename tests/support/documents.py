"""What stands in the README and in docs/: blocks of code, which tests run, and tables, which they compare.

A block has the name in the comment above it, ``<!-- name -->``; without one, that of its heading, with a number
(``Heading 2``) where the heading has several. ``documents/test_blocks.py`` sees that none is left out.
"""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<name>[^/\n][^\n]*?) -->\n)?"
    r"^(?P<indent>[ ]*)(?P<fence>```+|~~~+)(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_TEST = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
_NAMED = re.compile(r"`(?:(test_\w+\.py)::)?(test_\w+)(?:\[(.+?)\])?`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of code: where it stands, and what is in it."""

    document: str
    name: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line} ({self.name})"

    def run(self, **names: Any) -> dict[str, Any]:
        """Run Python code that may use these names, and return all that it defines."""
        module: dict[str, Any] = {"__name__": "shown", **names}
        exec(compile(self.code, str(self), "exec"), module)
        return module

    def check(self) -> None:
        """See that this is Python, and that whatever it imports is there.

        Raises:
            SyntaxError: It is not Python, nor the items of a dict.
            ImportError: There is no such module, or nothing of that name in it.
        """
        tree = self._parsed()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for name in node.names:
                    if not hasattr(module, name.name):
                        raise ImportError(f"{self}: {node.module} has no {name.name}")

    def _parsed(self) -> ast.AST:
        try:
            compile(self.code, str(self), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError:
            return ast.parse(f"{{\n{self.code}\n}}", str(self), "eval")
        return ast.parse(self.code)


@cache
def documents() -> tuple[str, ...]:
    """Return the paths of all documents for those who use the packages or work on them."""
    found = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in found))


@cache
def text(document: str) -> str:
    """Return what stands in a document, such as ``docs/django.md``."""
    return (ROOT / document).read_text(encoding="utf-8")


@cache
def blocks(document: str) -> tuple[Block, ...]:
    """Return all blocks of code of a document."""
    return tuple(blocks_in(document, text(document)))


def blocks_in(document: str, content: str) -> Iterator[Block]:
    counts: dict[str, int] = {}
    spans = [match.span() for match in _BLOCK.finditer(content)]
    headings = [
        match
        for match in _HEADING.finditer(content)
        if not any(start <= match.start() < end for start, end in spans)  # no comment in a block of sh
    ]
    for match in _BLOCK.finditer(content):
        name = match["name"]
        if name is None:
            heading = [one[1].replace("`", "") for one in headings if one.end() <= match.start()][-1]
            counts[heading] = counts.get(heading, 0) + 1
            name = heading if counts[heading] == 1 else f"{heading} {counts[heading]}"
        line = content.count("\n", 0, match.start("fence")) + 1
        yield Block(document, name, line, match["language"].strip(), textwrap.dedent(match["code"]))


def block(document: str, name: str) -> Block:
    """Return the one block of this name."""
    found = [one for one in blocks(document) if one.name == name]
    assert len(found) == 1, f"{document} has {len(found)} blocks named {name!r}"
    return found[0]


def run(document: str, name: str, **names: Any) -> dict[str, Any]:
    """Run the block of this name, and return what it defines."""
    return block(document, name).run(**names)


def between(document: str, name: str) -> str:
    """Return what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    (found,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text(document), re.DOTALL)
    return str(found)


def rows(document: str, heading: str) -> list[list[str]]:
    """Return the cells of the one table whose first column has this heading, row by row, without the heading."""
    pattern = rf"^\| {re.escape(heading)} \|.*\n\|[-|: ]+\|\n((?:\|.*\n)+)"
    (table,) = re.findall(pattern, text(document), re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


@cache
def _files_by_test() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in set(re.findall(_TEST, path.read_text(encoding="utf-8"))):
            found.setdefault(name, []).append(path.relative_to(ROOT / "tests"))
    return found


def files_with(function: str, file: str = "") -> list[Path]:
    """Return the files with a test of this name; only those called ``file``, if it is given."""
    return [path for path in _files_by_test().get(function, []) if file in ("", path.name)]


def named_tests(cell: str) -> list[tuple[str, str, str]]:
    """Return the tests that a cell names: the file, if it says it, the function, and the case.

    They are written ``test_x``, ``test_x[case]`` or ``test_file.py::test_x``.
    """
    return re.findall(_NAMED, cell)
